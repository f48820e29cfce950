"""A record whose response was cut scores as the record that ends there, or not at all: every attack, every pair of readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from stillage.audit.attacks import ATTACKS, FITTED_ATTACKS
from stillage.audit.fitted import fitted_scores
from stillage.audit.membership import Audited, score_attack
from stillage.audit.queries import Reply, Responses, as_a_whole
from stillage.functional.readings import in_common
from stillage.rng import generator
from stillage.types import END, Attack, GradientNorms, Party, Span, TokenStats

TEXT = "The badge of Ann Ødegård is 4711, 漢字 and all. "
PARTIES: tuple[Party, ...] = (
    "target",
    "reference",
    "outside",
    "counterfactual",
    "initial",
    "teacher_initial",
    "self_prompted",
)


@cache
def token(name: str, pair: tuple[int, int]) -> list[float]:
    """Three numbers in [0, 1)."""
    return generator(0, name, str(pair)).random(3).tolist()


def reading(name: str, borders: Sequence[int], left_out: tuple[int, int] = (0, 0)) -> TokenStats:
    """Statistics of tokens with these borders; each token's are its own, whatever stands around it."""
    pairs = list(pairwise(borders))
    values, ids = (
        np.array([token(name, pair) for pair in pairs]),
        [sum(pair) % 50 for pair in pairs],
    )
    return TokenStats(
        ids_T=np.array(ids, np.int32),
        logp_T=-5 * values[:, 0].astype(np.float32),
        mean_T=-3 - values[:, 1],
        var_T=1 + values[:, 2],
        rank_T=(9 * values[:, 0]).astype(np.int32),
        greedy_T=values[:, 0] < 0.2,
        span=Span(bounds_N=np.array(borders, np.int32), left_out=left_out),
    )


def said(
    own: Sequence[int], others: Sequence[int], lower: Sequence[int], near: Sequence[int]
) -> dict[Party, Responses]:
    """What all parties reply about one record, each reading to its own borders."""

    def of(party: str, borders: Sequence[int]) -> Responses:
        known: dict[str, Reply] = {
            "as_is": reading(party, borders),
            "needed": reading(party, borders[:4]),
            "lowercase": reading(f"{party} in lower case", lower),
            "neighbours": [reading(f"{party} near {k}", near) for k in range(3)],
            "nonmember_prefix": reading(f"{party} after nonmembers", borders),
            "member_prefix": reading(f"{party} after members", borders),
            "noise": [reading(f"{party} under_weight_noise {k}", borders) for k in range(2)],
            "gradient": GradientNorms(total=1.0, blocks_L=np.ones(1), rest=0.0),
            "frequency": np.full(50, 0.02),
        }
        replies: Any = {name: {"r": reply} for name, reply in known.items()}
        return Responses(replies=replies)

    return {party: of(party, own if party == "target" else others) for party in PARTIES}


def scored(attack: Attack, replies: dict[Party, Responses], text: str) -> float:
    audited = Audited(ids=("r",), parts=("private",), texts=(text,), groups=("",))
    return float(score_attack(attack, audited, replies)[0])


