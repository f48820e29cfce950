"""Does a model read these texts at all? Its loss beside that of guesses which read nothing.

A model with another tokenizer, broken weights or none that were trained scores members and nonmembers alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stillage.audit.sight import CLEARLY, UNUSABLE
from stillage.audit.validity import Check, Value
from stillage.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Nats of each record's scored tokens under a model, float64[n, 4]: summed over each quarter of them.

    guesses: the same by what each guess goes by, in words. tokens_NQ: the number of tokens in each quarter.
    """

    model_NQ: Array
    guesses: Mapping[str, Array]
    tokens_NQ: Array
    is_member: Array


def unigram_nats(ids: Sequence[Array], is_member: Array, vocabulary: int) -> list[Array]:
    """Nats of each record's tokens, float64[T], by token frequencies of nonmembers, its own half of them left out.

    Frequencies of the even nonmembers score all the others, and those of the odd ones the even. Witten and Bell 1991:
    p(v) = (count(v) + D / V) / (N + D), with N tokens of D kinds seen and V in the vocabulary.
    """
    member = np.asarray(is_member, dtype=bool)
    is_even = np.zeros(member.size, dtype=bool)
    is_even[np.flatnonzero(~member)[::2]] = True
    tables: list[Array] = []
    for fitted in (is_even, ~member & ~is_even):
        known = [ids[index] for index in np.flatnonzero(fitted).tolist()]
        count_V = np.bincount(
            np.concatenate([*known, np.zeros(0)]).astype(np.int64), minlength=vocabulary
        )
        kinds = max(1, int((count_V > 0).sum()))
        tables.append(np.log(count_V.sum() + kinds) - np.log(count_V + kinds / count_V.size))
    return [tables[int(even)][tokens] for tokens, even in zip(ids, is_even, strict=True)]


def in_quarters(values: Sequence[Array]) -> Array:
    """Sums float64[n, 4] of each record's numbers over the quarters of its tokens, nearly equal, in order."""
    return np.array(
        [[float(part.sum(dtype=np.float64)) for part in np.array_split(one, 4)] for one in values]
    )


def check_reading(losses: Mapping[str, Losses]) -> Check:
    """Do the models read these texts at all, i.e. better than one can guess without reading?

    A model reads where it saves 5 % of the best guess's loss on some quarter of the responses, of members or nonmembers: one
    that knows its members by heart may be worse on others, and one that was taught the beginnings alone on the rest.
    Fails where a model does nowhere. Records without a finite loss are left out (check_answers counts them).
    """
    values: dict[str, Value] = {}
    blind: list[str] = []
    for model, loss in sorted(losses.items()):
        finite = np.isfinite(loss.model_NQ).all(1)
        said, better = [], False
        for name, side in (
            ("members", loss.is_member & finite),
            ("nonmembers", ~loss.is_member & finite),
        ):
            tokens_Q = loss.tokens_NQ[side].sum(0)
            if not tokens_Q.sum():
                continue
            own_Q = loss.model_NQ[side].sum(0)
            guesses = {how: nats_NQ[side].sum(0) for how, nats_NQ in loss.guesses.items()}
            guess_Q = np.min(list(guesses.values()), axis=0)
            better |= bool(((own_Q < (1 - CLEARLY) * guess_Q) & (tokens_Q > 0)).any())
            per_token = {how: nats_Q.sum() / tokens_Q.sum() for how, nats_Q in guesses.items()}
            how = min(per_token, key=lambda name: per_token[name])
            said.append(
                f"{own_Q.sum() / tokens_Q.sum():.2f} on {name} ({how}: {per_token[how]:.2f})"
            )
        values[f"{model}, nats per token"] = "; ".join(said) or "none"
        if said and not better:
            blind.append(f"{model} with {'; '.join(said)} nats per token")
    detail = (
        f"Scores say nothing where a model reads the records no better than by guessing: {', '.join(blind)}. "
        "Check the folder, its tokenizer and dtype, the layout (data.template) and the prompts (data.columns)."
        if blind
        else "Every model reads the records better than by guessing."
    )
    return Check(name="reading", passed=not blind, fault=UNUSABLE, detail=detail, values=values)
