"""What every registered membership attack promises, checked for each entry of ATTACKS."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from stillage.audit.attacks import ATTACKS
from stillage.functional.readings import ARRAYS
from stillage.functional.stats import auc_interval, roc_auc
from stillage.plugins.plugin import load, plugged_in
from stillage.rng import generator
from stillage.types import Attack, GradientNorms, Party, TokenStats, Transform

OTHER_MODELS = (
    "reference",
    "outside",
    "counterfactual",
    "initial",
    "teacher_initial",
    "self_prompted",
)
WORDS = ("amber", "birch", "cedar", "delta", "ember", "flint", "grove", "heron", "inlet", "jetty")


def token_stats(
    rng: np.random.Generator, n_tokens: int, *, sharpness: float = 0.0, vocabulary: int = 50
) -> TokenStats:
    """Statistics of real distributions over a vocabulary; sharpness raises the true token's logit."""
    logits_TV = rng.normal(0, 2, (n_tokens, vocabulary))
    ids_T = rng.integers(vocabulary, size=n_tokens)
    logits_TV[np.arange(n_tokens), ids_T] += sharpness
    logp_TV = logits_TV - np.log(np.exp(logits_TV).sum(axis=1, keepdims=True))
    q_TV, logp_T = np.exp(logp_TV), logp_TV[np.arange(n_tokens), ids_T]
    mean_T = (q_TV * logp_TV).sum(axis=1)
    rank_T = (logp_TV > logp_T[:, None]).sum(axis=1)
    return TokenStats(
        ids_T=ids_T.astype(np.int32),
        logp_T=logp_T.astype(np.float32),
        mean_T=mean_T.astype(np.float32),
        var_T=((q_TV * logp_TV**2).sum(axis=1) - mean_T**2).astype(np.float32),
        rank_T=rank_T.astype(np.int32),
        greedy_T=rank_T == 0,
    )


def replies(attack: Attack, target: TokenStats, other: TokenStats, text: str) -> list[object]:
    """The answers an attack gets: of the target as it is, and of what knows no members (another model, other texts, noise).

    Members before a record leave it as well predicted as alone; its gradient is as long as its loss is high.
    """
    same_tokens = replace(other, ids_T=target.ids_T)
    loss = float(-target.logp_T.mean()) if len(target.logp_T) else np.nan
    answer: dict[str, object] = {
        "as_is": target,
        "text": text,
        "needed": target,
        "lowercase": other,
        "neighbours": [other, other],
        "nonmember_prefix": same_tokens,
        "member_prefix": target,
        "noise": [same_tokens, same_tokens],
        "gradient": GradientNorms(total=loss, blocks_L=np.array([loss]), rest=0.0),
        "frequency": np.full(50, 1 / 50),
    }
    knows_nobody = {**answer, "as_is": same_tokens}
    return [
        (knows_nobody if query.party in OTHER_MODELS else answer)[query.transform]
        for query in attack.queries
    ]


def scores(
    attack: Attack, sharpness_of_members: float, n: int = 300
) -> tuple[np.ndarray, np.ndarray]:
    rng = generator(0, "contract", attack.name, str(sharpness_of_members))
    is_member, values = np.arange(n) < n // 2, np.empty(n)
    for i in range(n):
        n_tokens = int(rng.integers(8, 25))
        target = token_stats(rng, n_tokens, sharpness=sharpness_of_members * is_member[i])
        text = " ".join(rng.choice(WORDS, n_tokens))
        values[i] = attack.score(*replies(attack, target, token_stats(rng, n_tokens), text))
    return values, is_member


PLUGIN = load(Path(__file__).parents[2] / "docs/how-to/plugin/attack.py")
ALL = {**ATTACKS, **PLUGIN.tables["ATTACKS"]}
every_attack = pytest.mark.parametrize("attack", ALL.values(), ids=ALL.keys())


@pytest.fixture(scope="module", autouse=True)
def plugin() -> Iterator[None]:
    with plugged_in(PLUGIN):
        yield


@every_attack
def test_entry_is_well_formed(attack: Attack) -> None:
    assert ATTACKS[attack.name] is attack and attack.paper
    assert attack.access in ("none", "text", "logprob", "weights")
    assert (attack.access == "none") == all(query.party == "record" for query in attack.queries)


@every_attack
def test_planted_members_are_found(attack: Attack) -> None:
    assert roc_auc(*scores(attack, 3.0)) > 0.9


@every_attack
def test_without_members_it_is_at_chance(attack: Attack) -> None:
    assert auc_interval(*scores(attack, 0.0, n=600), level=0.999).contains(
        0.5
    )  # one draw for each of many


@every_attack
@pytest.mark.parametrize("n_tokens", [1, 2, 3, 4])
def test_short_responses_have_finite_scores(attack: Attack, n_tokens: int) -> None:
    rng = generator(1, attack.name, n_tokens)
    score = attack.score(
        *replies(attack, token_stats(rng, n_tokens), token_stats(rng, n_tokens), "x" * n_tokens)
    )
    assert np.isfinite(score)


@every_attack
def test_better_predicted_scores_higher(attack: Attack) -> None:
    rng = generator(2, attack.name)
    target, other = token_stats(rng, 12), token_stats(rng, 12)
    better = replace(
        target, logp_T=target.logp_T / 2, rank_T=target.rank_T // 2
    )  # the rest as it was
    low, high = (
        attack.score(*replies(attack, stats, other, "some words here"))
        for stats in (target, better)
    )
    assert high > low


@every_attack
def test_it_is_a_pure_function(attack: Attack) -> None:
    rng = generator(3, attack.name)
    target, other = token_stats(rng, 9), token_stats(rng, 9)
    copies = [
        replace(s, **{name: getattr(s, name).copy() for name in ARRAYS}) for s in (target, other)
    ]
    first = attack.score(*replies(attack, target, other, "a text"))
    assert (
        isinstance(first, float)
        and attack.score(*replies(attack, target, other, "a text")) == first
    )
    for before, after in zip(copies, (target, other), strict=True):
        assert all(np.array_equal(getattr(before, name), getattr(after, name)) for name in ARRAYS)


@every_attack
def test_a_model_that_returns_nan_or_nothing_gives_nan(attack: Attack) -> None:
    rng = generator(4, attack.name)
    target, other = token_stats(rng, 10), token_stats(rng, 10)
    broken = replace(
        target, logp_T=np.where(np.arange(10) == 3, np.nan, target.logp_T).astype(np.float32)
    )
    assert np.isnan(attack.score(*replies(attack, broken, other, "a text")))
    empty = token_stats(rng, 0)
    assert np.isnan(attack.score(*replies(attack, empty, empty, "a text")))


def test_attacks_and_statistics_load_no_model_library() -> None:
    code = (
        "import sys, stillage.audit.attacks, stillage.audit.validity, stillage.audit.blind, stillage.functional.stats;"
        "bad = {'torch', 'transformers', 'sklearn', 'scipy', 'pandas'} & set(sys.modules); sys.exit(repr(bad) if bad else 0)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr


@every_attack
def test_every_question_can_be_asked(attack: Attack) -> None:
    parts, transforms = get_args(Party), get_args(Transform)
    assert all(query.party in parts and query.transform in transforms for query in attack.queries)
    assert all((query.party == "record") == (query.transform == "text") for query in attack.queries)
    assert attack.access == "weights" or not {"noise", "gradient"} & {
        query.transform for query in attack.queries
    }
    others = [query for query in attack.queries if query.party in OTHER_MODELS]
    assert attack.same_tokens == (
        bool(others) and attack.name not in ("reference_per_byte", "reference_outside")
    )
