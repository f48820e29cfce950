"""Answers of models in memory and in folders, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

import stillage as st
from stillage.cli import main
from stillage.errors import ConfigError, DataError, ModelError, UserError

if TYPE_CHECKING:
    from conftest import Rows, Tiny  # pyright: ignore[reportMissingImports]

PROMPTS = ["question one", "number", "answer question"]


def test_memory_folder_and_command_line_answer_alike(
    tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {"template": "raw", "max_new_tokens": 6, "sampling_temperature": 1.0}
    memory = st.generate_texts(tiny.student, PROMPTS, tokenizer=tiny.tokenizer, seed=3, **asked)
    folder = st.generate_texts(tiny.folder("student"), PROMPTS, seed=3, **asked)
    assert memory == folder and len(set(memory)) == 3
    words = ["generate", tiny.folder("student"), "--prompt", PROMPTS[0], "--template", "raw"]
    words += ["--seed", "3", "--generate.max-new-tokens", "6"]
    assert main([*words, "--generate.sampling-temperature", "1.0"]) == 0
    assert capsys.readouterr().out.rstrip("\n") == memory[0]


def test_one_prompt_is_a_list_of_one_and_training_goes_on(tiny: Tiny) -> None:
    tiny.student.train()
    texts = st.generate_texts(
        (tiny.student, tiny.tokenizer), "question", template="raw", max_new_tokens=2
    )
    assert len(texts) == 1 and tiny.student.training
    tiny.student.eval()


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"prompts": []}, DataError, "0 prompts"),
        ({"prompts": ["a", 3]}, DataError, "given: int"),
        ({"template": "alpacca"}, ConfigError, "Did you mean alpaca?"),
        ({"model": "no/such/folder"}, ModelError, "There is no folder"),
        ({"model": 3}, ModelError, "is no model"),
        ({"max_new_tokens": 48}, ConfigError, "no room for a prompt"),
        ({"sampling_temperature": -1.0}, ConfigError, "emperature"),
    ],
)
def test_what_cannot_be_answered_is_said_in_three_lines(
    tiny: Tiny, changed: dict[str, Any], kind: type[UserError], said: str
) -> None:
    given: dict[str, Any] = {
        "model": (tiny.student, tiny.tokenizer),
        "prompts": PROMPTS,
        "template": "raw",
    }
    with pytest.raises(kind) as caught:
        st.generate_texts(**{**given, **changed})
    assert said in str(caught.value) and len(str(caught.value).splitlines()) == 3


def test_a_model_in_memory_scores_as_its_folder_does(
    tiny: Tiny, rows: Callable[[int, int], Rows]
) -> None:
    asked: dict[str, Any] = {"max_new_tokens": 4, "template": "raw", "decoding": ["paper"]}
    asked |= {"seeds": [1, 2], "records": 4}
    memory = st.evaluate_model((tiny.student, tiny.tokenizer), rows(0, 6), **asked)
    folder = st.evaluate_model(tiny.folder("student"), rows(0, 6), **asked)
    assert memory.results()["value"].tolist() == folder.results()["value"].tolist()
    (row,) = memory.table().to_dict("records")
    assert row["dataset"] == "data.jsonl" and row["decoding"] == "paper"
    means = memory.results().query("metric == 'rouge_l' and seed == 0")
    assert row["rouge_l"] in means["value"].tolist()


def test_a_teacher_gives_the_exposure_bias(tiny: Tiny, rows: Callable[[int, int], Rows]) -> None:
    found = st.evaluate_model(
        (tiny.student, tiny.tokenizer),
        rows(0, 2),
        teacher=tiny.folder("teacher"),
        max_new_tokens=3,
        template="raw",
    )
    (curve,) = found.curves.values()
    assert curve.column("tokens").to_pylist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"data": []}, DataError, "There are no data records."),
        ({"data": None}, DataError, "There are no data records."),
        ({"data": "no/such.jsonl"}, DataError, "There is no such data set."),
        ({"data": ["dolli"]}, DataError, "Did you mean dolly?"),
        ({"decoding": ["sampled"]}, ConfigError, "There is no decoding 'sampled'."),
        ({"template": "alpacca"}, ConfigError, "Did you mean alpaca?"),
        ({"columns": {"question": "a"}}, ConfigError, "a field that does not exist"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_three_lines(
    tiny: Tiny,
    rows: Callable[[int, int], Rows],
    changed: dict[str, Any],
    kind: type[UserError],
    said: str,
) -> None:
    given: dict[str, Any] = {
        "model": (tiny.student, tiny.tokenizer),
        "data": rows(0, 2),
        "template": "raw",
    }
    with pytest.raises(kind) as caught:
        st.evaluate_model(**{**given, **changed})
    assert said in str(caught.value) and len(str(caught.value).splitlines()) == 3
