"""Recipes, the one training loop, exact resume."""
