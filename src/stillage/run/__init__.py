"""Configs, run folders and stages: everything a run needs before the first record is read."""
