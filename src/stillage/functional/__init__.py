"""Pure maths: no files, no models, nothing of ours but types."""
