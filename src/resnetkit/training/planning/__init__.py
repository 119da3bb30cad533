"""What is decided before a run, and why."""
