"""Every attack end to end on a small model that learned its members: questions asked, cached, scored, and told apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stillage.audit.attacks import ATTACKS
from stillage.audit.membership import Audited, membership_results, score_table
from stillage.audit.neighbours import Swaps, neighbours
from stillage.audit.partners import partners_of
from stillage.audit.queries import (
    Material,
    Responses,
    ScoringModel,
    ask,
    frequencies,
    queries_for,
)
from stillage.data.bpe import train_bpe
from stillage.data.synthetic import people
from stillage.data.tokenise import make_examples
from stillage.errors import DataError
from stillage.functional.stats import roc_auc
from stillage.models.identity import model_hash
from stillage.models.load import load_model
from stillage.models.masked_train import small_masked
from stillage.models.query import token_stats
from stillage.run.config import DataConfig, ModelConfig
from stillage.types import Noise, Result, TokenStats

DATA = DataConfig(template="raw", max_tokens=96, max_prompt_tokens=32)
NOISE = Noise(sigma=0.3, copies=4, seed=1)
N, CONTEXT = 40, 256
OTHERS = {"reference", "outside", "counterfactual", "initial", "teacher_initial", "self_prompted"}


@dataclass(frozen=True)
class World:
    """Members that a model learned by heart, nonmembers, and the model before and after."""

    subject: ScoringModel
    start: ScoringModel
    material: Material
    is_member: np.ndarray


def learn(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, records: list[Any], steps: int
) -> PreTrainedModel:
    """Teach a model some records, all of them in every step."""
    examples = make_examples(records, tokenizer, DATA)
    longest = max(len(example.ids_T) for example in examples)
    ids = torch.tensor([np.pad(e.ids_T, (0, longest - len(e.ids_T))).tolist() for e in examples])
    labels = ids.masked_fill(
        torch.arange(longest) >= torch.tensor([[len(e.ids_T)] for e in examples]), -100
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=8e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        model(input_ids=ids, labels=labels).loss.backward()
        optimiser.step()
    return model.eval()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    cache = tmp_path_factory.mktemp("cache")
    drawn = people(3, N + 4)
    public = [replace(record, id=f"p{k}") for k, record in enumerate(drawn["public"])]
    tokenizer = train_bpe([record.prompt + record.response for record in public], 400)
    config = ModelConfig(architecture="llama", layers=1, width=48, heads=4, context=CONTEXT)
    fresh = partial(load_model, config, vocab_size=len(tokenizer), seed=1)
    model = learn(fresh(), tokenizer, drawn["private"], 70)
    members, nonmembers = drawn["private"][:N], drawn["nonmembers"][:N]
    records = (*members, *nonmembers)
    masked = small_masked([record.response for record in public], 1, cache, steps=30)
    material = Material(
        records=records,
        public=tuple(public),
        nonmembers=tuple(drawn["nonmembers"][N:][:2]),
        members=tuple(drawn["private"][N:][:2]),
        neighbours=tuple(neighbours(masked, records, Swaps(count=4, share=0.1, top_k=5, seed=1))),
    )
    encode = partial(make_examples, tokenizer=tokenizer, data=DATA)
    subjects = [
        ScoringModel(model=model, tokenizer=tokenizer, encode=encode, key=key, cache=cache)
        for model, key in ((model, "learned"), (fresh(), "fresh"))
    ]
    return World(
        subject=subjects[0], start=subjects[1], material=material, is_member=np.arange(2 * N) < N
    )


@pytest.fixture(scope="module")
def said(world: World) -> dict[str, Responses]:
    transforms = queries_for(list(ATTACKS.values()))
    found = {
        name: ask(subject, transforms, world.material, NOISE)
        for name, subject in (("student", world.subject), ("student_no_teacher", world.start))
    }
    return found | {"start": ask(world.start, ("as_is",), world.material, NOISE)}


def audited(world: World) -> Audited:
    records = world.material.records
    return Audited(
        ids=tuple(r.id for r in records),
        parts=("private",) * N + ("nonmembers",) * N,
        texts=tuple(r.response for r in records),
        groups=("",) * (2 * N),
    )


STRENGTH = {"con_recall": 0.6}
"""AUC that each attack reaches at least here; 0.9 where it is not named."""


def test_planted_members_are_found_by_every_attack(
    world: World, said: dict[str, Responses]
) -> None:
    partners: Any = dict.fromkeys(OTHERS, "student_no_teacher") | dict.fromkeys(
        ("initial", "teacher_initial"), "start"
    )
    table, left_out = score_table(
        audited(world), said, list(ATTACKS.values()), {"student": partners}
    )
    assert not left_out
    found = {}
    for name in ATTACKS:
        rows = [row for row in table.to_pylist() if row["attack"] == name]
        assert [row["id"] for row in rows] == [record.id for record in world.material.records]
        values = np.array([row["score"] for row in rows])
        assert np.isfinite(values).all(), name
        found[name] = roc_auc(values, world.is_member)
    weak = {name: auc for name, auc in found.items() if auc < STRENGTH.get(name, 0.9)}
    assert not weak, found


def test_each_question_is_asked_once_and_not_at_all_the_second_time(
    world: World, said: dict[str, Responses], monkeypatch: pytest.MonkeyPatch
) -> None:
    attacks = list(ATTACKS.values())
    transforms = queries_for([*attacks, *attacks])
    assert len(set(transforms)) == len(transforms)
    assert queries_for(attacks, ("initial",)) == ("as_is",) and queries_for([ATTACKS["zlib"]]) == (
        "as_is",
    )

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("the model was run")

    monkeypatch.setattr(world.subject.model, "forward", refuse)
    again = ask(world.subject, transforms, world.material, NOISE)
    for name, replies in said["student"].replies.items():
        for id_, before in replies.items():
            same(before, again.replies[name][id_])


def same(a: object, b: object) -> None:
    if isinstance(a, list):
        for left, right in zip(a, b, strict=True):  # type: ignore[call-overload]
            same(left, right)
    elif isinstance(a, TokenStats):
        assert isinstance(b, TokenStats) and np.array_equal(a.logp_T, b.logp_T)


def test_other_noise_is_another_question(world: World, said: dict[str, Responses]) -> None:
    first = world.material.records[0].id
    small = replace(world.material, records=world.material.records[:1])
    for noise in (
        replace(NOISE, seed=2),
        replace(NOISE, sigma=0.1),
        replace(NOISE, relative=False),
    ):
        other: Any = ask(world.subject, ("noise",), small, noise).replies["noise"][first]
        known: Any = said["student"].replies["noise"][first]
        assert len(other) == 4 and not np.array_equal(other[0].logp_T, known[0].logp_T)
    assert world.subject.cache is not None
    kept = len(list(world.subject.cache.iterdir()))
    ask(world.subject, ("noise",), small, replace(NOISE, sigma=0.1 + 1e-8))
    assert len(list(world.subject.cache.iterdir())) == kept + 4, "nearly the same noise is another"
    still: Any = ask(world.subject, ("as_is", "noise"), small, replace(NOISE, sigma=0.0)).replies
    assert ATTACKS["mope"].score(still["as_is"][first], still["noise"][first]) == 0


def test_replies_are_those_of_the_question(world: World, said: dict[str, Responses]) -> None:
    record = world.material.records[0]
    replies: Any = {name: found[record.id] for name, found in said["student"].replies.items()}

    def alone(response: str) -> TokenStats:
        return token_stats(
            world.subject.model, world.subject.encode([replace(record, response=response)])
        )[0]

    np.testing.assert_allclose(
        replies["lowercase"].logp_T, alone(record.response.lower()).logp_T, atol=1e-4
    )
    for text, stats in zip(world.material.neighbours[0], replies["neighbours"], strict=True):
        np.testing.assert_allclose(stats.logp_T, alone(text).logp_T, atol=1e-4)
    for name in ("nonmember_prefix", "member_prefix"):
        assert np.array_equal(replies[name].ids_T, replies["as_is"].ids_T)
        assert not np.allclose(replies[name].logp_T, replies["as_is"].logp_T, atol=1e-2)
    examples = world.subject.encode(world.material.public)
    ids = np.concatenate([example.ids_T for example in examples])
    share_V = frequencies(world.subject, world.material.public)
    assert share_V.sum() == pytest.approx(1) and share_V.min() > 0
    assert share_V[ids[0]] == pytest.approx(((ids == ids[0]).sum() + 1) / (len(ids) + len(share_V)))


def test_a_prefix_that_does_not_fit_leaves_no_score_and_is_counted(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = world.subject.encode(world.material.records)
    shortest = min(len(e.ids_T) for e in world.subject.encode(world.material.nonmembers))
    lengths = sorted(len(example.ids_T) for example in examples)
    context = lengths[N] + shortest  # about half of the records fit with one text before them
    monkeypatch.setattr(world.subject.model.config, "max_position_embeddings", context)
    replies = ask(world.subject, ("as_is", "nonmember_prefix"), world.material, NOISE)
    fits = [e.record_id for e in examples if len(e.ids_T) + shortest <= context]
    assert set(replies.replies["nonmember_prefix"]) == set(fits) and 0 < len(fits) < 2 * N
    assert f"fits before {2 * N - len(fits)} of {2 * N} records" in caplog.text
    assert "holds fewer than 2 nonmembers" in caplog.text
    assert f"the shortest of them has {shortest} tokens" in caplog.text
    assert (
        f"context is {context}; with data.max_tokens {context // 2} or less one fits" in caplog.text
    )
    table, _ = score_table(audited(world), {"m": replies}, [ATTACKS["recall"]], {"m": {}})
    base = Result(run="", stage="audit", model="", metric="", value=np.nan)
    found = {row.metric: row for row in membership_results(table, fprs=(), level=0.95, base=base)}
    assert found["nan_scores"].value == 2 * N - len(fits) and found["auc"].n == len(fits)
    monkeypatch.setattr(world.subject.model.config, "max_position_embeddings", lengths[-1] - 1)
    with pytest.raises(DataError, match="longer than the model's context"):
        ask(replace(world.subject, cache=None), ("as_is",), world.material, NOISE)


def test_prefixes_that_fit_nowhere_leave_the_attack_out_and_say_what_would_fit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = [len(example.ids_T) for example in world.subject.encode(world.material.records)]
    shortest = min(len(e.ids_T) for e in world.subject.encode(world.material.nonmembers))
    context = max(*lengths, min(lengths) + shortest - 2)
    known = [
        r for r, n in zip(world.material.records, lengths, strict=True) if n + shortest > context
    ]
    material = replace(world.material, records=tuple(known), neighbours=((),) * len(known))
    monkeypatch.setattr(world.subject.model.config, "max_position_embeddings", context)
    said = ask(world.subject, ("as_is", "nonmember_prefix"), material, NOISE)
    why = said.unasked["nonmember_prefix"]
    assert set(said.replies) == {"as_is"} and known
    assert (
        f"the shortest of them has {shortest} tokens" in why
        and f"data.max_tokens {context // 2} or less" in why
    )


def test_a_model_that_says_nan_gives_no_score_to_any_attack_that_asks_it(world: World) -> None:
    broken = load_model(
        ModelConfig(architecture="llama", layers=1, width=16, heads=2, context=CONTEXT),
        seed=1,
        vocab_size=len(world.subject.tokenizer),
    )
    with torch.no_grad():
        for parameter in broken.parameters():
            parameter.fill_(torch.nan)
    subject = replace(world.subject, model=broken, cache=None)
    attacks = [a for a in ATTACKS.values() if not OTHERS & {query.party for query in a.queries}]
    replies = ask(subject, queries_for(attacks), world.material, replace(NOISE, copies=1))
    table, _ = score_table(audited(world), {"m": replies}, attacks, {"m": {}})
    assert (
        table.num_rows == len(attacks) * 2 * N and np.isnan(table.column("score").to_numpy()).all()
    )


def test_a_record_of_one_token_has_no_score(world: World) -> None:
    one = replace(world.material.records[0], id="one", prompt="", response="")
    attacks = [a for a in ATTACKS.values() if {query.party for query in a.queries} == {"target"}]
    material = replace(world.material, records=(one,), neighbours=((),))
    replies = ask(
        replace(world.subject, cache=None), queries_for(attacks), material, replace(NOISE, copies=1)
    )
    records = Audited(ids=("one",), parts=("private",), texts=("",), groups=("",))
    table, _ = score_table(records, {"m": replies}, attacks, {"m": {}})
    assert table.num_rows == len(attacks) and np.isnan(table.column("score").to_numpy()).all()


def test_what_is_missing_is_not_asked(world: World) -> None:
    material = replace(world.material, missing={"neighbours": "no masked model"})
    replies = ask(world.subject, ("as_is", "neighbours"), material, NOISE)
    assert set(replies.replies) == {"as_is"} and replies.unasked == {
        "neighbours": "no masked model"
    }


def test_a_model_in_memory_is_known_by_its_weights(world: World) -> None:
    assert model_hash(world.subject.model) != model_hash(world.start.model)
    before = model_hash(world.start.model)
    with torch.no_grad():
        weight = next(world.start.model.parameters())
        weight[0, 0] += 1e-6
        assert model_hash(world.start.model) != before
        weight[0, 0] -= 1e-6


def test_partners() -> None:
    names = ["teacher", "student", "student_counterfactual", "student_no_teacher"]
    found = partners_of(names, {"student": "s"}, names[2:])
    assert found["student"] == {
        "reference": "student_no_teacher",
        "counterfactual": "student_counterfactual",
        "initial": "s",
    }
    assert found["teacher"] == {"reference": "student_no_teacher"}
    assert (
        found["student_no_teacher"]["counterfactual"] == "student_no_teacher"
    )  # itself: not compared
