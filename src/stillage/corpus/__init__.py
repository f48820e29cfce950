"""Text in files: the readers of every format, plain-text corpora, and their tokens in blocks."""
