"""Puts the corpus tests' helper (`make_shards.py`) where these tests can import it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "corpus"))
