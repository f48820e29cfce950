"""What `import stillage` gives: the calls that the command line makes, for Python."""
