"""Given models are refused before anything is done, by their files alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stillage.errors import ConfigError, ModelError, first_line
from stillage.experiment.context import make_context
from stillage.experiment.inputs import check_given, check_pair
from stillage.experiment.run import describe_plan
from stillage.models.layouts import layout_notes
from stillage.run.flags import from_flags
from stillage.run.parse import build
from stillage.run.stop import Stop


def model(folder: Path, weights: str, *, file: str = "model.safetensors") -> str:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / file).write_text(weights)
    return str(folder)


def adapter(folder: Path, base: str) -> str:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    (folder / "adapter_model.safetensors").write_text("a")
    return str(folder)


def refused(tmp_path: Path, *words: str) -> str:
    """What a dry run says."""
    files = ["--data.files.private", "m.jsonl", "--data.files.nonmembers", "o.jsonl"]
    for name in ("m.jsonl", "o.jsonl"):
        Path(name).write_text('{"prompt": "a", "response": "b"}\n')
    stages = ["--stages", "audit", "--audit.no-counterfactual", "--out", str(tmp_path / "run")]
    context = make_context(
        build(from_flags([*words, *files, *stages])), Stop(), lambda name, facts: None
    )
    found = describe_plan({"": context})[1]
    return str(found or "")


def test_a_dry_run_refuses_folders_that_no_model_can_be_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = model(tmp_path / "good", "one")
    assert not refused(tmp_path, "--teacher.path", good)
    assert not refused(
        tmp_path, "--teacher.path", good, "--student.path", model(tmp_path / "s", "2")
    )
    pickled = model(tmp_path / "pickled", "p", file="pytorch_model.bin")
    assert "pickled (.bin)" in refused(tmp_path, "--teacher.path", good, "--student.path", pickled)
    (tmp_path / "runs").mkdir()
    none = refused(tmp_path, "--teacher.path", good, "--student.path", "runs")
    assert "runs is not a model folder." in none and "config.json is missing" in none
    model(tmp_path / "runs" / "a" / "model", "x")
    assert "Give a model in it: runs/a/model" in refused(tmp_path, "--student.path", "runs")
    (tmp_path / "good" / "tokenizer.json").unlink()
    assert "good has no tokenizer." in refused(tmp_path, "--teacher.path", good)


def test_an_adapter_is_named_with_the_base_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = model(tmp_path / "good", "one")
    gone = refused(
        tmp_path, "--teacher.path", good, "--student.path", adapter(tmp_path / "ad", "/gone/base")
    )
    assert "The base model of the adapter" in gone and "base_model_name_or_path: /gone/base" in gone
    fine = adapter(tmp_path / "fine", good)
    assert not refused(tmp_path, "--teacher.path", good, "--student.path", fine)
    alone = ("--student.path", good, "--student.adapter", str(tmp_path / "ad"))
    assert not refused(tmp_path, *alone)  # its base is the one that is given


def test_one_model_is_not_teacher_and_student(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, copy = model(tmp_path / "one", "same"), model(tmp_path / "copy", "same")
    said = refused(tmp_path, "--teacher.path", one, "--student.path", copy)
    assert said.splitlines() == [
        "The student is the teacher: both have the same weights.",
        f"teacher: {one}; student: {copy}",
        "Give the model that was distilled as the student, or leave out --student to audit the teacher alone.",
    ]
    with pytest.raises(ConfigError, match="The student is the teacher"):
        check_pair({"teacher": "k", "student": "k"}, {"teacher": "hub/a", "student": "hub/b"})
    check_pair({"student": "k"}, {"student": "a"})


def test_a_chat_template_that_does_not_parse_is_the_folders_fault(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    marked = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}"
    model(good, "1"), model(bad, "2")
    (good / "chat_template.jinja").write_text(marked + "{% endfor %}")
    (bad / "chat_template.jinja").write_text(marked)

    def notes(folder: Path, *words: str) -> list[str]:
        config = build(
            from_flags(["--teacher.path", str(folder), "--stages", "audit", "--out", "r", *words])
        )
        specs = make_context(config, Stop(), lambda name, facts: None).specs
        used = [spec.name for spec in specs if not spec.is_trained]
        return layout_notes(config, used, trains=len(used) < len(specs))

    assert "chat (as" in notes(good)[0]
    with pytest.raises(ModelError, match=r"does not parse(.|\n)*bad/chat_template.jinja, line 1"):
        notes(bad)
    assert notes(bad, "--data.template", "raw")  # nobody reads it


def test_the_first_line_of_an_error_is_followed_by_what_it_announces() -> None:
    error = RuntimeError("Error(s) in loading state_dict:\n\tsize mismatch for c_attn: [2, 16]\nx")
    assert first_line(error) == "Error(s) in loading state_dict: size mismatch for c_attn: [2, 16]"
    assert first_line(ValueError("\none\ntwo")) == "one"
    assert first_line(KeyError()) == "KeyError"  # without words, its kind


def test_a_given_model_is_checked_without_the_audit_too(tmp_path: Path) -> None:
    config = build(from_flags(["--teacher.path", str(tmp_path), "--out", str(tmp_path / "run")]))
    with pytest.raises(ModelError, match="is not a model folder"):
        check_given(make_context(config, Stop(), lambda name, facts: None))
