"""Pages that need nothing else: of a run, of a check."""
