"""Text in files: readers of every format, plain-text corpora, their tokens."""
