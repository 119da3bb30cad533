"""Pictures read once and decoded once, kept in memory or in files."""
