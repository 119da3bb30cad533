"""Any file to pixels."""
