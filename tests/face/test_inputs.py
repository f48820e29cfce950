"""What Python hands over: models and records in memory, and what is refused, in three lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from stillage.errors import ConfigError, DataError, ModelError, UserError
from stillage.face.memory import Inputs, in_memory, json_lines, name_list, new_or_continued
from stillage.run.lock import check_free, locked

if TYPE_CHECKING:
    from conftest import Rows, Tiny  # pyright: ignore[reportMissingImports]

Make = Callable[[int, int], "Rows"]


def three_lines(error: UserError) -> str:
    lines = str(error).splitlines()
    assert len(lines) == 3 and all(lines)
    return "\n".join(lines)


def test_folders_and_files_stay_where_they_are(tmp_path: Path) -> None:
    inputs = Inputs(tmp_path)
    assert inputs.model("student", Path("a") / "model") == "a/model"
    assert inputs.records("members", "a.jsonl") == "a.jsonl"
    inputs.write()
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_memory_is_written_when_all_is_checked(
    tiny: Tiny, rows: Make, tmp_path: Path
) -> None:
    inputs = Inputs(tmp_path, tiny.tokenizer)
    model, records = inputs.model("student", tiny.student), inputs.records("members", rows(0, 3))
    assert list(tmp_path.iterdir()) == []
    inputs.write()
    assert [json.loads(line) for line in Path(records).read_text().splitlines()] == rows(0, 3)
    names = {path.name for path in Path(model).iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= names


def test_a_data_set_and_a_list_are_the_same_file(rows: Make) -> None:
    from datasets import Dataset

    listed = rows(0, 4)
    assert json_lines("members", Dataset.from_list(listed)) == json_lines("members", listed)
    assert json_lines("members", tuple(listed)) == json_lines("members", listed)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "There are no members records."),
        (None, "given: NoneType"),
        (7, "given: int"),
        (["a text"], "members[0]: str"),
        ([{"prompt": "a"}, ("a", "b")], "members[1]: tuple"),
        ({"prompt": ["a"], "response": ["b"]}, "members[0]: str"),  # columns, not rows
        ([{"prompt": "a", "response": {1, 2}}], "members[0]: Object of type set"),
        ([{"prompt": "a", "response": b"b"}], "is not plain data"),
    ],
)
def test_records_that_are_none_are_refused(records: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        Inputs(tmp_path).records("members", records)  # pyright: ignore[reportArgumentType]
    assert said in three_lines(caught.value)


def test_a_pair_brings_its_tokenizer_and_a_loaded_model_that_of_its_folder(tiny: Tiny) -> None:
    from transformers import AutoModelForCausalLM

    model, tokenizer = in_memory("student", (tiny.student, tiny.tokenizer), None)
    assert model is tiny.student and tokenizer is tiny.tokenizer
    loaded: Any = AutoModelForCausalLM.from_pretrained(tiny.folder("student"))
    assert in_memory("student", loaded, None)[1].get_vocab() == tiny.tokenizer.get_vocab()
    assert in_memory("student", loaded, tiny.tokenizer)[1] is tiny.tokenizer


def test_a_model_without_a_tokenizer_is_refused(tiny: Tiny) -> None:
    with pytest.raises(ModelError, match="The student has no tokenizer") as caught:
        in_memory("student", tiny.student, None)
    assert "tokenizer=" in three_lines(caught.value)


def test_a_tokenizer_that_cannot_say_where_its_tokens_lie_is_refused(tiny: Tiny) -> None:
    with pytest.raises(ModelError, match="of the student cannot say") as caught:
        in_memory("student", (tiny.student, object()), None)
    three_lines(caught.value)


@pytest.mark.parametrize("model", [torch.nn.Linear(2, 2), 7, None, ("a", "b")])
def test_what_is_no_model_is_refused(model: object, tiny: Tiny) -> None:
    with pytest.raises(ModelError, match="is no model") as caught:
        in_memory("teacher", model, tiny.tokenizer)
    three_lines(caught.value)


def test_a_model_whose_weights_are_nowhere_is_refused(tiny: Tiny) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tiny.folder("student")))
    with pytest.raises(ModelError, match="not in memory") as caught:
        in_memory("student", empty, tiny.tokenizer)
    assert "device: meta" in three_lines(caught.value)


def test_settings_of_generation_that_clash_are_the_users_to_mend(
    tiny: Tiny, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(tiny.folder("student"))
    model.generation_config.do_sample, model.generation_config.temperature = False, 0.5
    inputs = Inputs(tmp_path, tiny.tokenizer)
    inputs.model("student", model)
    with pytest.raises(ModelError, match="cannot be saved") as caught:
        inputs.write()
    assert "generation_config" in three_lines(caught.value)
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_saving_changes_nothing_of_a_model(tiny: Tiny, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(tiny.folder("student")).train()
    model.config.eos_token_id = 7
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    inputs = Inputs(tmp_path, tiny.tokenizer)
    inputs.model("student", model)
    inputs.write()
    assert model.training and model.config.eos_token_id == 7
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_new_folder_without_a_finished_stage_is_removed(tmp_path: Path) -> None:
    for has_stage in (False, True):
        run = tmp_path / str(has_stage)
        with pytest.raises(ValueError, match="stop"), new_or_continued(run):
            (run / "data").mkdir(parents=True)
            (run / "inputs").mkdir()
            if has_stage:
                (run / "data" / "manifest.json").write_text("{}")
            raise ValueError("stop")
        assert run.exists() == has_stage
    with pytest.raises(ValueError, match="stop"), new_or_continued(tmp_path):
        raise ValueError("stop")
    assert tmp_path.exists()  # it was there before


def test_the_folder_that_another_call_is_at_work_on_is_left_alone(tmp_path: Path) -> None:
    """Both found no folder; the first has the lock and no finished stage yet when the second ends."""
    run = tmp_path / "run"
    with ExitStack() as first:
        with pytest.raises(ConfigError, match="in use"), new_or_continued(run):
            first.enter_context(locked(run))
            (run / "config.yaml").write_text("")
            check_free(run)
        assert (run / "config.yaml").is_file()
    with pytest.raises(ValueError, match="stop"), new_or_continued(tmp_path / "no" / "run"):
        raise ValueError("stop")
    assert not (tmp_path / "no").exists()


def test_inputs_are_named_by_their_content_and_never_written_over(tmp_path: Path) -> None:
    first, second = Inputs(tmp_path), Inputs(tmp_path)
    one = first.records("members", [{"prompt": "a", "response": "b"}])
    same = second.records("members", [{"prompt": "a", "response": "b"}])
    other = second.records("members", [{"prompt": "a", "response": "c"}])
    first.write()
    before = Path(one).read_bytes()
    Path(one).touch()
    second.write()
    assert one == same != other and Path(one).read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "inputs").iterdir()) == sorted(
        Path(path).name for path in (one, other)
    )


def test_a_sweep_that_finished_a_stage_is_kept_when_it_is_interrupted(tmp_path: Path) -> None:
    run = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt), new_or_continued(run):
        (run / "store" / "data-1").mkdir(parents=True)
        (run / "store" / "data-1" / "manifest.json").write_text("{}")
        raise KeyboardInterrupt
    assert (run / "store" / "data-1" / "manifest.json").is_file()
    with pytest.raises(KeyboardInterrupt), new_or_continued(tmp_path / "nothing"):
        (tmp_path / "nothing").mkdir()
        raise KeyboardInterrupt
    assert not (tmp_path / "nothing").exists()


def test_a_name_by_itself_is_a_list_of_one() -> None:
    assert name_list("loss") == ["loss"] and name_list(3) == [3]
    assert name_list(("loss", "zlib")) == ["loss", "zlib"] and name_list(Path("a")) == [Path("a")]
