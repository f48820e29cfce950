"""Evidence that the auditor could see: losses, other ways of reading, adapters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.control_models import CONTROLS
from stillage.audit.draw_records import some_records
from stillage.audit.reading import Losses, check_reading, in_quarters, unigram_nats
from stillage.audit.sight import (
    Other,
    Share,
    check_adapters,
    check_layout,
    check_positive_control,
    check_prompts,
    check_repeats,
    check_share_read,
)
from stillage.data.chat_templates import chosen_template, own_layout
from stillage.errors import UserError
from stillage.models.limits import shortest_context
from stillage.run.config import DataConfig
from stillage.types import Array, Example, Record, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.audit.audit_records import AuditRecords
    from stillage.audit.given import AuditModel, AuditSettings
    from stillage.audit.queries import ScoringModel
    from stillage.audit.record_readings import Reading
    from stillage.audit.validity import Check
    from stillage.functional.stats import Interval

SAMPLE = 32  # records of each side that are read in other ways
Way = tuple[str, str, Sequence[Example | None]]
"""Another way of reading a sample: what it is, the setting for it, the records read in it.

None for a record that cannot be read so.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was seen of each model while it was asked."""

    losses: Mapping[str, Losses] = field(default_factory=dict)
    stats: Mapping[str, Sequence[TokenStats]] = field(default_factory=dict)
    layouts: Sequence[Other] = ()
    prompts: Sequence[Other] = ()
    bare: Sequence[Other] = ()


def see(
    model: AuditModel,
    asked: ScoringModel,
    records: AuditRecords,
    stats: Mapping[str, TokenStats],
    settings: AuditSettings,
) -> Sight:
    """Look at how one model reads. stats: of every record, by its id.

    A model that was trained elsewhere also reads a sample of 32 members and 32 nonmembers in other
    ways; one that was trained in this run was trained as it is read, and a control need not read
    well.
    """
    said = {model.name: [stats[record.id] for record in records.records]}
    member = records.audited.is_member
    if model.name in CONTROLS:
        return Sight(stats=said)
    losses = losses_of(said[model.name], member, len(asked.tokenizer), model.is_trained)
    seen = Sight(losses={model.name: losses}, stats=said)
    if model.is_trained:
        return seen
    sample: list[Record] = []
    for part in ("private", "nonmembers"):
        side = [one for one, its in zip(records.records, records.parts, strict=True) if its == part]
        sample += some_records(side, SAMPLE, settings.seed, "sight", part)
    baseline = Baseline(
        model=model.name,
        asked=asked,
        examples=asked.encode(sample),
        stats=[stats[record.id] for record in sample],
        is_member=dict(zip(records.audited.ids, member.tolist(), strict=True)),
    )

    def others(ways: Iterable[Way]) -> list[Other]:
        return [other for way in ways for other in read_otherwise(baseline, *way)]

    data = settings.data
    return replace(
        seen,
        layouts=others(other_readings(data, asked, sample, baseline.examples)),
        prompts=others([("prompts", "", swapped(asked, sample))]),
        bare=others(bare_readings(data, asked, sample)),
    )


def losses_of(
    stats: Sequence[TokenStats], is_member: Array, vocabulary: int, trained_here: bool
) -> Losses:
    """Return a model's losses beside those of guesses.

    By token frequencies, and without any; only the latter for a model of this run: its manifest
    names it, and it may be as little trained as one likes.
    """
    ids, uniform = [one.ids_T for one in stats], np.log(vocabulary)
    guesses = {"any token as likely": [np.full(len(ids_T), uniform) for ids_T in ids]}
    if not trained_here:
        guesses["token frequencies"] = unigram_nats(ids, is_member, vocabulary)
    return Losses(
        model_NQ=-in_quarters([one.logp_T for one in stats]),
        guesses={how: in_quarters(nats) for how, nats in guesses.items()},
        tokens_NQ=in_quarters([np.ones(len(ids_T)) for ids_T in ids]),
        is_member=is_member,
        in_parts=trained_here,
    )


def other_readings(
    data: DataConfig, asked: ScoringModel, sample: Sequence[Record], used: Sequence[Example]
) -> Iterator[Way]:
    """Yield other layouts, and the sample with a begin of text, or without.

    used: the sample as the run reads it.
    """
    tokenizer, now = asked.tokenizer, chosen_template(data.template, asked.tokenizer)
    own = own_layout(tokenizer.chat_template) if tokenizer.chat_template else ""
    for layout in [own] if own else ["alpaca", "raw"]:
        if layout != now and any(map(is_prompted, sample)):
            what = f"laid out {'as its folder says ' if own else ''}({layout})"
            yield what, f"--data.template {layout}", laid_out(data, asked, sample, layout)
    start, limit = tokenizer.bos_token_id, shortest_context(asked.model)
    if isinstance(start, int):
        begins = sum(int(example.ids_T[0]) == start for example in used) * 2 > len(used)
        what, puts = ("without", "one") if begins else ("with", "none")
        fix = f"its tokenizer puts {puts} there; mend tokenizer.json"
        toggled = [with_start(example, start, limit, begins) for example in used]
        yield f"{what} a begin of text", fix, toggled


def bare_readings(data: DataConfig, asked: ScoringModel, sample: Sequence[Record]) -> Iterator[Way]:
    """Yield records without a prompt after what the model's folder puts around one.

    Nothing where the run itself says raw.
    """
    template = asked.tokenizer.chat_template
    own = own_layout(template) if template else "raw"
    if "raw" not in (own, data.template) and not any(map(is_prompted, sample)):
        empty = [replace(record, prompt=" ") for record in sample]
        what = f"after what its folder puts around a prompt ({own})"
        yield what, "", laid_out(data, asked, empty, own)


def is_prompted(record: Record) -> bool:
    """Tell whether anything stands before the response."""
    return bool(record.prompt or record.input or record.messages)


def laid_out(
    data: DataConfig, asked: ScoringModel, sample: Sequence[Record], layout: str
) -> Sequence[Example | None]:
    """Lay out the sample in another way, under the run's limits.

    None for every record where it does not fit, or is refused.
    """
    from stillage.data.tokenise import tokenise

    try:
        return tokenise(
            sample,
            asked.tokenizer,
            template=layout,
            max_tokens=data.max_tokens,
            max_prompt_tokens=data.max_prompt_tokens,
            context_tokens=shortest_context(asked.model),
        ).examples
    except UserError:
        return [None] * len(sample)


def with_start(example: Example, start: int, limit: int | None, remove: bool) -> Example | None:
    """Add a begin of text to the example, or remove it; None where it cannot be."""
    has = int(example.ids_T[0]) == start
    if has != remove or (not remove and limit is not None and len(example.ids_T) >= limit):
        return None
    if remove:
        ids_T, response_T = example.ids_T[1:], example.response_T[1:].copy()
        response_T[:1] = False  # nothing predicts the first token
    else:
        ids_T = np.concatenate([[start], example.ids_T]).astype(np.int32)
        response_T = np.concatenate([[False], example.response_T])
    return replace(example, ids_T=ids_T, response_T=response_T)


def swapped(asked: ScoringModel, sample: Sequence[Record]) -> list[Example | None]:
    """Read every record's response after the next one's prompt.

    None where that prompt is its own, or there is none.
    """
    moved = [
        replace(record, prompt=other.prompt, input=other.input, messages=other.messages)
        for record, other in zip(sample, [*sample[1:], *sample[:1]], strict=True)
    ]
    examples = asked.encode(moved)
    return [
        example if (other.prompt or other.messages) and other != record else None
        for record, other, example in zip(sample, moved, examples, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A sample of the records as the audit reads it with one model."""

    model: str
    asked: ScoringModel
    examples: Sequence[Example]
    stats: Sequence[TokenStats]
    is_member: Mapping[str, bool]  # by record id


