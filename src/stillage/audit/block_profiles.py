"""Every measure of a model's blocks: noise, gradients, exchange, lens and probe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
from stillage.audit.given import AuditModel, AuditSettings, scoring_model
from stillage.audit.membership import Audited, LeftOut
from stillage.audit.queries import ScoringModel
from stillage.errors import CapabilityError
from stillage.rng import derive
from stillage.types import Array, Example, Record

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOG = logging.getLogger("stillage")
REVERTED = (STUDENT, CLEAN)
"""Models whose blocks are exchanged for the no-teacher student's: of one architecture and start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReference:
    """The model that blocks are reverted to: its weights, what it read, its losses."""

    model: PreTrainedModel
    examples: list[Example]
    loss_N: Array


def block_reference(
    model: AuditModel, records: Sequence[Record], settings: AuditSettings
) -> BlockReference:
    """Load a reference, and its losses on the records."""
    from stillage.models.block_losses import losses

    asked = scoring_model(model, settings)
    examples = asked.encode(records)
    progress = asked.doing("scoring {} records")
    loss_N = losses(asked.model, examples, asked.batch_tokens, progress)
    return BlockReference(model=asked.model, examples=examples, loss_N=loss_N)


def block_profiles(
    name: str,
    asked: ScoringModel,
    records: Sequence[Record],
    audited: Audited,
    reference: BlockReference | None,
    settings: AuditSettings,
) -> tuple[list[Profile], list[LeftOut]]:
    """Measure one model block by block; and what it does not allow, with the reason."""
    from stillage.models.block_losses import losses, noise_losses, reverted_losses
    from stillage.models.gradients import gradient_norms
    from stillage.models.lens import block_readings

    audit, seed, model, doing = settings.audit, settings.seed, asked.model, asked.doing
    examples = asked.encode(records)
    loss_N = losses(model, examples, audit.batch_tokens, doing("scoring {} records"))

    def noise() -> list[Profile]:
        noisy_SLN = noise_losses(
            model,
            examples,
            replace(settings.noise, seed=derive(seed, "blocks", "noise")),
            batch_tokens=audit.batch_tokens,
            progress=doing(f"noise in each block, {{}} passes over {len(examples):,} records"),
        )
        return [mope_profile(name, noisy_SLN, loss_N)]

    def gradient() -> list[Profile]:
        progress = doing("gradients of {} records")
        norms = gradient_norms(model, examples, cache=asked.cache, key=asked.key, progress=progress)
        return [gradient_profile(name, np.stack([one.blocks_L for one in norms], axis=1))]

    def revert() -> list[Profile]:
        if reference is None or name not in REVERTED:
            return []
        if any(
            not np.array_equal(a.ids_T, b.ids_T)
            for a, b in zip(examples, reference.examples, strict=True)
        ):
            raise CapabilityError(
                "The two models read the records as other tokens.", name, "Use one tokenizer."
            )
        progress = doing(f"each block exchanged, {{}} passes over {len(examples):,} records")
        reverted_LN = reverted_losses(
            model, reference.model, examples, batch_tokens=audit.batch_tokens, progress=progress
        )
        return [revert_profile(name, reverted_LN, loss_N, reference.loss_N)]

    def readings() -> list[Profile]:
        progress = doing("reading {} records after each block")
        read = block_readings(model, examples, batch_tokens=audit.batch_tokens, progress=progress)
        return [
            lens_profile(name, read.loss_LN),
            probe_profile(name, read.hidden_LNH, audited, seed),
        ]

    profiles: list[Profile] = []
    left_out: list[LeftOut] = []
    measures: dict[str, Callable[[], list[Profile]]] = {
        "mope": noise,
        "gradient": gradient,
        "revert": revert,
        "lens and probe": readings,
    }
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
