"""The checklists of CLAIM 2024 and STARD-AI: what a run's files say to their items, and what people must write."""
