"""Mixed precision: the type of forward passes, and the loss scaling of fp16."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from stillage.errors import CapabilityError


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """The compute type of a training on a device, and the scaler of its loss."""

    name: Literal["fp32", "bf16", "fp16"]
    device: torch.device
    scaler: torch.amp.GradScaler

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which forward passes run."""
        types = {"bf16": torch.bfloat16, "fp16": torch.float16}
        if self.name not in types:
            return nullcontext()
        return torch.autocast(self.device.type, types[self.name])


def precision_named(name: Literal["fp32", "bf16", "fp16"], device: torch.device) -> Precision:
    """The precision of that name; CapabilityError for fp16 without a GPU."""
    if name == "fp16" and device.type != "cuda":
        values = f"precision = fp16, device = {device.type}"
        raise CapabilityError("fp16 needs a CUDA device.", values, "Use bf16 or fp32 here.")
    scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")
    return Precision(name=name, device=device, scaler=scaler)
