"""Presets: whole experiments by name, as YAML files or published scripts."""
