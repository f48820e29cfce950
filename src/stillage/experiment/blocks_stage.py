"""The blocks stage: every audited model block by block, on members and nonmembers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillage.errors import CapabilityError
from stillage.experiment.audit_stage import some_audited
from stillage.experiment.inputs import (
    audited_of,
    base_result,
    examples_of,
    load_finished,
    shortest_context,
    stats_key,
    tokenizer_of,
    use_threads,
)
from stillage.experiment.specs import OUTSIDE, REFERENCE, ModelSpec
from stillage.rng import derive
from stillage.run.folder import write_table
from stillage.run.results import write_results
from stillage.types import Array, Example, Record

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from stillage.audit.blocks import Profile
    from stillage.audit.membership import Audited, LeftOut
    from stillage.experiment.plan import Context

LOG = logging.getLogger("stillage")
REVERTED = ("student", "student_counterfactual")
"""Models whose blocks are exchanged for the no-teacher student's: of one architecture, and of one start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The no-teacher student: its weights, what it read, and its losses."""

    model: PreTrainedModel
    examples: list[Example]
    loss_N: Array


def blocks(context: Context, folder: Path) -> None:
    """Profiles of every model (blocks/scores.parquet) and their AUCs (results.parquet)."""
    from stillage.audit.blocks import block_results, block_table
    from stillage.audit.membership import left_out_results
    from stillage.data.split import read_split

    config = context.config
    use_threads(context)
    records, parts = some_audited(context, "blocks", config.audit.block_records)
    audited = audited_of(read_split(context.run / "data"), records, parts)
    reference = reference_of(context, records)
    profiles: list[Profile] = []
    left_out: list[LeftOut] = []
    for spec in context.models:
        context.progress("blocks", {"model": spec.name})
        found, without = profiles_of(context, spec, records, audited, reference)
        profiles += found
        left_out += without
    base = base_result(context, "blocks")
    results = block_results(audited, profiles, level=config.audit.level, base=base)
    write_table(folder / "scores.parquet", block_table(audited, profiles))
    write_results(folder / "results.parquet", [*results, *left_out_results(left_out, base)])


def load(
    context: Context, spec: ModelSpec, records: list[Record]
) -> tuple[PreTrainedModel, list[Example]]:
    """A model's model, and the records as it reads them."""
    tokenizer = tokenizer_of(context, spec)
    model = load_finished(context, spec, tokenizer)
    return model, examples_of(
        records,
        tokenizer,
        context.config.data,
        shortest_context(model),
        what=f"{spec.name}, blocks",
    )


def reference_of(context: Context, records: list[Record]) -> Reference | None:
    """The model whose blocks others are reverted to: the student without a teacher, or the given reference of an audit.

    None where the run has neither.
    """
    from stillage.models.block_losses import losses

    name = REFERENCE if "distill" in context.config.stages else OUTSIDE
    spec = next((spec for spec in context.asked if spec.name == name), None)
    if spec is None:
        return None
    model, examples = load(context, spec, records)
    progress = context.doing("blocks", spec.name)("scoring {} records")
    loss_N = losses(model, examples, context.config.audit.batch_tokens, progress)
    return Reference(model=model, examples=examples, loss_N=loss_N)


def profiles_of(
    context: Context,
    spec: ModelSpec,
    records: list[Record],
    audited: Audited,
    reference: Reference | None,
) -> tuple[list[Profile], list[LeftOut]]:
    """Every measure of one model, and which of them it does not allow, with the reason."""
    from stillage.audit.blocks import (
        gradient_profile,
        lens_profile,
        mope_profile,
        probe_profile,
        revert_profile,
    )
    from stillage.audit.membership import LeftOut
    from stillage.models.block_losses import (
        WeightNoise,
        losses,
        noise_losses,
        reverted_losses,
    )
    from stillage.models.gradients import gradient_norms
    from stillage.models.lens import block_readings

    audit, seed = context.config.audit, context.config.seed
    model, examples = load(context, spec, records)
    doing = context.doing("blocks", spec.name)
    loss_N = losses(model, examples, audit.batch_tokens, doing("scoring {} records"))

    def noise() -> list[Profile]:
        noisy_SLN = noise_losses(
            model,
            examples,
            WeightNoise(
                sigma=audit.mope_sigma,
                copies=audit.mope_copies,
                seed=derive(seed, "blocks", "noise"),
                relative=audit.mope_noise == "relative",
            ),
            batch_tokens=audit.batch_tokens,
            progress=doing(f"noise in each block, {{}} passes over {len(examples):,} records"),
        )
        return [mope_profile(spec.name, noisy_SLN, loss_N)]

    def gradient() -> list[Profile]:
        key, progress = stats_key(context, spec), doing("gradients of {} records")
        norms = gradient_norms(model, examples, cache=context.cache, key=key, progress=progress)
        return [gradient_profile(spec.name, np.stack([one.blocks_L for one in norms], axis=1))]

    def revert() -> list[Profile]:
        if reference is None or spec.name not in REVERTED:
            return []
        if any(
            not np.array_equal(a.ids_T, b.ids_T)
            for a, b in zip(examples, reference.examples, strict=True)
        ):
            raise CapabilityError(
                "The two models read the records as other tokens.", spec.name, "Use one tokenizer."
            )
        progress = doing(f"each block exchanged, {{}} passes over {len(examples):,} records")
        reverted_LN = reverted_losses(
            model, reference.model, examples, batch_tokens=audit.batch_tokens, progress=progress
        )
        return [revert_profile(spec.name, reverted_LN, loss_N, reference.loss_N)]

    def readings() -> list[Profile]:
        progress = doing("reading {} records after each block")
        read = block_readings(model, examples, batch_tokens=audit.batch_tokens, progress=progress)
        return [
            lens_profile(spec.name, read.loss_LN),
            probe_profile(spec.name, read.hidden_LNH, audited, seed),
        ]

    profiles: list[Profile] = []
    left_out: list[LeftOut] = []
    measures: dict[str, Callable[[], list[Profile]]] = {
        "mope": noise,
        "gradient": gradient,
        "revert": revert,
        "lens and probe": readings,
    }
    for name, measure in measures.items():
        try:
            profiles += measure()
        except CapabilityError as error:
            LOG.warning(
                "%s: the measure %s is left out: %s (%s)", spec.name, name, error.what, error.values
            )
            left_out.append(
                LeftOut(model=spec.name, attack=f"block {name}", why=f"{error.what} {error.values}")
            )
    return profiles, left_out
