"""Random numbers by name, the same whatever the rank, batch or order.

Every generator is derived from (seed, names). There is no global generator. Two places that need
independent noise use two names.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

SEED_WORDS = {"nonmembers": "outsiders"}
"""What a renamed name is hashed as: a draw does not move because a word did."""


def derive(seed: int, *names: str | int) -> int:
    """Derive a 63-bit seed from seed and names, in order: sha256 of their text."""
    text = "\x1f".join([str(seed), *(SEED_WORDS.get(str(name), str(name)) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Make a numpy generator for the named purpose, e.g. generator(seed, "split")."""
    return np.random.Generator(np.random.PCG64(derive(seed, *names)))


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """Make a torch CPU generator for the named purpose.

    E.g. torch_generator(seed, "rollout", step, record_id).
    """
    import torch

    return torch.Generator().manual_seed(derive(seed, *names))
