"""What may replace a token of the unmodified canary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np

from stillage.errors import ConfigError
from stillage.mosaic.kinds import Replacement
from stillage.mosaic.token_texts import cuts, encode_texts, ordinary_ids
from stillage.rng import generator
from stillage.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from stillage.models.masked import Encoded, Masked

DRAWN = 50  # candidates of a place where they are drawn, as the published code has
AT_ONCE = 8192  # texts encoded in one call
Place = tuple[int, int]  # canary, token
Candidate = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CandidateSource:
    """What candidates are made from."""

    ids_by_canary: Sequence[Sequence[int]]
    tokenizer: PreTrainedTokenizerFast  # of the trained model
    masked: Masked | None
    seed: int

    @cached_property
    def ordinary(self) -> Array:
        """The ids of the trained model's tokenizer that are not special."""
        return ordinary_ids(self.tokenizer)

    @cached_property
    def proposer(self) -> Masked:
        """The masked model, any token allowed. ConfigError without one."""
        from stillage.models.masked import any_form

        if self.masked is None:
            what = "These candidates are a masked language model's, and none was given."
            values = "candidates: masked or vocabulary"
            fix = "Give the masked model, or texts to train one on; or candidates: random."
            raise ConfigError(what, values, fix)
        view = any_form(self.masked)
        if not self.shares_ids:
            return view
        forms = np.zeros_like(view.form_V)
        forms[self.ordinary] = view.form_V[self.ordinary]
        return replace(view, form_V=forms)

    @cached_property
    def shares_ids(self) -> bool:
        """Whether the masked model reads the ids of the trained model's tokenizer."""
        assert self.masked is not None
        held = self.masked.tokenizer.get_vocab()
        return all(
            held.get(token) == number for token, number in self.tokenizer.get_vocab().items()
        )

    @cached_property
    def cut_texts(self) -> dict[int, tuple[str, list[int]]]:
        """Text and cuts of canaries, filled as they are asked for."""
        return {}

    def around(self, place: Place) -> tuple[str, str, str] | None:
        """The text before a token, its own, and that after it; None within a character."""
        canary, token = place
        if canary not in self.cut_texts:
            ids = self.ids_by_canary[canary]
            self.cut_texts[canary] = cuts(self.tokenizer, ids, f"canary {canary}")
        text, ends = self.cut_texts[canary]
        start, end = ends[token : token + 2]
        return (text[:start], text[start:end], text[end:]) if -1 < start < end else None


def candidates_at(
    source: CandidateSource, kind: Replacement, places: Sequence[Place]
) -> list[list[Candidate]]:
    """Find what may replace the token at each place.

    Likeliest or first drawn first; never what stands there. masked: the top_k tokens that the
    masked model finds likeliest there besides the one that stands there. vocabulary, random: DRAWN
    tokens of the masked model or the trained one's tokenizer, uniformly. Special ones are never
    among them. Those of a masked model with other ids are read by the trained model's tokenizer in
    the canary's text: one that changes a neighbour is left out, and with single_token_only one that
    is several. A list may be empty.
    """
    return PROPOSALS[kind.candidates](source, kind, places)


def random_tokens(
    source: CandidateSource, kind: Replacement, places: Sequence[Place]
) -> list[list[Candidate]]:
    """Draw any tokens of the trained model's tokenizer for each place."""
    results = []
    for place, drawn in zip(places, drawn_from(source.ordinary, source.seed, places), strict=True):
        stands = source.ids_by_canary[place[0]][place[1]]
        results.append([(token,) for token in drawn.tolist() if token != stands])
    return results


def any_tokens(
    source: CandidateSource, kind: Replacement, places: Sequence[Place]
) -> list[list[Candidate]]:
    """Draw any tokens of the masked model for each place."""
    proposer = source.proposer
    if source.shares_ids:
        return random_tokens(source, kind, places)
    usable = np.flatnonzero(proposer.form_V)
    drawn = drawn_from(usable, source.seed, places)
    return read_in_place(source, places, [written(proposer, ids) for ids in drawn], kind)


def masked_tokens(
    source: CandidateSource, kind: Replacement, places: Sequence[Place]
) -> list[list[Candidate]]:
    """Ask the masked model for its likeliest tokens at each place."""
    from stillage.models.masked import Substitutes, propose

    proposer = source.proposer
    if source.shares_ids:
        rows = [own_gap(source, place) for place in places]
        found = propose(
            proposer,
            [text for text, _ in rows],
            [[gap] for _, gap in rows],
            Substitutes(kind.top_k, same_form=False),
        )
        return [[(token,) for token in ids.tolist()] for (ids,) in found]
    gaps = text_gaps(source, places)
    known = [gap for gap in gaps if gap is not None]
    # one more, for the token that stands there
    wanted = Substitutes(kind.top_k + 1, same_form=False)
    found = iter(
        propose(proposer, [text for text, _ in known], [[gap] for _, gap in known], wanted)
    )
    texts: list[list[str]] = []
    for place, gap in zip(places, gaps, strict=True):
        around = source.around(place)
        proposed = [] if gap is None or around is None else written(proposer, next(found)[0])
        texts.append([text for text in proposed if around and text != around[1]][: kind.top_k])
    return read_in_place(source, places, texts, kind)


