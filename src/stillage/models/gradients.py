"""How strongly one record pulls at the weights: the length of its loss's gradient, whole and block by block.

One backward pass per record gives both. L = (1/T) sum_t -log q(y_t | before), over the record's own scored tokens.
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
from stillage.models.prune import blocks_of
from stillage.models.score_cache import MADE_FOR, cache_file
from stillage.run.folder import read_table, write_table
from stillage.types import GradientNorms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from stillage.run.progress import Done
    from stillage.types import Example

log = logging.getLogger("stillage")
SCHEMA = "gradient norms 2"  # raise it when the norms change


def gradient_norms(
    model: PreTrainedModel,
    examples: Sequence[Example],
    *,
    cache: Path | None = None,
    key: str = "",
    progress: Done | None = None,
) -> list[GradientNorms]:
    """The 2-norm of each record's gradient, in float64, over all weights (shared ones once) and within each block.

    Without dropout; gradients and modes of the model are left as they were. An example without scored tokens has NaN.
    cache: folder where results are kept under (key, examples); key says which model. Raises CapabilityError for quantised
    weights, DataError for an example longer than the context or with unknown ids.
    """
    assert key or cache is None, "a cache needs the hash of the model in its key"
    file = (
        cache_file(cache, f"{SCHEMA} {key} {plain(model).dtype}", examples)
        if cache is not None
        else None
    )
    if file is not None and (known := read_norms(file, len(examples))) is not None:
        return known
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
        write_norms(file, results)
    return results


Groups = tuple[list[torch.nn.Parameter], list[int]]
"""Every weight, and the number of its block; -1: in none."""


def weight_groups(model: PreTrainedModel) -> Groups:
    """The weights by block. CapabilityError where they are quantised: most of them would have no gradient."""
    named = list(model.named_parameters())
    if odd := [name for name, tensor in named if not tensor.is_floating_point()]:
        raise CapabilityError(
            "Quantised weights have no gradient.",
            f"{len(odd)} of {len(named)} tensors, e.g. {odd[0]}",
            "Load the model without `quantize`, or leave out the attacks that need gradients.",
        )
    try:
        blocks = blocks_of(model)[1]
    except CapabilityError as error:
        log.warning(
            "%s Gradient norms are given for the whole model only (%s).", error.what, error.values
        )
        blocks = []
    number = {
        id(tensor): block for block, module in enumerate(blocks) for tensor in module.parameters()
    }
    return [tensor for _, tensor in named], [number.get(id(tensor), -1) for _, tensor in named]


@contextmanager
def learning(model: torch.nn.Module) -> Iterator[None]:
    """Every weight takes part in the gradient; afterwards those that were frozen are so again."""
    frozen = [tensor for tensor in model.parameters() if not tensor.requires_grad]
    for tensor in frozen:
        tensor.requires_grad_(True)
    try:
        yield
    finally:
        for tensor in frozen:
            tensor.requires_grad_(False)


def norms_of(model: PreTrainedModel, example: Example, groups: Groups) -> GradientNorms:
    """One record's gradient norms; its gradients are gone afterwards."""
    tensors, numbers = groups
    squares_L = np.zeros(max(numbers) + 1)
    if not example.response_T.any():
        return GradientNorms(total=math.nan, blocks_L=squares_L + math.nan, rest=math.nan)
    batch = collate([example], model.device)
    loss = -token_logp(read(model, batch), batch.labels_T).mean()
    found = torch.autograd.grad(loss, tensors, allow_unused=True)
    of_tensor = [
        None if g is None else torch.linalg.vector_norm(g, dtype=torch.float64).square()
        for g in found
    ]
    known = [
        (number, square)
        for number, square in zip(numbers, of_tensor, strict=True)
        if square is not None
    ]
    rest = 0.0
    for (number, _), square in zip(
        known, torch.stack([square for _, square in known]).tolist(), strict=True
    ):
        if number < 0:
            rest += square
        else:
            squares_L[number] += square
    return GradientNorms(
        total=math.sqrt(rest + squares_L.sum()), blocks_L=np.sqrt(squares_L), rest=math.sqrt(rest)
    )


def write_norms(file: Path, results: Sequence[GradientNorms]) -> None:
    """Keep the norms: one row per example."""
    write_table(
        file,
        pa.table(
            {
                "total": pa.array([norms.total for norms in results], pa.float64()),
                "rest": pa.array([norms.rest for norms in results], pa.float64()),
                "blocks_L": pa.array([norms.blocks_L for norms in results], pa.list_(pa.float64())),
                MADE_FOR: pa.array([file.stem] * len(results), pa.string()),
            }
        ),
    )


def read_norms(file: Path, count: int) -> list[GradientNorms] | None:
    """The norms in a file, or None where there is none, or it is damaged or another model's (said in the log)."""
    if not file.exists():
        return None
    try:
        rows = read_table(file).to_pylist()
        made_for = {row[MADE_FOR] for row in rows}
        results = [
            GradientNorms(
                total=row["total"],
                blocks_L=np.asarray(row["blocks_L"], np.float64),
                rest=row["rest"],
            )
            for row in rows
        ]
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        log.warning(
            "cached gradient norms %s are damaged (%s): asking again",
            file.name,
            type(error).__name__,
        )
        return None
    if made_for - {file.stem}:
        log.warning("cached gradient norms %s were made for another model: asking again", file.name)
        return None
    return results if len(results) == count else None
