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
    from transformers import PreTrainedTokenizerFast

    from stillage.audit.audit_records import AuditRecords
    from stillage.audit.given import AuditModel, AuditSettings
    from stillage.audit.queries import ScoringModel
    from stillage.audit.record_readings import Reading
    from stillage.audit.validity import Check
    from stillage.functional.stats import Interval

SAMPLE = 32  # records of each side that are read in other ways


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
    said = [stats[record.id] for record in records.records]
    member = records.audited.is_member
    if model.name in CONTROLS:
        return Sight(stats={model.name: said})
    losses = losses_of(said, member, len(asked.tokenizer), model.is_trained)
    seen = Sight(losses={model.name: losses}, stats={model.name: said})
    if model.is_trained:
        return seen
    sample = [
        record
        for part in ("private", "nonmembers")
        for record in some_records(
            [one for one, its in zip(records.records, records.parts, strict=True) if its == part],
            SAMPLE,
            settings.seed,
            "sight",
            part,
        )
    ]
    used = asked.encode(sample)
    ours = [stats[record.id] for record in sample]
    baseline = Baseline(
        asked=asked,
        examples=used,
        stats=ours,
        is_member=dict(zip(records.audited.ids, member.tolist(), strict=True)),
    )

    def other(what: str, fix: str, examples: Sequence[Example | None]) -> Other | None:
        return read_otherwise(model.name, what, fix, baseline, examples)

    data = settings.data
    return replace(
        seen,
        layouts=made(other(*one) for one in other_readings(data, asked, sample, used)),
        prompts=made([other("prompts", "", swapped(asked, sample))]),
        bare=made(other(*one) for one in bare_readings(data, asked, sample)),
    )


def made(others: Iterable[Other | None]) -> list[Other]:
    """Keep those that compare anything."""
    return [other for other in others if other is not None]


def losses_of(
    stats: Sequence[TokenStats], is_member: Array, vocabulary: int, trained_here: bool
) -> Losses:
    """Return a model's losses beside those of guessing.

    By token frequencies, and without any; only the latter for a model of this run: its manifest
    names it, and it may be as little trained as one likes.
    """
    guesses = {
        "any token as likely": in_quarters(
            [np.full(len(one.ids_T), np.log(vocabulary)) for one in stats]
        )
    }
    if not trained_here:
        guesses["token frequencies"] = in_quarters(
            unigram_nats([one.ids_T for one in stats], is_member, vocabulary)
        )
    return Losses(
        model_NQ=-in_quarters([one.logp_T for one in stats]),
        guesses=guesses,
        tokens_NQ=in_quarters([np.ones(len(one.ids_T)) for one in stats]),
        is_member=is_member,
        in_parts=trained_here,
    )


def other_readings(
    data: DataConfig, asked: ScoringModel, sample: Sequence[Record], used: Sequence[Example]
) -> Iterator[tuple[str, str, Sequence[Example | None]]]:
    """Yield every other way of reading: what it is, how to choose it, the sample.

    The sample is read in that way; None where a record cannot be.
    """
    tokenizer, limit = asked.tokenizer, shortest_context(asked.model)
    now = chosen_template(data.template, tokenizer)
    own = own_layout(tokenizer.chat_template) if tokenizer.chat_template else ""
    asks = any(record.prompt or record.input or record.messages for record in sample)
    for layout in [own] if own else ["alpaca", "raw"]:
        if layout != now and asks:
            what = f"laid out {'as its folder says ' if own else ''}({layout})"
            yield (
                what,
                f"--data.template {layout}",
                laid_out(data, tokenizer, sample, layout, limit),
            )
    start = tokenizer.bos_token_id
    if isinstance(start, int):
        begins = sum(int(example.ids_T[0]) == start for example in used) * 2 > len(used)
        fix = (
            "its tokenizer "
            + ("puts one there" if begins else "puts none there")
            + "; mend tokenizer.json"
        )
        toggled = [with_start(example, start, limit, begins) for example in used]
        yield f"{'without' if begins else 'with'} a begin of text", fix, toggled


def bare_readings(
    data: DataConfig, asked: ScoringModel, sample: Sequence[Record]
) -> Iterator[tuple[str, str, Sequence[Example | None]]]:
    """Yield records without a prompt after what the model's folder puts around one.

    Nothing where the run itself says raw.
    """
    tokenizer = asked.tokenizer
    own = own_layout(tokenizer.chat_template) if tokenizer.chat_template else "raw"
    asks = any(record.prompt or record.input or record.messages for record in sample)
    if own != "raw" and not asks and data.template != "raw":
        empty = [replace(record, prompt=" ") for record in sample]
        examples = laid_out(data, tokenizer, empty, own, shortest_context(asked.model))
        yield f"after what its folder puts around a prompt ({own})", "", examples


