"""What is found out about a model once, kept on the model and copied with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch

Fact = TypeVar("Fact")
PREFIX = "_stillage_"


def memo(model: torch.nn.Module, name: str, find_out: Callable[[], Fact]) -> Fact:
    """Return what is known about a model under a name; find it out the first time."""
    if PREFIX + name not in vars(model):
        remember(model, name, find_out())
    return cast("Fact", vars(model)[PREFIX + name])


def remember(model: torch.nn.Module, name: str, fact: object) -> None:
    """Write down what was found out about a model."""
    vars(model)[PREFIX + name] = fact
