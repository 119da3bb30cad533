"""The networks, their published weights and the checkpoint file."""
