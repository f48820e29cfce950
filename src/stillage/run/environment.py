"""What a run ran on: versions and hardware, for the report and for bug reports. No names of users or hosts, no secrets."""

from __future__ import annotations

import os
import platform
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
    """Installed versions of what decides a result; "missing" where one is not installed. Imports none of them."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


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
