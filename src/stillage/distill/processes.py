"""What the processes of one training tell each other; with one process, nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator


def summed(accelerator: Accelerator, values: torch.Tensor) -> torch.Tensor:
    """The values added up over all processes."""
    if accelerator.num_processes > 1:
        torch.distributed.all_reduce(values)
    return values


def agreed(accelerator: Accelerator, wish: bool) -> bool:
    """Whether any process wishes it; all get the same answer."""
    if accelerator.num_processes == 1:
        return wish
    return bool(summed(accelerator, torch.tensor([float(wish)], device=accelerator.device))[0] > 0)
