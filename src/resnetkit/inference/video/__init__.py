"""Videos: answers frame by frame, made states, events, tracks and pictures."""
