"""Stillage distils language models and measures what the student kept. Importing it loads nothing heavy."""

__version__ = "0.1.0"
