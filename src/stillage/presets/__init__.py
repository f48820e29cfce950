"""Presets: whole experiments by name, as YAML files and as rows of the published scripts' table."""
