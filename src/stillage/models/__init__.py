"""Models: loading without running anybody's code, the head apart from the body, generation, and scoring."""
