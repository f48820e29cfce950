"""Questions about near-copies, each in a file of its own."""
