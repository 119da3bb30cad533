"""What the verbs need to know of a task, and nothing else."""
