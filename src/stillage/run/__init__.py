"""Configs, run folders and stages: what a run needs before its first record."""