def read_otherwise(
    baseline: Baseline, what: str, fix: str, examples: Sequence[Example | None]
) -> list[Other]:
    """Read the same responses in another way; compare the tokens that both end with.

    Nothing where nothing compares.
    """
    from stillage.audit.queries import scored_tokens

    pairs = [
        (stats, example)
        for stats, now, example in zip(baseline.stats, baseline.examples, examples, strict=True)
        if example is not None and not np.array_equal(example.ids_T, now.ids_T)
    ]
    if not pairs:
        return []
    doing = f"reading {{}} records {what}"
    theirs = scored_tokens(baseline.asked, [example for _, example in pairs], doing)
    both = zip(pairs, theirs, strict=True)
    used_N, other_N = np.array([tail_means(stats, other) for (stats, _), other in both]).T
    member = np.array([baseline.is_member[example.record_id] for _, example in pairs])
    kept = np.isfinite(used_N) & np.isfinite(other_N)
    if not kept.any():
        return []
    compared = {"used_N": used_N[kept], "other_N": other_N[kept], "is_member": member[kept]}
    return [Other(model=baseline.model, what=what, fix=fix, **compared)]


def tail_means(one: TokenStats, other: TokenStats) -> tuple[float, float]:
    """Return nats per token over the tokens that both readings end with; NaN: none."""
    shorter = min(len(one.ids_T), len(other.ids_T))
    differ = np.flatnonzero(one.ids_T[::-1][:shorter] != other.ids_T[::-1][:shorter])
    same = int(differ[0]) if differ.size else shorter
    if not same:
        return np.nan, np.nan
    return -float(one.logp_T[-same:].mean()), -float(other.logp_T[-same:].mean())