PROPOSALS: Mapping[
    str, Callable[[CandidateSource, Replacement, Sequence[Place]], list[list[Candidate]]]
] = {
    "masked": masked_tokens,
    "vocabulary": any_tokens,
    "random": random_tokens,
}


def drawn_from(pool: Array, seed: int, places: Sequence[Place]) -> Iterator[Array]:
    """Draw DRAWN different entries of the pool for each place.

    The same whatever else is asked.
    """
    for place in places:
        rng = generator(seed, "candidates", *place)
        yield pool[rng.choice(len(pool), min(DRAWN, len(pool)), replace=False)]


def written(proposer: Masked, ids: Array) -> list[str]:
    """What tokens of the masked model write."""
    return [proposer.surface_V[token] for token in ids]


def own_gap(source: CandidateSource, place: Place) -> tuple[Encoded, int]:
    """Encode a canary by its own ids, for a masked model that shares them.

    As far around the place as it can read.
    """
    from stillage.models.masked import Encoded, masked_context

    ids_T = np.asarray(source.ids_by_canary[place[0]], np.int64)
    most = masked_context(source.proposer.model) or len(ids_T)
    first = max(0, min(place[1] - most // 2, len(ids_T) - most))
    ids_T = ids_T[first : first + most]
    nothing = np.zeros(len(ids_T), np.int64)
    everywhere = np.ones(len(ids_T), bool)
    text = Encoded(text="", ids_T=ids_T, start_T=nothing, end_T=nothing, may_T=everywhere)
    return text, place[1] - first


def text_gaps(source: CandidateSource, places: Sequence[Place]) -> list[tuple[Encoded, int] | None]:
    """Encode canaries with a mask at the place, as the masked model reads texts.

    None where it cannot.
    """
    from stillage.models.masked import Encoded, masked_context

    tokenizer = source.proposer.tokenizer
    mask, most = cast("str", tokenizer.mask_token), masked_context(source.proposer.model)
    results: list[tuple[Encoded, int] | None] = []
    for place in places:
        around = source.around(place)
        text = "" if around is None else f"{around[0]}{mask}{around[2]}"
        ids_T = np.asarray(tokenizer(text)["input_ids"], np.int64)
        if around is not None and most is not None and len(ids_T) > most:
            near = most // 2 * 2  # characters on each side: a token has 2 or more on average
            text = f"{around[0][-near:]}{mask}{around[2][:near]}"
            ids_T = np.asarray(tokenizer(text, truncation=True, max_length=most)["input_ids"])
        gaps = np.flatnonzero(ids_T == tokenizer.mask_token_id)
        if len(gaps) != 1:
            results.append(None)
            continue
        nothing, may_T = np.zeros(len(ids_T), np.int64), np.ones(len(ids_T), bool)
        encoded = Encoded(text=text, ids_T=ids_T, start_T=nothing, end_T=nothing, may_T=may_T)
        results.append((encoded, int(gaps[0])))
    return results


def read_in_place(
    source: CandidateSource,
    places: Sequence[Place],
    texts: Sequence[Sequence[str]],
    kind: Replacement,
) -> list[list[Candidate]]:
    """Read texts as the trained model's tokenizer does where they would stand."""
    asked: list[tuple[int, str]] = []
    for number, (place, proposed) in enumerate(zip(places, texts, strict=True)):
        if (around := source.around(place)) is not None:
            before, own, after = around
            begins = not before and not own.startswith(" ")
            fitting = (text.removeprefix(" ") if begins else text for text in proposed)
            whole = dict.fromkeys(text for text in fitting if text and text != own)
            asked += [(number, f"{before}{text}{after}") for text in whole]
    ordinary = set(source.ordinary.tolist())
    results: list[list[Candidate]] = [[] for _ in places]
    for start in range(0, len(asked), AT_ONCE):
        part = asked[start : start + AT_ONCE]
        found = encode_texts(source.tokenizer, [text for _, text in part])
        for (number, _), ids in zip(part, found, strict=True):
            canary, place = places[number]
            candidate = only_change(source.ids_by_canary[canary], ids, place)
            fits = candidate and (len(candidate) == 1 or not kind.single_token_only)
            if fits and ordinary.issuperset(candidate) and candidate not in results[number]:
                results[number].append(candidate)
    return results


def only_change(ids: Sequence[int], changed: Sequence[int], place: int) -> Candidate:
    """Return what stands at a place instead, where all else is the same.

    Empty where it is not.
    """
    after = len(ids) - place - 1
    end = len(changed) - after
    same = list(changed[:place]) == list(ids[:place])
    same = same and list(changed[max(end, 0) :]) == list(ids[place + 1 :])
    now = tuple(changed[place : max(end, place)])
    return now if same and now != (ids[place],) else ()
