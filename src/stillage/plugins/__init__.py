"""A user's own divergences, methods, attacks and measures, from a Python file."""
