"""Secrets ranked among those that might have stood in their place: by models that learned them, and by models that did not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch

from stillage.audit.candidates import (
    CUT_OFF,
    candidate_scores,
    draw_canaries,
    from_first_difference,
    in_place,
)
from stillage.audit.exposure_rank import exposures
from stillage.audit.queries import ScoringModel
from stillage.data.bpe import train_bpe
from stillage.data.synthetic import people
from stillage.data.tokenise import make_examples
from stillage.errors import DataError
from stillage.models.load import load_model
from stillage.models.query import token_stats
from stillage.run.config import DataConfig, ModelConfig
from stillage.types import Example, Record

DATA = DataConfig(template="raw", max_tokens=96, max_prompt_tokens=32)
PEOPLE = people(3, 40)
MEMBERS, OUTSIDERS = PEOPLE["private"][:12], PEOPLE["nonmembers"]
R = 31


@dataclass(frozen=True)
class World:
    """A model before and after it learned the members by heart."""

    before: ScoringModel
    after: ScoringModel


@pytest.fixture(scope="module")
def world() -> World:
    tokenizer = train_bpe([record.prompt + record.response for record in PEOPLE["public"]], 400)
    start = ModelConfig(architecture="gpt2", layers=1, width=48, heads=4, context=96)
    before, after = (load_model(start, vocab_size=len(tokenizer), seed=2) for _ in range(2))
    examples = make_examples(MEMBERS, tokenizer, DATA)
    longest = max(len(example.ids_T) for example in examples)
    ids = torch.tensor([np.pad(e.ids_T, (0, longest - len(e.ids_T))).tolist() for e in examples])
    labels = ids.masked_fill(
        torch.arange(longest) >= torch.tensor([[len(e.ids_T)] for e in examples]), -100
    )
    optimiser = torch.optim.AdamW(after.parameters(), lr=1e-2)
    for _ in range(120):
        optimiser.zero_grad()
        after(input_ids=ids, labels=labels).loss.backward()
        optimiser.step()
    encode = partial(make_examples, tokenizer=tokenizer, data=DATA, context_tokens=96)
    return World(
        *(
            ScoringModel(model=model.eval(), tokenizer=tokenizer, encode=encode, key=name)
            for model, name in ((before, "before"), (after, "after"))
        )
    )


def bits(subject: ScoringModel, records: Sequence[Record]) -> list[float]:
    canaries = draw_canaries(records, ["private"] * len(records), OUTSIDERS, "badge", R, seed=1)
    found = candidate_scores(subject, canaries)
    return [
        exposures(np.array([one[0]]), one[1])[0].bits for one in found if not isinstance(one, str)
    ]


def test_who_knows_the_secret_is_at_the_ceiling_and_who_does_not_is_at_the_floor(
    world: World,
) -> None:
    ceiling = math.log2(R + 1)
    assert np.mean(bits(world.after, MEMBERS)) > ceiling - 0.2
    floor = [
        np.mean(bits(subject, records))
        for subject, records in (
            (world.after, OUTSIDERS),
            (world.before, OUTSIDERS),
            (world.before, PEOPLE["private"]),
        )
    ]
    # log2 e is the mean for a uniform rank, its standard deviation log2 e as well: 40 records, 3 standard errors
    assert floor == pytest.approx([math.log2(math.e)] * 3, abs=3 * 1.44 / math.sqrt(40))


def test_scores_are_whole_log_probabilities_up_to_a_constant_and_know_no_batch(
    world: World,
) -> None:
    canaries = draw_canaries(MEMBERS[:3], ["private"] * 3, OUTSIDERS, "badge", R, seed=1)
    found = candidate_scores(world.after, canaries)
    small = candidate_scores(replace(world.after, batch_tokens=70), canaries)
    for canary, one, other in zip(canaries, found, small, strict=True):
        assert not isinstance(one, str) and not isinstance(other, str)
        assert np.append(one[1], one[0]) == pytest.approx(np.append(other[1], other[0]), abs=1e-3)
        assert (
            exposures(np.array([one[0]]), one[1])[0].rank
            == exposures(np.array([other[0]]), other[1])[0].rank
        )
        texts = [
            in_place(canary.record, canary.value, value)
            for value in (canary.value, *canary.references)
        ]
        whole = [s.logp_T.sum() for s in token_stats(world.after.model, world.after.encode(texts))]
        apart = np.array(whole) - np.array([one[0], *one[1]])
        assert apart == pytest.approx(np.full(R + 1, apart[0]), abs=1e-3)


def test_a_value_among_its_references_is_a_tie_that_counts_against_it(world: World) -> None:
    record = MEMBERS[0]
    twin = replace(
        OUTSIDERS[0],
        meta={"badge": record.meta["badge"]},
        response=OUTSIDERS[0].response.replace(OUTSIDERS[0].meta["badge"], record.meta["badge"]),
    )
    canaries = draw_canaries([record], ["private"], [twin, *OUTSIDERS[1:4]], "badge", 10, seed=1)
    assert len(canaries[0].references) == 3  # all but one: a nonmember has no more
    canaries = [replace(canaries[0], references=(record.meta["badge"], *canaries[0].references))]
    (found,) = candidate_scores(world.after, canaries)
    assert not isinstance(found, str) and found[0] in found[1]
    assert exposures(np.array([found[0]]), found[1])[0].rank >= 2


def test_references_are_drawn_by_record_and_never_its_own() -> None:
    chosen = OUTSIDERS[:5]
    once = draw_canaries(
        [*MEMBERS, *chosen], ["private"] * 12 + ["nonmembers"] * 5, OUTSIDERS, "badge", R, seed=1
    )
    again = draw_canaries(MEMBERS[:1], ["private"], OUTSIDERS[::-1], "badge", R, seed=1)
    assert again == once[:1] and all(len(canary.references) == R for canary in once)
    assert all(canary.value not in canary.references for canary in once)
    assert draw_canaries(MEMBERS[:1], ["private"], OUTSIDERS, "badge", R, seed=2) != again


def test_what_is_cut_or_nan_is_left_out_by_name(world: World) -> None:
    canaries = draw_canaries(MEMBERS[:2], ["private"] * 2, OUTSIDERS, "badge", 4, seed=1)
    long = replace(
        canaries[0], record=replace(MEMBERS[0], response="word " * 200 + MEMBERS[0].response)
    )
    found = candidate_scores(world.before, [long, canaries[1]])
    assert found[0] == CUT_OFF and not isinstance(found[1], str)
    broken = load_model(
        ModelConfig(layers=1, width=48, heads=4, context=96), vocab_size=400, seed=1
    )
    torch.nn.init.constant_(next(broken.parameters()), math.nan)
    assert candidate_scores(replace(world.before, model=broken), canaries) == ["a score is NaN"] * 2


def test_only_what_follows_the_first_difference_is_scored() -> None:
    rows = [[1, 2, 3, 4, 5], [1, 2, 3, 6, 5, 7], [1, 2, 3, 4, 8]]
    examples = [
        Example(record_id="a", ids_T=np.array(row, np.int32), response_T=np.arange(len(row)) >= 2)
        for row in rows
    ]
    assert [e.response_T.tolist() for e in from_first_difference(examples)] == [
        [False] * 3 + [True] * 2,
        [False] * 3 + [True] * 3,
        [False] * 3 + [True] * 2,
    ]
    assert not from_first_difference(examples[:1])[0].response_T.any()  # nothing to compare with


@pytest.mark.parametrize(
    ("records", "nonmembers", "message"),
    [
        (MEMBERS[:1], OUTSIDERS[:1], "without others"),
        ([replace(MEMBERS[0], meta={})], OUTSIDERS, "no column 'badge'"),
        (
            [replace(MEMBERS[0], meta={"badge": "elsewhere"})],
            OUTSIDERS,
            "does not stand in the response",
        ),
    ],
)
def test_what_has_no_secret_or_nothing_to_compare_is_refused(
    records: list[Record], nonmembers: list[Record], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        draw_canaries(records, ["private"], nonmembers, "badge", 4, seed=1)
