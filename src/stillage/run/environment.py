"""What a run ran on: versions and hardware; no users, hosts or secrets."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "stillage",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "peft",
    "safetensors",
    "pyarrow",
    "numpy",
    "scipy",
    "scikit-learn",
    "rapidfuzz",
    "tyro",
    "matplotlib",
    "rouge-score",
)


def package_versions() -> dict[str, str]:
    """Installed versions of what decides a result, or "missing"; imports none of it."""
    versions: dict[str, str] = dict.fromkeys(PACKAGES, "missing")
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def cpu_count() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> dict[str, object]:
    """Versions, interpreter, machine; written to env.json of every run."""
    return {
        "packages": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": cpu_count(),
    }
