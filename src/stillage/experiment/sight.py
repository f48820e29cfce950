"""What shows whether the auditor could see, gathered while the models are asked: losses, other readings, adapters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

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
from stillage.experiment.controls import CONTROLS
from stillage.experiment.inputs import model_source, shortest_context, some_of
from stillage.types import Array, Example, Record, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

    from stillage.audit.questions import Subject
    from stillage.audit.validity import Check
    from stillage.experiment.plan import Context
    from stillage.experiment.readings import Reading
    from stillage.experiment.specs import ModelSpec
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


def sight_of(
    context: Context,
    spec: ModelSpec,
    subject: Subject,
    records: Sequence[Record],
    parts: Sequence[str],
    stats: Mapping[str, TokenStats],
) -> Sight:
    """One model's part. stats: of every record, by its id.

    A model that was trained elsewhere also reads a sample of 32 members and 32 nonmembers in other ways; one that was trained
    in this run was trained as it is read, and a control need not read well.
    """
    said, member = (
        [stats[record.id] for record in records],
        np.array([name == "private" for name in parts]),
    )
    if spec.name in CONTROLS:
        return Sight(stats={spec.name: said})
    losses = losses_of(said, member, len(subject.tokenizer), spec.is_trained)
    found = Sight(losses={spec.name: losses}, stats={spec.name: said})
    if spec.is_trained:
        return found
    sample = [
        record
        for name in ("private", "nonmembers")
        for record in some_of(
            [record for record, its in zip(records, parts, strict=True) if its == name],
            SAMPLE,
            context.config.seed,
            "sight",
            name,
        )
    ]
    used = subject.encode(sample)
    ours = [stats[record.id] for record in sample]
    of_member = {
        record.id: bool(is_member) for record, is_member in zip(records, member, strict=True)
    }

    def other(what: str, fix: str, examples: Sequence[Example | None]) -> Other | None:
        return compared(spec.name, what, fix, subject, used, ours, examples, of_member)

    return replace(
        found,
        layouts=made(other(*one) for one in other_readings(context, subject, sample, used)),
        prompts=made([other("prompts", "", swapped(subject, sample))]),
        bare=made(other(*one) for one in bare_readings(context, subject, sample)),
    )


def made(others: Iterable[Other | None]) -> list[Other]:
    """Those that compare anything."""
    return [other for other in others if other is not None]


def losses_of(
    stats: Sequence[TokenStats], is_member: Array, vocabulary: int, trained_here: bool
) -> Losses:
    """A model's losses beside those of guessing.

    By token frequencies; and by none at all, which is all that is asked of a model of this run: its manifest names it, and it
    may be as little trained as one likes.
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
    context: Context, subject: Subject, sample: Sequence[Record], used: Sequence[Example]
) -> Iterator[tuple[str, str, Sequence[Example | None]]]:
    """(what, how to choose it, the sample read so; None where a record cannot be) of every other way of reading."""
    tokenizer, limit = subject.tokenizer, shortest_context(subject.model)
    now = chosen_template(context.config.data.template, tokenizer)
    own = own_layout(tokenizer.chat_template) if tokenizer.chat_template else ""
    asks = any(record.prompt or record.input or record.messages for record in sample)
    for layout in [own] if own else ["alpaca", "raw"]:
        if layout != now and asks:
            what = f"laid out {'as its folder says ' if own else ''}({layout})"
            yield (
                what,
                f"--data.template {layout}",
                laid_out(context, tokenizer, sample, layout, limit),
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
    context: Context, subject: Subject, sample: Sequence[Record]
) -> Iterator[tuple[str, str, Sequence[Example | None]]]:
    """Records without a prompt, after what the model's folder puts around one; nothing where the run says raw itself."""
    tokenizer = subject.tokenizer
    own = own_layout(tokenizer.chat_template) if tokenizer.chat_template else "raw"
    asks = any(record.prompt or record.input or record.messages for record in sample)
    if own != "raw" and not asks and context.config.data.template != "raw":
        empty = [replace(record, prompt=" ") for record in sample]
        found = laid_out(context, tokenizer, empty, own, shortest_context(subject.model))
        yield f"after what its folder puts around a prompt ({own})", "", found


def laid_out(
    context: Context,
    tokenizer: PreTrainedTokenizerFast,
    sample: Sequence[Record],
    layout: str,
    limit: int | None,
) -> Sequence[Example | None]:
    """The sample in another layout, under the run's limits; None for every record where it does not fit, or is refused."""
    from stillage.data.tokenise import tokenise

    data = context.config.data
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
    """The example with a begin of text, or without the one it has; None where that is not possible."""
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


