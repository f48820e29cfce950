"""Random numbers by name: every generator is derived from (seed, names), so that no rank, batch or order changes a draw.

There is no global generator. Two places that need independent noise use two names.
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
    """A 63-bit seed that depends on the seed and every name, in order: sha256 of their text."""
    text = "\x1f".join([str(seed), *(SEED_WORDS.get(str(name), str(name)) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator for the purpose that `names` spell, e.g. generator(seed, "split")."""
    return np.random.Generator(np.random.PCG64(derive(seed, *names)))


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """A torch CPU generator for the purpose that `names` spell, e.g. torch_generator(seed, "rollout", step, record_id)."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *names))
