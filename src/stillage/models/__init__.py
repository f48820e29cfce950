"""Models: loading without running anybody's code, generation, and scoring."""
