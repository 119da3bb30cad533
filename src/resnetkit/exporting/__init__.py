"""Models for other programs: one folder to hand over, checked against the original on the user's own pictures."""