def laid_out(
    data: DataConfig,
    tokenizer: PreTrainedTokenizerFast,
    sample: Sequence[Record],
    layout: str,
    limit: int | None,
) -> Sequence[Example | None]:
    """Lay out the sample in another way, under the run's limits.

    None for every record where it does not fit, or is refused.
    """
    from stillage.data.tokenise import tokenise

    try:
        return tokenise(
            sample,
            tokenizer,
            template=layout,
            max_tokens=data.max_tokens,
            max_prompt_tokens=data.max_prompt_tokens,
            context_tokens=limit,
        ).examples
    except UserError:
        return [None] * len(sample)


def with_start(example: Example, start: int, limit: int | None, remove: bool) -> Example | None:
    """Add a begin of text to the example, or remove it; None where it cannot be."""
    has = int(example.ids_T[0]) == start
    if has != remove or (not remove and limit is not None and len(example.ids_T) >= limit):
        return None
    if not remove:
        return replace(
            example,
            ids_T=np.concatenate([[start], example.ids_T]).astype(np.int32),
            response_T=np.concatenate([[False], example.response_T]),
        )
    response_T = example.response_T[1:].copy()
    response_T[:1] = False  # nothing predicts the first token
    return replace(example, ids_T=example.ids_T[1:], response_T=response_T)


def swapped(asked: ScoringModel, sample: Sequence[Record]) -> list[Example | None]:
    """Return every record's response after the next one's prompt.

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
    """A sample of the records as the audit reads it."""

    asked: ScoringModel
    examples: Sequence[Example]
    stats: Sequence[TokenStats]
    is_member: Mapping[str, bool]  # by record id


def read_otherwise(
    model: str, what: str, fix: str, baseline: Baseline, examples: Sequence[Example | None]
) -> Other | None:
    """Read the same responses in another way; compare the tokens that both end with.

    None where nothing compares.
    """
    from stillage.audit.queries import scored_tokens

    pairs = [
        (stats, example)
        for stats, now, example in zip(baseline.stats, baseline.examples, examples, strict=True)
        if example is not None and not np.array_equal(example.ids_T, now.ids_T)
    ]
    if not pairs:
        return None
    doing = f"reading {{}} records {what}"
    theirs = scored_tokens(baseline.asked, [example for _, example in pairs], doing)
    both = [tail_means(stats, other) for (stats, _), other in zip(pairs, theirs, strict=True)]
    kept = [index for index, means in enumerate(both) if np.isfinite(means).all()]
    if not kept:
        return None
    return Other(
        model=model,
        what=what,
        fix=fix,
        used_N=np.array([both[index][0] for index in kept]),
        other_N=np.array([both[index][1] for index in kept]),
        is_member=np.array([baseline.is_member[pairs[index][1].record_id] for index in kept]),
    )


def tail_means(one: TokenStats, other: TokenStats) -> tuple[float, float]:
    """Return nats per token over the tokens that both readings end with; NaN: none."""
    shorter = min(len(one.ids_T), len(other.ids_T))
    differ = np.flatnonzero(one.ids_T[::-1][:shorter] != other.ids_T[::-1][:shorter])
    same = int(differ[0]) if differ.size else shorter
    if not same:
        return float("nan"), float("nan")
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
    adapters = adapter_weights(models)
    checks = [check_reading(sight.losses), check_share_read(shares), check_repeats(sight.stats)]
    checks += [check_layout(sight.layouts)] if sight.layouts else []
    checks += [check_prompts(sight.prompts, sight.bare)] if sight.prompts or sight.bare else []
    checks += [check_adapters(adapters)] if adapters else []
    trained = {model.name for model in models} - given
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
    from stillage.models.source import ADAPTER, find

    largest: dict[str, float] = {}
    for model in models:
        source = model.source
        folders = [find(place) for place in (source.adapter,) if place]
        folders += [find(source.path, source.revision)] if source.path else []
        for folder in folders:
            if (folder / ADAPTER).exists():
                largest[model.name] = min(largest.get(model.name, np.inf), largest_change(folder))
    return largest
