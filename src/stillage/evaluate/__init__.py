"""How good a model's answers are: overlap, perplexity, bits per byte."""
