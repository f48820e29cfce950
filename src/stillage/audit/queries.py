"""Ask a model all that the attacks need to know of the records, each thing once.

Token statistics and gradient norms are kept on disk: asked again, the model is not run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.prefix import with_prefix, would_fit
from stillage.data.needed import needed_part
from stillage.errors import CapabilityError
from stillage.functional.readings import first_tokens, moved, to_the_end
from stillage.rng import derive
from stillage.run.progress import Doing, unheard
from stillage.types import (
    END,
    Array,
    Attack,
    Example,
    GradientNorms,
    Noise,
    Party,
    Record,
    Span,
    TokenStats,
    Transform,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


LOG = logging.getLogger("stillage")
Reply = TokenStats | Sequence[TokenStats] | GradientNorms | Array | str
Replies = Mapping[str, Reply]
"""Record id -> reply (see types.Transform); a record without one gets no score."""


class NoRoom(CapabilityError):
    """A question for which the model's context has no room, whatever the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Responses:
    """What one model replied, by transform, and why it was not asked the others."""

    replies: Mapping[Transform, Replies]
    unasked: Mapping[Transform, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringModel:
    """A model to be asked, and how it reads."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    encode: Callable[[Sequence[Record]], list[Example]]  # by its tokenizer and limits
    key: str  # its hash, for the cache
    cache: Path | None = None
    batch_tokens: int = 16384
    doing: Doing = unheard  # hears how far each question is


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """The audited records, and what else the questions about them are made of."""

    records: tuple[Record, ...]
    neighbours: tuple[tuple[str, ...], ...] = ()  # texts, per record
    ends: tuple[int, ...] = ()
    """Characters of each response that its neighbours are made of; END, or nothing here: all."""
    nonmembers: tuple[Record, ...] = ()  # for prefixes
    members: tuple[Record, ...] = ()
    public: tuple[Record, ...] = ()
    needed_until: str = ""  # where the needed part of a response ends
    missing: Mapping[Transform, str] = field(default_factory=dict)  # why it cannot be asked at all


AUDITED: tuple[Party, ...] = ("target", "reference", "outside", "counterfactual")
"""Parts that an audited model may play: target of one attack, reference of another."""


def queries_for(
    attacks: Sequence[Attack], parties: Collection[Party] = AUDITED
) -> tuple[Transform, ...]:
    """List every question for the models that play one of these parts, each once."""
    queries = [query for attack in attacks for query in attack.queries]
    return tuple(dict.fromkeys(one.transform for one in queries if one.party in parties))


def ask(
    asked: ScoringModel, transforms: Sequence[Transform], material: Material, noise: Noise
) -> Responses:
    """Ask a model every transform; errors as token_stats, gradient_norms, perturbed."""
    examples, public = asked.encode(material.records), material.public
    answerers: dict[Transform, Callable[[], Replies]] = {
        "as_is": lambda: by_id(examples, scored_tokens(asked, examples)),
        "needed": lambda: by_id(examples, needed(asked, examples, material)),
        "lowercase": lambda: by_id(examples, lowercased(asked, material.records)),
        "neighbours": lambda: by_id(examples, neighbouring(asked, examples, material)),
        "nonmember_prefix": lambda: prefixed(asked, examples, material.nonmembers, "nonmembers"),
        "member_prefix": lambda: prefixed(asked, examples, material.members, "members"),
        "noise": lambda: by_id(examples, under_weight_noise(asked, examples, noise)),
        "gradient": lambda: by_id(examples, gradients_of(asked, examples)),
        "frequency": lambda: by_id(examples, [frequencies(asked, public)] * len(examples)),
    }
    replies: dict[Transform, Replies] = {}
    unasked: dict[Transform, str] = {
        name: why for name, why in material.missing.items() if name in transforms
    }
    for name in dict.fromkeys(transforms):
        if name in unasked:
            continue
        try:
            replies[name] = answerers[name]()
        except NoRoom as error:
            unasked[name] = str(error)
    return Responses(replies=replies, unasked=unasked)


def scored_tokens(
    asked: ScoringModel,
    examples: Sequence[Example],
    doing: str = "scoring {} records",
    note: str = "",
) -> list[TokenStats]:
    """Return the model's statistics of some examples; what is cached is not asked.

    note: what was done to the model.
    """
    from stillage.models.query import token_stats

    return token_stats(
        asked.model,
        examples,
        batch_tokens=asked.batch_tokens,
        cache=asked.cache,
        key=f"{asked.key}{note}",
        progress=asked.doing(doing),
    )


def by_id(examples: Sequence[Example], replies: Sequence[Reply]) -> dict[str, Reply]:
    """Return replies under the ids of their records."""
    return {example.record_id: reply for example, reply in zip(examples, replies, strict=True)}


def needed(
    asked: ScoringModel, examples: Sequence[Example], material: Material
) -> list[TokenStats]:
    """Return statistics of every response up to its needed part's end, or all of it."""
    kept = []
    parts = asked.encode(
        [
            replace(record, response=needed_part(record.response, material.needed_until))
            for record in material.records
        ]
    )
    said = scored_tokens(asked, examples)
    for example, part, stats in zip(examples, parts, said, strict=True):
        whole_T, part_T = (one.ids_T[one.response_T] for one in (example, part))
        same_T = whole_T[: len(part_T)] == part_T[: len(whole_T)]
        # the part ends with an end of text, where the whole goes on
        count = len(same_T) if same_T.all() else int(np.argmin(same_T))
        kept.append(first_tokens(stats, count))
    return kept


def lowercased(asked: ScoringModel, records: Sequence[Record]) -> list[TokenStats]:
    """Return statistics of every response in lower case, after its prompt as it is.

    Their spans are in characters as written.
    """
    lower = [replace(record, response=record.response.lower()) for record in records]
    said = scored_tokens(asked, asked.encode(lower), "scoring {} records in lower case")
    return [
        replace(stats, span=stats.span and moved(stats.span, places_as_written(record.response)))
        for record, stats in zip(records, said, strict=True)
    ]


def places_as_written(text: str) -> Array:
    """Return each lower-case character's written place; -1 within an expanded one."""
    ends = np.cumsum([0, *(len(letter.lower()) for letter in text)])
    places = np.full(len(text.lower()) + 1, -1)
    places[ends] = np.arange(len(ends))
    return places


def neighbouring(
    asked: ScoringModel, examples: Sequence[Example], material: Material
) -> list[list[TokenStats]]:
    """Return statistics of neighbours, read as their record; none of one that was cut."""
    near = [
        replace(record, response=text)
        for record, texts in zip(material.records, material.neighbours, strict=True)
        for text in texts
    ]
    said = iter(scored_tokens(asked, asked.encode(near), "scoring {} neighbours"))
    ends = material.ends or (END,) * len(examples)
    replies: list[list[TokenStats]] = []
    for example, texts, end in zip(examples, material.neighbours, ends, strict=True):
        own = [as_a_whole(next(said), example.span, end) for _ in texts]
        replies.append([one for one in own if one is not None])
    if lost := len(near) - sum(map(len, replies)):
        LOG.warning(
            "%d of %d neighbours were cut, and are left out: they have more tokens than "
            "their record",
            lost,
            len(near),
        )
    return replies


def as_a_whole(stats: TokenStats, record: Span | None, end: int) -> TokenStats | None:
    """Return a neighbour as a reading of its record up to a character; None if cut.

    It has no borders between its ends. Of a record that goes on, the end of text after a neighbour
    is nobody's.
    """
    if stats.span is None or record is None:
        return stats
    if not to_the_end(stats):
        return None
    stats = first_tokens(stats, len(stats.ids_T) - int(end < END))
    bounds_N = np.append(np.full(len(stats.ids_T), record.bounds_N[0]), end).astype(np.int32)
    return replace(stats, span=Span(bounds_N=bounds_N, left_out=record.left_out))


def prefixed(
    asked: ScoringModel, examples: Sequence[Example], known: Sequence[Record], kind: str
) -> Replies:
    """Return statistics of every record after all known texts that its context holds.

    Before too long a record that is none, and it has no reply; NoRoom where that is so of all.
    """
    from stillage.corpus.tokenizers import first_ids
    from stillage.models.limits import context_of

    prefix, start = asked.encode(known), first_ids(asked.tokenizer)
    context = context_of(asked.model)
    tried = [with_prefix(example, prefix, context, start) for example in examples]
    fewer = [count for _, count in tried if 0 < count < len(prefix)]
    if fewer:
        LOG.warning(
            "the context of %s tokens holds fewer than %d %s before %d of %d records (%d at least)",
            context,
            len(prefix),
            kind,
            len(fewer),
            len(examples),
            min(fewer),
        )
    if none := sum(not count for _, count in tried):
        why = would_fit(examples, prefix, context)
        if none == len(examples):
            raise NoRoom(f"none of the {kind} fits before any record: {why}")
        LOG.warning(
            "none of the %s fits before %d of %d records, which get no score: %s",
            kind,
            none,
            len(examples),
            why,
        )
    conditioned = [example for example, _ in tried if example is not None]
    doing = f"scoring {{}} records after known {kind}"
    return by_id(conditioned, scored_tokens(asked, conditioned, doing))


def under_weight_noise(
    asked: ScoringModel, examples: Sequence[Example], noise: Noise
) -> list[list[TokenStats]]:
    """Return statistics under every noisy copy, and restore the weights exactly."""
    from stillage.models.perturb import perturbed

    copies = []
    for number in range(noise.copies):
        seed = derive(noise.seed, "mope", number)
        note = f" noise {noise.sigma!r} {noise.relative} {seed}"
        with perturbed(asked.model, None, noise.sigma, seed, relative=noise.relative):
            doing = f"noise {number + 1} of {noise.copies}, scoring {{}} records"
            copies.append(scored_tokens(asked, examples, doing, note))
    return [list(of_record) for of_record in zip(*copies, strict=True)]


def gradients_of(asked: ScoringModel, examples: Sequence[Example]) -> list[GradientNorms]:
    """Return the gradient norms of every record."""
    from stillage.models.gradients import gradient_norms

    progress = asked.doing("gradients of {} records")
    return gradient_norms(
        asked.model, examples, cache=asked.cache, key=asked.key, progress=progress
    )


def frequencies(asked: ScoringModel, public: Sequence[Record]) -> Array:
    """Return shares of the model's tokens in public records, prompts included.

    (count + 1) / (tokens + V), float64[V].
    """
    from stillage.models.decoder import embedding_rows

    ids = np.concatenate([example.ids_T for example in asked.encode(public)])
    count_V = np.bincount(ids.astype(np.int64), minlength=embedding_rows(asked.model))
    return (count_V + 1) / (count_V.sum() + len(count_V))
