"""`stillage doctor`: show what a run would run on, for bug reports."""

from __future__ import annotations

import shutil
from pathlib import Path

from stillage.cli.paths import NoSettings, read_paths
from stillage.run.environment import environment

USAGE = "usage: stillage doctor"
SETTINGS = NoSettings


def main(verb: str, words: list[str]) -> int:
    """Print versions, hardware and disk; exit 1 where a needed package is missing."""
    read_paths(f"stillage {verb}", words, (), SETTINGS)
    facts = environment()
    packages = facts.pop("packages")
    assert isinstance(packages, dict)
    for name, value in (facts | packages).items():
        print(f"{name:<14}{value}")
    print(f"{'disk free':<14}{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB here")
    missing = [name for name, value in packages.items() if value == "missing"]
    if "torch" not in missing:
        import torch

        device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
        print(f"{'accelerator':<14}{device}")
        print(f"{'threads':<14}{torch.get_num_threads()}")
    if missing:
        print(f"missing: {', '.join(missing)}\nfix: pip install {' '.join(missing)}")
        return 1
    print("all packages are there")
    return 0
