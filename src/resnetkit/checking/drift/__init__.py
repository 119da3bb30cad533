"""Whether today's pictures are still those of a reference, picture by picture, by a network's features."""
