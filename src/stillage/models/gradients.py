"""The length of one record's gradient, over all weights and block by block.

One backward pass per record gives both. L = (1/T) sum_t -log q(y_t | before), over the record's own
scored tokens.
"""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from stillage.errors import CapabilityError
from stillage.functional.readout import token_logp
from stillage.models.decoder import evaluating, examine, plain, read
from stillage.models.padding import collate
from stillage.models.pair import check_examples
from stillage.models.perturb import refuse_quantised
from stillage.models.prune import blocks_of
from stillage.models.score_cache import cache_file, read_rows, write_rows
from stillage.types import GradientNorms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from stillage.run.progress import Done
    from stillage.types import Example

log = logging.getLogger("stillage")
SCHEMA = "gradient norms 2"  # raise it when the norms change
COLUMNS = {"total": pa.float64(), "rest": pa.float64(), "blocks_L": pa.list_(pa.float64())}


def gradient_norms(
    model: PreTrainedModel,
    examples: Sequence[Example],
    *,
    cache: Path | None = None,
    key: str = "",
    progress: Done | None = None,
) -> list[GradientNorms]:
    """Compute each record's gradient 2-norm over all weights and within each block.

    In float64, shared weights once, without dropout; gradients and modes of the model are left as
    they were. NaN without scored tokens. cache: folder where results are kept under (key,
    examples); key says which model. Raises CapabilityError for quantised weights, DataError for an
    example longer than the context or with unknown ids.
    """
    assert key or cache is None, "a cache needs the hash of the model in its key"
    full_key = f"{SCHEMA} {key} {plain(model).dtype}"
    file = None if cache is None else cache_file(cache, full_key, examples)
    known = None if file is None else read_rows(file, COLUMNS, "gradient norms")
    if known is not None and len(known) == len(examples):
        return [GradientNorms(**row) for row in known]
    check_examples(model, examples)
    groups = weight_groups(model)
    with evaluating(model), torch.enable_grad(), learning(model):
        examine(model)
        results: list[GradientNorms] = []
        for example in examples:
            results.append(norms_of(model, example, groups))
            if progress is not None:
                progress(len(results), len(examples), len(results) / len(examples))
    if bad := sum(not math.isfinite(norms.total) for norms in results):
        log.warning("%d of %d records have gradients that are not finite", bad, len(results))
    if file is not None:
        write_rows(file, COLUMNS, results)
    return results


Groups = tuple[list[torch.nn.Parameter], list[int]]
"""Every weight, and the number of its block; -1: in none."""


def weight_groups(model: PreTrainedModel) -> Groups:
    """Sort the weights by block; CapabilityError where they are quantised."""
    named = dict(model.named_parameters())
    refuse_quantised(named, "have no gradient", "gradients")
    try:
        blocks = blocks_of(model)[1]
    except CapabilityError as error:
        notice = "%s Gradient norms are given for the whole model only (%s)."
        log.warning(notice, error.what, error.values)
        blocks = []
    number = {id(tensor): k for k, module in enumerate(blocks) for tensor in module.parameters()}
    return list(named.values()), [number.get(id(tensor), -1) for tensor in named.values()]


@contextmanager
def learning(model: torch.nn.Module) -> Iterator[None]:
    """Let every weight take part in the gradient; freeze again what was frozen."""
    frozen = [tensor for tensor in model.parameters() if not tensor.requires_grad]
    for tensor in frozen:
        tensor.requires_grad_(True)
    try:
        yield
    finally:
        for tensor in frozen:
            tensor.requires_grad_(False)


def norms_of(model: PreTrainedModel, example: Example, groups: Groups) -> GradientNorms:
    """Compute one record's gradient norms; its gradients are gone afterwards."""
    tensors, numbers = groups
    squares_L = np.zeros(max(numbers) + 1)
    if not example.response_T.any():
        return GradientNorms(total=math.nan, blocks_L=squares_L + math.nan, rest=math.nan)
    batch = collate([example], model.device)
    loss = -token_logp(read(model, batch), batch.labels_T).mean()
    gradients = torch.autograd.grad(loss, tensors, allow_unused=True)
    known = [(k, g) for k, g in zip(numbers, gradients, strict=True) if g is not None]
    norms = [torch.linalg.vector_norm(g, dtype=torch.float64).square() for _, g in known]
    rest = 0.0
    for (number, _), square in zip(known, torch.stack(norms).tolist(), strict=True):
        if number < 0:
            rest += square
        else:
            squares_L[number] += square
    return GradientNorms(
        total=math.sqrt(rest + squares_L.sum()), blocks_L=np.sqrt(squares_L), rest=math.sqrt(rest)
    )
