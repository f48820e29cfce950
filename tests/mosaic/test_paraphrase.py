"""Paraphrases by a model behind a real HTTP server on this machine, and by a tiny random one here."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from endpoint_server import Given, Server, says
from stillage.errors import ConfigError, Interrupted, ModelError
from stillage.mosaic.kinds import Paraphrase
from stillage.mosaic.paraphrase import (
    COLUMNS,
    Asking,
    gram_overlap,
    paraphrases,
    requests_for,
)
from stillage.mosaic.table_columns import table_schema
from stillage.mosaic.writer import AT_ONCE

CANARIES = {4: "w1 w2 w3 w4 w5 w6", 2: "w11 w12 w13 w14 w15 w16", 9: "w21 w22 w23 w24 w25 w26"}
CHAT = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
LINES = r"Text: (.*)"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """Words w0 ... w59 are a token each; it adds BOS by itself, which no near-copy may hold."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing

    words = ["<eos>", "<pad>", "<unk>", *(f"w{k}" for k in range(60))]
    inner = Tokenizer(WordLevel({word: k for k, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = WhitespaceSplit()
    inner.post_processor = TemplateProcessing(single="<eos> $A", special_tokens=[("<eos>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>", chat_template=CHAT
    )


def shifted(body: dict[str, Any]) -> str:
    """The canary of a request with its words in another order, which the seed decides."""
    found = re.search(LINES, body["messages"][0]["content"])
    assert found is not None
    orders = list(itertools.permutations(found[1].split()))
    return " ".join(orders[1 + body["seed"] % (len(orders) - 1)])


def facts_of(table: pa.Table) -> dict[str, Any]:
    return json.loads(table.schema.metadata[b"paraphrases"])


@pytest.fixture
def write(
    server: Server, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> Callable[..., pa.Table]:
    kind = Paraphrase(writer=server.url, writer_model="big")

    def call(asking: Asking, **changes: Any) -> pa.Table:  # noqa: ANN401
        usual = {"tokenizer": tokenizer, "keep": tmp_path / "answers"}
        return paraphrases(CANARIES, changes.pop("kind", kind), asking, **(usual | changes))

    return call


def test_the_table_has_each_canary_in_other_words(
    server: Server, write: Callable[..., pa.Table]
) -> None:
    server.plan = lambda number, body: says(f"Here is the rephrased text:\n\n{shifted(body)}")
    told: list[tuple[int, int, float]] = []
    table = write(Asking(count=3, seed=1), progress=lambda *facts: told.append(facts))
    assert table.schema.equals(table_schema(COLUMNS)) and told[-1] == (9, 9, 1.0)
    rows = table.to_pylist()
    assert [(row["canary"], row["variation"]) for row in rows] == [
        (canary, number) for canary in (2, 4, 9) for number in range(3)
    ]
    for row in rows:
        words = row["text"].split()
        assert sorted(words) == sorted(CANARIES[row["canary"]].split())
        assert row["ids"] == [int(word[1:]) + 3 for word in words] and row["length"] == 6
        assert row["gram1"] == 1 and row["gram4"] < 1 and row["piece"] == 0
    assert len({row["text"] for row in rows}) == 9
    facts = facts_of(table)
    assert facts["requests"] == len(server.bodies) == 9 + sum(facts["rejected"].values())
    assert facts["gram1"] == 1 and facts["left_out"] == [] and "{text}" in facts["prompt"]
    assert facts["writer"] == f"big at {server.url}" and facts["sampling_temperature"] == 0.6
    body = server.bodies[0]
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.6, 0.9, 18)
    assert [message["role"] for message in body["messages"]] == ["user"]


def test_what_was_written_before_is_not_asked_for_again(
    server: Server, write: Callable[..., pa.Table]
) -> None:
    server.plan = lambda number, body: says(shifted(body))
    first = write(Asking(count=2, seed=1))
    asked = len(server.bodies)
    assert write(Asking(count=2, seed=1)).equals(first) and len(server.bodies) == asked
    assert write(Asking(count=2, seed=2)) != first and len(server.bodies) > asked


def test_a_numbered_list_as_published(server: Server, write: Callable[..., pa.Table]) -> None:
    def plan(number: int, body: dict[str, Any]) -> Given:
        texts = [shifted(body | {"seed": body["seed"] + k}) for k in range(4)]
        return says("\n".join(f"{k}. {text}" for k, text in enumerate(texts, 1)))

    server.plan = plan
    table = write(Asking(count=3, seed=1, per_request=3))
    assert len(server.bodies) == 3 and len(table) == 9
    assert "Number them from 1 to 3" in server.bodies[0]["messages"][0]["content"]
    assert server.bodies[0]["max_tokens"] == 54
    assert facts_of(table)["rejected"] == {"not needed": 3}


def test_always_the_same_answer_ends_in_an_error_with_counts(
    server: Server, write: Callable[..., pa.Table]
) -> None:
    def reversed_words(number: int, body: dict[str, Any]) -> Given:
        found = re.search(LINES, body["messages"][0]["content"])
        assert found is not None
        return says(" ".join(reversed(found[1].split())))

    server.plan = reversed_words
    with pytest.raises(ModelError, match="of 3 canaries") as raised:
        write(Asking(count=2, seed=1, rounds=4))
    lines = str(raised.value).splitlines()
    assert len(lines) == 3 and len(server.bodies) == 6 + 3 * 3
    assert "found: from 1 on, 3 in all" in lines[1] and "12 said before" in lines[1]
    assert "may ignore temperature and seed" in lines[2]


def test_the_same_answers_for_every_canary_end_in_an_error(
    server: Server, write: Callable[..., pa.Table]
) -> None:
    texts = ["w31 w32 w33 w34 w35 w36", "w41 w42 w43 w44 w45 w46"]
    server.plan = lambda number, body: says("1. {}\n2. {}".format(*texts))
    with pytest.raises(ModelError, match="of 2 of 3 canaries") as raised:
        write(Asking(count=2, seed=1, rounds=2, per_request=2))
    lines = str(raised.value).splitlines()
    assert "from 0 on, 2 in all" in lines[1] and "8 said of another canary" in lines[1]
    assert "the same of different canaries" in lines[2]


def test_an_endpoint_that_says_nothing(server: Server, write: Callable[..., pa.Table]) -> None:
    server.plan = lambda number, body: says("")
    with pytest.raises(ModelError, match="rejected: 6 empty;"):
        write(Asking(count=1, seed=1, rounds=2))
    with pytest.raises(ModelError, match="3 of 3 canaries"):  # nobody would be left
        write(Asking(count=1, seed=2, rounds=2, allow_missing=True))


def test_a_canary_with_too_few_may_be_left_out_and_is_counted(
    server: Server, write: Callable[..., pa.Table]
) -> None:
    def plan(number: int, body: dict[str, Any]) -> Given:
        sad = "w11" in body["messages"][0]["content"]
        return says("I'm sorry, I can't do that." if sad else shifted(body))

    server.plan = plan
    with pytest.raises(ModelError, match="of 1 of 3 canaries"):
        write(Asking(count=1, seed=1, rounds=2))
    table = write(Asking(count=1, seed=1, rounds=2, allow_missing=True))
    assert table["canary"].to_pylist() == [4, 9]
    assert facts_of(table)["left_out"] == [2] and facts_of(table)["rejected"] == {"refusal": 2}


def test_the_first_canaries_alone(server: Server, write: Callable[..., pa.Table]) -> None:
    server.plan = lambda number, body: says(shifted(body))
    kind = Paraphrase(writer=server.url, writer_model="big", canaries=2)
    assert write(Asking(count=1, seed=1), kind=kind)["canary"].to_pylist() == [2, 4]


def test_a_signal_stops_and_the_same_call_continues(
    server: Server, write: Callable[..., pa.Table]
) -> None:
    server.plan = lambda number, body: says(shifted(body))
    with pytest.raises(Interrupted):
        write(Asking(count=12, seed=1), should_stop=lambda: len(server.bodies) > 2)
    asked = len(server.bodies)
    assert 2 < asked <= AT_ONCE["endpoint"] < 36
    whole = write(Asking(count=12, seed=1))
    assert len(server.bodies) == facts_of(whole)["requests"]  # nothing was asked twice


def test_what_cannot_be_asked() -> None:
    with pytest.raises(ConfigError, match="rounds: 0"):
        Asking(count=1, seed=1, rounds=0)


def test_requests_do_not_depend_on_other_canaries() -> None:
    from stillage.mosaic.paraphrase import FoundParaphrases

    asking = Asking(count=2, seed=1)
    alone = requests_for({4: FoundParaphrases("a", [1])}, asking, 0)
    both = requests_for({2: FoundParaphrases("b", [1]), 4: FoundParaphrases("a", [1])}, asking, 0)
    assert alone == both[2:] and len({seed for _, seed in both}) == 4


@pytest.fixture(scope="module")
def chat_model(
    tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    from stillage.models.load import load_model
    from stillage.run.config import ModelConfig

    folder = tmp_path_factory.mktemp("chat")
    config = ModelConfig(layers=1, width=16, heads=2, context=128)
    load_model(config, vocab_size=len(tokenizer), seed=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_model_in_a_folder_writes_too_and_is_not_asked_twice(
    write: Callable[..., pa.Table],
    chat_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = Paraphrase(writer=str(chat_model), sampling_temperature=1.0, top_p=1.0)
    table = write(Asking(count=2, seed=1), kind=kind)
    assert len(table) == 6 and len(set(table["text"].to_pylist())) == 6
    assert 0 not in {token for ids in table["ids"].to_pylist() for token in ids}  # no BOS, no EOS
    assert max(table["length"].to_pylist()) <= 18
    monkeypatch.setitem(AT_ONCE, "cpu", 1)
    apart = write(Asking(count=2, seed=1), kind=kind, keep=tmp_path / "other")
    assert apart.equals(table)  # whatever is asked together
    monkeypatch.setattr("stillage.models.generate.generate", lambda *_: pytest.fail("asked twice"))
    assert write(Asking(count=2, seed=1), kind=kind).equals(table)


def test_a_model_without_chat_template_is_no_writer(
    write: Callable[..., pa.Table], chat_model: Path, tmp_path: Path
) -> None:
    plain = PreTrainedTokenizerFast.from_pretrained(chat_model)
    plain.chat_template = None
    plain.save_pretrained(tmp_path / "plain")
    with pytest.raises(ModelError, match="no instruct model"):
        write(Asking(count=1, seed=1), kind=Paraphrase(writer=str(tmp_path / "plain")))


def test_gram_overlap_of_known_texts() -> None:
    original, copy = [1, 2, 3, 4, 1, 2], [1, 2, 9, 3, 4, 4]
    assert gram_overlap(original, copy, 1) == 4 / 6  # 1, 2, 3, 4: each counts as often as in both
    assert gram_overlap(original, copy, 2) == 2 / 5  # (1, 2) once, (3, 4)
    assert gram_overlap(original, copy, 4) == 0
    assert gram_overlap([1, 2], [1, 2], 4) == 1 and gram_overlap([1, 2], [1, 2, 3], 4) == 0
    assert gram_overlap([1, 2], [], 1) == 0


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9), st.data())
def test_gram_overlap_is_that_of_counting_by_hand(original: list[int], data: st.DataObject) -> None:
    copy = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=9))
    n = data.draw(st.integers(1, min(4, len(original), len(copy))))
    left = [copy[k : k + n] for k in range(len(copy) - n + 1)]
    kept = 0
    for k in range(len(original) - n + 1):
        if original[k : k + n] in left:
            left.remove(original[k : k + n])
            kept += 1
    assert gram_overlap(original, copy, n) == kept / (len(original) - n + 1)
