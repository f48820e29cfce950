"""Audits of what a model knows of the records that it was trained on."""
