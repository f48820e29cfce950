"""Every measure of a model's blocks: noise, gradients, exchange, lens and probe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stillage.audit.block_auc import (
    Profile,
    gradient_profile,
    lens_profile,
    mope_profile,
    probe_profile,
    revert_profile,
)
from stillage.audit.control_models import CLEAN, STUDENT
from stillage.audit.given import AuditSettings
from stillage.audit.membership import Audited, LeftOut
from stillage.audit.queries import ScoringModel, gradients_of
from stillage.errors import CapabilityError
from stillage.rng import derive
from stillage.types import Array, Example, Noise, Record

LOG = logging.getLogger("stillage")
REVERTED = (STUDENT, CLEAN)
"""Models whose blocks are exchanged for the no-teacher student's: of one architecture and start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeModel:
    """A model before anything is done to its blocks: what it reads, and its losses."""

    asked: ScoringModel
    examples: list[Example]
    loss_N: Array


def whole_model(asked: ScoringModel, records: Sequence[Record]) -> WholeModel:
    """Read the records with a model as it is."""
    from stillage.models.block_losses import losses

    examples = asked.encode(records)
    progress = asked.doing("scoring {} records")
    loss_N = losses(asked.model, examples, asked.batch_tokens, progress)
    return WholeModel(asked=asked, examples=examples, loss_N=loss_N)


def block_profiles(
    name: str,
    asked: ScoringModel,
    records: Sequence[Record],
    audited: Audited,
    reference: WholeModel | None,
    settings: AuditSettings,
) -> tuple[list[Profile], list[LeftOut]]:
    """Measure one model block by block; and what it does not allow, with the reason.

    reference: the model whose blocks are put in place of its own.
    """
    whole, seed = whole_model(asked, records), settings.seed
    noise = replace(settings.noise, seed=derive(seed, "blocks", "noise"))
    measures: dict[str, Callable[[], list[Profile]]] = {
        "mope": lambda: [under_noise(name, whole, noise)],
        "gradient": lambda: [by_gradient(name, whole)],
    }
    if reference is not None and name in REVERTED:
        measures["revert"] = lambda: [with_blocks_of(reference, name, whole)]
    measures["lens and probe"] = lambda: by_hidden_states(name, whole, audited, seed)
    profiles: list[Profile] = []
    left_out: list[LeftOut] = []
    for measured, measure in measures.items():
        try:
            profiles += measure()
        except CapabilityError as error:
            LOG.warning(
                "%s: the measure %s is left out: %s (%s)", name, measured, error.what, error.values
            )
            left_out.append(
                LeftOut(model=name, attack=f"block {measured}", why=f"{error.what} {error.values}")
            )
    return profiles, left_out


def under_noise(name: str, whole: WholeModel, noise: Noise) -> Profile:
    """Put noise into each block."""
    from stillage.models.block_losses import noise_losses

    asked, examples = whole.asked, whole.examples
    progress = asked.doing(f"noise in each block, {{}} passes over {len(examples):,} records")
    noisy_SLN = noise_losses(
        asked.model, examples, noise, batch_tokens=asked.batch_tokens, progress=progress
    )
    return mope_profile(name, noisy_SLN, whole.loss_N)


def by_gradient(name: str, whole: WholeModel) -> Profile:
    """Measure the norm of the gradient in each block."""
    norms = gradients_of(whole.asked, whole.examples)
    return gradient_profile(name, np.stack([one.blocks_L for one in norms], axis=1))


def with_blocks_of(reference: WholeModel, name: str, whole: WholeModel) -> Profile:
    """Put each block of the reference in place of the model's own.

    CapabilityError where the two read other tokens, or differ in their blocks.
    """
    from stillage.models.block_losses import reverted_losses

    asked, examples = whole.asked, whole.examples
    both = zip(examples, reference.examples, strict=True)
    if any(not np.array_equal(ours.ids_T, theirs.ids_T) for ours, theirs in both):
        raise CapabilityError(
            "The two models read the records as other tokens.", name, "Use one tokenizer."
        )
    progress = asked.doing(f"each block exchanged, {{}} passes over {len(examples):,} records")
    model, other = asked.model, reference.asked.model
    reverted_LN = reverted_losses(
        model, other, examples, batch_tokens=asked.batch_tokens, progress=progress
    )
    return revert_profile(name, reverted_LN, whole.loss_N, reference.loss_N)


def by_hidden_states(name: str, whole: WholeModel, audited: Audited, seed: int) -> list[Profile]:
    """Read what stands after each block, by the head and by a probe."""
    from stillage.models.lens import block_readings

    asked = whole.asked
    progress = asked.doing("reading {} records after each block")
    read = block_readings(
        asked.model, whole.examples, batch_tokens=asked.batch_tokens, progress=progress
    )
    probed = probe_profile(name, read.hidden_LNH, audited, seed)
    return [lens_profile(name, read.loss_LN), probed]