WHOLE = [0, 4, 10, 13, 17, 25, 28, 34, 36, 40, 44, len(TEXT), END]
OTHER = [0, 10, 17, 20, 25, 29, 33, 34, 40, 41, len(TEXT), END]  # of another tokenizer
CUTS = {  # of the target, other models, the text in lower case, neighbours
    "none": (WHOLE, WHOLE, WHOLE, WHOLE),
    "all alike": (WHOLE[:8], WHOLE[:8], WHOLE[:8], WHOLE[:8]),
    "within a character": ([*WHOLE[:8], 34, 34],) * 4,
    "the target alone": (WHOLE[:8], WHOLE, WHOLE, WHOLE),
    "the others alone": (WHOLE, WHOLE[:8], WHOLE, WHOLE),
    "lower case and neighbours alone": (WHOLE, WHOLE, WHOLE[:8], WHOLE[:8]),
    "another tokenizer": (WHOLE, OTHER, OTHER, OTHER),
    "another tokenizer, earlier": (WHOLE, OTHER[:5], OTHER[:6], OTHER[:6]),
    "another tokenizer, later": (WHOLE[:6], OTHER, OTHER, OTHER),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_cut_record_scores_as_the_record_that_ends_there(attack: Attack) -> None:
    for how in CUTS:
        if (
            not attack.same_tokens or "another" not in how
        ):  # such an attack is left out where the tokens are others
            check(attack, how)


def check(attack: Attack, how: str) -> None:
    own, others, lower, near = CUTS[how]
    asked = [
        own if query.party == "target" else others
        for query in attack.queries
        if query.party != "record"
    ]
    asked += [lower for query in attack.queries if query.transform == "lowercase"]
    found = scored(attack, said(own, others, lower, near), TEXT)
    asked += [near for query in attack.queries if query.transform == "neighbours"]
    end = max(set.intersection(*map(set, asked)))
    if attack.queries[0].transform != "gradient" and len(attack.queries) == 1:
        cut = [own, others, lower, near]  # one reading alone, per token: whatever was read counts
    else:
        cut = [
            borders[: borders.index(end) + 1] if end in borders else borders
            for borders in CUTS[how]
        ]
    wanted = scored(attack, said(cut[0], cut[1], cut[2], cut[3]), TEXT[:end])
    assert np.isfinite(found) and found == pytest.approx(wanted, rel=1e-6), how


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_texts_after_unlike_parts_of_their_prompt_are_not_compared(attack: Attack) -> None:
    replies = said(WHOLE, WHOLE, WHOLE, WHOLE)
    apart: dict[Party, Responses] = {
        party: said(WHOLE, WHOLE, WHOLE, WHOLE)[party] for party in PARTIES
    }
    for party in PARTIES[1:]:
        for by_id in apart[party].replies.values():
            if isinstance(by_id["r"], TokenStats) and by_id["r"].span is not None:
                by_id["r"] = replace(by_id["r"], span=replace(by_id["r"].span, left_out=(3, 9)))  # pyright: ignore[reportIndexIssue]
    others = {query.party for query in attack.queries} - {"target", "record"}
    assert np.isfinite(scored(attack, replies, TEXT))
    assert np.isnan(scored(attack, apart, TEXT)) == bool(others)


@pytest.mark.parametrize("name", FITTED_ATTACKS)
def test_a_learned_attack_reads_no_more_of_a_text_than_the_model(name: str) -> None:
    n = 60
    audited = Audited(
        ids=tuple(f"r{k}" for k in range(n)),
        parts=("private", "nonmembers") * (n // 2),
        groups=("",) * n,
        texts=tuple(TEXT + "x" * k for k in range(n)),
    )
    stats = {
        "m": {
            id_: replace(reading(id_, WHOLE[:8]), greedy_T=np.ones(7, bool)) for id_ in audited.ids
        }
    }
    short = replace(audited, texts=(TEXT[:34],) * n)
    tables = [
        fitted_scores(one, stats, [FITTED_ATTACKS[name]], 0).column("score")
        for one in (audited, short)
    ]
    assert np.isfinite(tables[0].to_numpy()).all() and tables[0] == tables[1]


def test_neighbours_of_a_cut_record_are_compared_with_what_was_read_of_it() -> None:
    """The end of text after a neighbour of the first 34 characters is nobody's; a neighbour that was cut itself is none."""
    record, near = reading("r", WHOLE), reading("n", [0, 5, 20, 34, END])
    assert record.span is not None
    one = as_a_whole(near, record.span, 34)
    assert one is not None and len(one.logp_T) == 3
    common = in_common([record, one])
    assert common is not None and [len(found.logp_T) for found in common] == [7, 3]
    whole = as_a_whole(near, record.span, END)
    assert whole is not None and in_common([record, whole]) == [record, whole]
    assert as_a_whole(reading("n", [0, 5, 20]), record.span, 34) is None
    odd = as_a_whole(near, record.span, 35)  # no token of the record ends there
    assert odd is not None and in_common([record, odd]) is None
