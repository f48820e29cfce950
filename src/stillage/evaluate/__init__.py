"""How good a model's answers are: overlap with the references, perplexity, bits per byte."""