def together(parts: Sequence[Sight]) -> Sight:
    """Join what was seen of several models."""
    return Sight(
        losses={model: loss for part in parts for model, loss in part.losses.items()},
        stats={model: stats for part in parts for model, stats in part.stats.items()},
        layouts=[other for part in parts for other in part.layouts],
        prompts=[other for part in parts for other in part.prompts],
        bare=[other for part in parts for other in part.bare],
    )


def sight_checks(
    models: Sequence[AuditModel],
    sight: Sight,
    readings: Sequence[Reading],
    scores: pa.Table,
    level: float,
) -> list[Check]:
    """Check whether the auditor could see. scores: audit/scores.parquet."""
    given = {model.name for model in models if not model.is_trained}
    shares = {
        model: Share(
            cut=int(reading.was_cut.sum()),
            n=reading.was_cut.size,
            response=reading.response_read,
            must=model in given,
        )
        for reading in readings
        for model in reading.models
        if model not in CONTROLS
    }
    adapters, trained = adapter_weights(models), {model.name for model in models} - given
    checks = [check_reading(sight.losses), check_share_read(shares), check_repeats(sight.stats)]
    checks += [check_layout(sight.layouts)] if sight.layouts else []
    checks += [check_prompts(sight.prompts, sight.bare)] if sight.prompts or sight.bare else []
    checks += [check_adapters(adapters)] if adapters else []
    return [*checks, check_positive_control(learned_intervals(scores, level), trained)]


def learned_intervals(scores: pa.Table, level: float) -> dict[str, dict[str, Interval]]:
    """Return AUC intervals of all attacks on the models that may have learned members."""
    from stillage.audit.scores import BLIND, Scores

    intervals: dict[str, dict[str, Interval]] = {}
    read = Scores(scores)
    for model, attack in read.pairs:
        scored = read.of(model, attack)
        if model not in (BLIND, *CONTROLS) and scored.has_both:
            intervals.setdefault(model, {})[attack] = scored.auc(level)
    return intervals


def adapter_weights(models: Sequence[AuditModel]) -> dict[str, float]:
    """Return the largest weight of every adapter's factor that starts at 0, by model."""
    from stillage.models.lora import largest_change
    from stillage.models.source import ADAPTER, folders_of

    largest: dict[str, float] = {}
    for model in models:
        for folder in folders_of(model.source):
            if (folder / ADAPTER).exists():
                largest[model.name] = min(largest.get(model.name, np.inf), largest_change(folder))
    return largest
