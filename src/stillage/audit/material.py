"""What the questions of the attacks are made of, besides the audited records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.audit.audit_records import AuditRecords
from stillage.audit.given import AuditSettings
from stillage.audit.queries import Material, queries_for
from stillage.models.limits import device_name
from stillage.run.audit_config import AuditConfig
from stillage.types import END, Attack, Record, Transform

if TYPE_CHECKING:
    from stillage.audit.record_readings import Reading
    from stillage.models.masked import Masked


def gather_material(
    attacks: Sequence[Attack],
    chosen: AuditRecords,
    readings: Sequence[Reading],
    settings: AuditSettings,
) -> Material:
    """Gather what the attacks ask with; what is lacking is `missing`, with the reason.

    readings: how the audited models read the records; a neighbour is made of what all of them read.
    Errors as load_masked, for a masked model that is given and cannot be used.
    """
    asked, records, prefixes = queries_for(attacks), chosen.records, chosen.prefixes
    needed_until, model = settings.data.needed_until, None
    near: list[tuple[str, ...]] = [()] * len(records)
    ends: list[int] = []
    if "neighbours" in asked:
        model = masked_model(settings.audit, chosen.public, settings.cache, settings.seed)
    if model is not None:
        ends = read_by_all(readings, len(records))
        near = near_texts(model, records, ends, settings)
    few = "there are too few {} to give some away as a prefix (audit.prefix_records)"
    needs: Mapping[Transform, tuple[object, str]] = {
        "neighbours": (
            model,
            "there is no masked model (audit.masked_model), nor public records to train one on",
        ),
        "needed": (
            needed_until,
            "nobody said where the needed part of a response ends (data.needed_until)",
        ),
        "frequency": (chosen.public, "there are no public records to count tokens in"),
        "nonmember_prefix": (prefixes.nonmembers, few.format("nonmembers")),
        "member_prefix": (prefixes.members, few.format("members")),
    }
    missing: dict[Transform, str] = {
        name: why for name, (there, why) in needs.items() if name in asked and not there
    }
    return Material(
        records=records,
        neighbours=tuple(near),
        ends=tuple(ends),
        nonmembers=prefixes.nonmembers,
        members=prefixes.members,
        public=chosen.public,
        needed_until=needed_until,
        missing=missing,
    )


def masked_model(
    audit: AuditConfig, public: Sequence[Record], cache: Path, seed: int
) -> Masked | None:
    """Load the given masked model, or train one on public records; None: neither."""
    from stillage.models.masked import load_masked
    from stillage.models.masked_train import small_masked

    if audit.masked_model:
        return load_masked(audit.masked_model, audit.masked_revision, device_name())
    texts = [record.response for record in public if record.response]
    return small_masked(texts, seed, cache, device=device_name()) if texts else None


def read_by_all(readings: Sequence[Reading], count: int) -> list[int]:
    """Return how many characters of each response every model reads; END: all of it."""
    ends = [END] * count
    for reading in readings:
        spans = [example.span for example in reading.tokenised.examples]
        ends = [
            end if span is None else min(end, int(span.bounds_N[-1]))
            for end, span in zip(ends, spans, strict=True)
        ]
    return ends


def near_texts(
    model: Masked, records: Sequence[Record], ends: Sequence[int], settings: AuditSettings
) -> list[tuple[str, ...]]:
    """Make neighbours of every response up to a character of it."""
    from stillage.audit.neighbours import neighbours, swaps_of

    audit = settings.audit
    cut = [
        replace(record, response=record.response[:end])
        for record, end in zip(records, ends, strict=True)
    ]
    return neighbours(
        model,
        cut,
        swaps_of(audit, settings.seed),
        cache=settings.cache,
        batch_tokens=audit.batch_tokens,
        progress=settings.doing("the masked model")("making {} neighbours"),
    )