def swapped(subject: Subject, sample: Sequence[Record]) -> list[Example | None]:
    """Every record's response after the next one's prompt; None where that prompt is its own, or there is none."""
    moved = [
        replace(record, prompt=other.prompt, input=other.input, messages=other.messages)
        for record, other in zip(sample, [*sample[1:], *sample[:1]], strict=True)
    ]
    examples = subject.encode(moved)
    return [
        example if (other.prompt or other.messages) and other != record else None
        for record, other, example in zip(sample, moved, examples, strict=True)
    ]


def compared(
    model: str,
    what: str,
    fix: str,
    subject: Subject,
    used: Sequence[Example],
    ours: Sequence[TokenStats],
    examples: Sequence[Example | None],
    is_member: Mapping[str, bool],
) -> Other | None:
    """The same responses read in another way, over the tokens that both end with; None where nothing compares."""
    from stillage.audit.questions import stats_of

    pairs = [
        (stats, example)
        for stats, now, example in zip(ours, used, examples, strict=True)
        if example is not None and not np.array_equal(example.ids_T, now.ids_T)
    ]
    if not pairs:
        return None
    theirs = stats_of(subject, [example for _, example in pairs], f"reading {{}} records {what}")
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
        is_member=np.array([is_member[pairs[index][1].record_id] for index in kept]),
    )


def tail_means(one: TokenStats, other: TokenStats) -> tuple[float, float]:
    """Nats per token of two readings over the tokens that both end with; NaN where there is none."""
    shorter = min(len(one.ids_T), len(other.ids_T))
    differ = np.flatnonzero(one.ids_T[::-1][:shorter] != other.ids_T[::-1][:shorter])
    same = int(differ[0]) if differ.size else shorter
    if not same:
        return float("nan"), float("nan")
    return -float(one.logp_T[-same:].mean()), -float(other.logp_T[-same:].mean())


def together(parts: Sequence[Sight]) -> Sight:
    """What was seen of several models."""
    return Sight(
        losses={model: loss for part in parts for model, loss in part.losses.items()},
        stats={model: stats for part in parts for model, stats in part.stats.items()},
        layouts=[other for part in parts for other in part.layouts],
        prompts=[other for part in parts for other in part.prompts],
        bare=[other for part in parts for other in part.bare],
    )


def sight_checks(
    context: Context, sight: Sight, readings: Sequence[Reading], scores: pa.Table
) -> list[Check]:
    """All checks on whether the auditor could see. scores: audit/scores.parquet."""
    given = {spec.name for spec in context.asked if not spec.is_trained}
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
    adapters = adapter_weights(context)
    found = [check_reading(sight.losses), check_share_read(shares), check_repeats(sight.stats)]
    found += [check_layout(sight.layouts)] if sight.layouts else []
    found += [check_prompts(sight.prompts, sight.bare)] if sight.prompts or sight.bare else []
    found += [check_adapters(adapters)] if adapters else []
    return [
        *found,
        check_positive_control(
            intervals_of(context, scores), {r.name for r in context.asked} - given
        ),
    ]


def intervals_of(context: Context, scores: pa.Table) -> dict[str, dict[str, Interval]]:
    """AUC intervals of every attack on every model that may have learned members."""
    from stillage.audit.membership import BLIND, by_model_and_attack, is_cross_fitted

    found: dict[str, dict[str, Interval]] = {}
    for (model, attack), scored in by_model_and_attack(scores).items():
        if (
            model not in (BLIND, *CONTROLS)
            and scored.is_member.any()
            and not scored.is_member.all()
        ):
            interval = scored.auc(
                context.config.audit.level, cross_fitted=is_cross_fitted(model, attack)
            )
            found.setdefault(model, {})[attack] = interval
    return found


def adapter_weights(context: Context) -> dict[str, float]:
    """The largest weight of the factor that starts at 0, of every asked model that is an adapter."""
    from stillage.models.lora import largest_change
    from stillage.models.source import ADAPTER, find

    found: dict[str, float] = {}
    for spec in context.asked:
        source = model_source(context, spec)
        folders = [find(place) for place in (source.adapter,) if place]
        folders += [find(source.path, source.revision)] if source.path else []
        for folder in folders:
            if (folder / ADAPTER).exists():
                found[spec.name] = min(found.get(spec.name, np.inf), largest_change(folder))
    return found
