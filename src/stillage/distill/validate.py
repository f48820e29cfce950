"""How well a student predicts the records' own responses: the number that picks the best weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from stillage.distill.batches import trained_tokens
from stillage.distill.objective import sums
from stillage.distill.precision import Precision
from stillage.models.decoder import read
from stillage.models.padding import collate
from stillage.types import Example, Step


@torch.no_grad()
def validation_sums(
    model: nn.Module,
    batches: Sequence[Sequence[Example]],
    device: torch.device,
    precision: Precision,
) -> torch.Tensor:
    """Return [sum of -log q(label) in nats, number of labels] over the batches, float64.

    The model is in eval mode meanwhile.
    """
    was_training = model.training
    model.eval()
    found = torch.zeros(2, dtype=torch.float64, device=device)
    for examples in batches:
        batch = collate(examples, device)
        with precision.autocast():
            student = read(model, batch)  # pyright: ignore[reportArgumentType]
            step = Step(student=student, teacher=None, labels_T=batch.labels_T, number=0)
            found[0] += sums(step).ce.double()
        found[1] += sum(trained_tokens(example) for example in examples)
    model.train(was_training)
    return found
