"""Distil, audit and run from Python: the same numbers as from the command line, the same errors."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml

import stillage as st
from stillage.cli import main
from stillage.errors import ConfigError, DataError, ModelError, UserError
from stillage.face.calls import flat_settings, with_more
from stillage.run.config import Config
from stillage.run.folder import read_table, sha256_file
from stillage.run.parse import build, from_yaml, to_yaml

if TYPE_CHECKING:
    from conftest import Rows, Tiny  # pyright: ignore[reportMissingImports]

Make = Callable[[int, int], "Rows"]
Quick = Mapping[str, object]


def write_rows(path: Path, rows: Rows) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def scores(run: st.Run) -> list[dict[str, object]]:
    return read_table(run.folder / "audit" / "scores.parquet").to_pylist()


def three_lines(error: UserError) -> str:
    lines = str(error).splitlines()
    assert len(lines) == 3 and all(lines)
    return "\n".join(lines)


def test_memory_folders_files_and_the_command_line_give_the_same_scores(
    tiny: Tiny, rows: Make, quick: Quick, tmp_path: Path
) -> None:
    members, others = rows(0, 20), rows(20, 40)
    attacks = ["loss", "min_k", "lowercase"]
    memory = st.audit_models(
        tiny.student,
        members=members,
        nonmembers=others,
        teacher=(tiny.teacher, tiny.tokenizer),
        tokenizer=tiny.tokenizer,
        attacks=attacks,
        settings=quick,
    )
    files = [
        write_rows(tmp_path / f"{name}.jsonl", part)
        for name, part in (("members", members), ("nonmembers", others))
    ]
    folders = st.audit_models(
        tiny.folder("student"),
        members=files[0],
        nonmembers=Path(files[1]),
        teacher=tiny.folder("teacher"),
        attacks=attacks,
        settings=quick,
        out=tmp_path / "folders",
    )
    words = "audit --data.template raw --threads 1 --audit.extract-tokens 3 --audit.fprs 0.2"
    given = ["--student", tiny.folder("student"), "--teacher", tiny.folder("teacher")]
    given += ["--members", files[0], "--nonmembers", files[1], "--audit.attacks", *attacks]
    assert main([*words.split(), *given, "--out", str(tmp_path / "cli")]) == 0
    assert scores(memory) == scores(folders) == scores(st.Run(tmp_path / "cli"))
    assert len(scores(memory)) > 2 * 40 * len(attacks)  # and the blind attackers'
    assert tiny.student.training is False


def test_a_temporary_run_goes_with_its_run(tiny: Tiny, rows: Make, quick: Quick) -> None:
    run = st.audit_models(
        tiny.folder("student"), members=rows(0, 20), nonmembers=rows(20, 40), settings=quick
    )
    folder = run.folder
    assert len(list((folder / "inputs").glob("members-*.jsonl"))) == 1
    del run
    assert not folder.parent.exists()


def test_the_same_call_continues_and_another_is_refused(
    tiny: Tiny, rows: Make, quick: Quick, tmp_path: Path
) -> None:
    out = tmp_path / "audit"

    def audit(attack: str) -> st.Run:
        student = (tiny.student, tiny.tokenizer)
        return st.audit_models(
            student,
            members=rows(0, 20),
            nonmembers=rows(20, 40),
            attacks=[attack],
            settings=quick,
            out=out,
        )

    audit("loss")
    before = (out / "audit" / "scores.parquet").stat().st_mtime_ns
    audit("loss")
    assert (out / "audit" / "scores.parquet").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="holds a run with other settings") as caught:
        audit("zlib")
    said = three_lines(caught.value)
    assert "audit.attacks" in said and "--" not in said
    assert "run_experiment's accept_changes= to do these again" in said and "another out=" in said


def test_a_second_call_in_a_thread_is_refused_as_a_second_process_is(
    tiny: Tiny, rows: Make, quick: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stillage.experiment import run

    out, is_busy, go_on = tmp_path / "run", threading.Event(), threading.Event()
    usual = run.do_stages

    def held(*given: Any) -> Any:  # noqa: ANN401
        is_busy.set()
        assert go_on.wait(60)
        return usual(*given)

    monkeypatch.setattr(run, "do_stages", held)
    given = {"student": (tiny.student, tiny.tokenizer), "settings": quick, "attacks": ["loss"]}
    with ThreadPoolExecutor() as pool:
        first = pool.submit(audit_of, tiny, rows, out=out, **given)
        try:
            assert is_busy.wait(60)
            for other in (given, {**given, "student": (tiny.teacher, tiny.tokenizer)}):
                with pytest.raises(ConfigError, match="is in use by a live process") as caught:
                    audit_of(tiny, rows, out=out, **other)
                said = three_lines(caught.value)
                assert f'"pid": {os.getpid()}' in said and "another folder with out=." in said
        finally:
            go_on.set()
        assert set(first.result().table()["attack"]) == {"loss"}
    assert len(list((out / "inputs").glob("student-*"))) == 1


def test_a_student_is_the_command_lines_student(tiny: Tiny, rows: Make, tmp_path: Path) -> None:
    small = {"threads": 1, "data.template": "raw"}
    run = st.distill_student(
        teacher=(tiny.teacher, tiny.tokenizer),
        student=(tiny.student, tiny.tokenizer),
        data=rows(0, 24),
        validation=rows(24, 30),
        epochs=2,
        params={"divergence": "rkl"},
        lr_peak=1e-3,
        batch_size=8,
        settings=small,
    )
    public = write_rows(tmp_path / "public.jsonl", rows(0, 24))
    validation = write_rows(tmp_path / "validation.jsonl", rows(24, 30))
    words = "distill --stages distill --teacher-train.epochs 0 --student-train.epochs 2 --threads 1"
    words += " --student-train.lr-peak 0.001 --student-train.batch-size 8 --data.template raw"
    given = ["--student", tiny.folder("student"), "--teacher", tiny.folder("teacher")]
    given += ["--data.files.public", public, "--data.files.validation", validation]
    given += ["--distill.params.divergence", "rkl", "--out", str(tmp_path / "cli")]
    assert main([*words.split(), *given]) == 0
    cli = st.Run(tmp_path / "cli")
    weights = [one.model_folder() / "model.safetensors" for one in (run, cli)]
    assert sha256_file(weights[0]) == sha256_file(weights[1])
    assert sha256_file(weights[0]) != sha256_file(tiny.root / "student" / "model.safetensors")
    metrics = run.metrics()
    assert list(metrics["step"].dropna().unique()) == list(range(7))
    model, tokenizer = run.load_model()
    (text,) = st.generate_texts((model, tokenizer), "question", template="raw", max_new_tokens=3)
    assert isinstance(text, str) and not model.training


def test_a_method_without_a_teacher_needs_none(tiny: Tiny, rows: Make) -> None:
    small = {"threads": 1, "data": {"template": "raw"}, "student_train": {"max_steps": 2}}
    run = st.distill_student(
        teacher=None, student=tiny.folder("student"), data=rows(0, 8), method="sft", settings=small
    )
    assert max(run.metrics()["step"]) == 2


SMALL: dict[str, Any] = {
    "threads": 1,
    "stages": ["distill", "evaluate"],
    "data": {"people": 24, "template": "raw", "max_tokens": 96},
    "tokenizer": {"vocab_size": 300},
    "teacher": {"layers": 1, "width": 16, "heads": 2},
    "student": {"layers": 1, "width": 16, "heads": 2},
    "teacher_train": {"epochs": 1},
    "student_train": {"epochs": 1},
    "generate": {"records": 4, "max_new_tokens": 4},
}


def test_a_table_a_file_and_a_config_are_the_same_experiment(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    config = build(from_yaml(path.read_text(), "small"))
    given = {"table": SMALL, "file": path, "config": config}
    runs = [st.run_experiment(one, out=tmp_path / name) for name, one in given.items()]
    tables = [(run.folder / "report" / "results.parquet").read_bytes() for run in runs]
    assert tables[0] == tables[1] == tables[2]
    assert {"exact_match", "perplexity"} <= set(runs[0].results()["metric"])
    assert "small" not in runs[0].summary() and runs[0].report.is_file()


def test_settings_go_on_top_and_a_run_folder_continues(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = st.run_experiment(SMALL, settings={"seed": 3}, out=out, until="data")
    assert "seed: 3" in (run.folder / "config.yaml").read_text()
    assert not (out / "student").exists()
    assert st.run_experiment(str(out), until="teacher").model_folder("teacher").is_dir()
    with pytest.raises(ConfigError, match="other settings"):
        st.run_experiment(out, settings={"seed": 4}, until="teacher")
    again = st.run_experiment(out, settings={"seed": 4}, until="data", accept_changes=True)
    assert "seed: 4" in (again.folder / "config.yaml").read_text()


def test_a_sweep_is_a_run_of_many(tmp_path: Path) -> None:
    small = {**SMALL, "sweep": {"seed": [1, 2]}}
    run = st.run_experiment(small, out=tmp_path / "grid")
    assert set(run.results()["seed"]) == {1, 2}
    with pytest.raises(DataError, match="no scores"):
        run.scores()


def test_a_sweep_with_a_point_that_cannot_be_says_so(tmp_path: Path) -> None:
    small = {**SMALL, "sweep": {"student.heads": [2, 3]}}  # 16 is no multiple of 3
    with pytest.raises(UserError) as caught:
        st.run_experiment(small, out=tmp_path / "grid", until="student")
    three_lines(caught.value)


PLUGIN = """
from stillage.types import Attack, Query
def score(stats):
    return float(stats.logp_T.max())
ATTACKS = {"largest": Attack("largest", "none", "logprob", (Query("target"),), score)}
"""


def test_a_plugin_is_there_for_the_call_alone(
    tiny: Tiny, rows: Make, quick: Quick, tmp_path: Path
) -> None:
    from stillage.audit.attacks import ATTACKS

    path = tmp_path / "largest.py"
    path.write_text(
        PLUGIN.replace(
            'Attack("largest", "none", "logprob", (Query("target"),), score)',
            'Attack(name="largest", paper="none", access="logprob", queries=(Query(party="target"),), score=score)',
        )
    )
    run = st.audit_models(
        tiny.folder("student"),
        members=rows(0, 20),
        nonmembers=rows(20, 40),
        attacks=["largest"],
        settings=quick,
        plugins=[path],
    )
    assert list(run.table()["attack"]) == ["largest"] and "largest" not in ATTACKS


def audit_of(tiny: Tiny, rows: Make, **changed: Any) -> st.Run:  # noqa: ANN401 - any argument
    given: dict[str, Any] = {
        "student": tiny.folder("student"),
        "members": rows(0, 20),
        "nonmembers": rows(20, 40),
    }
    return st.audit_models(**{**given, **changed})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"attacks": ["los"]}, "Did you mean loss?"),
        ({"members": []}, "There are no members records."),
        ({"nonmembers": None}, "There are no nonmembers records."),
        ({"members": ["text"]}, "members[0]: str"),
        ({"members": "no/such/file.jsonl"}, "A data file is missing."),
        ({"members": [{"question": "a", "reply": "b"}]}, "columns of the data are not known"),
        ({"student": None}, "There is no model to look at."),
        ({"student": "no/such/folder/at/all"}, "There is no folder"),
        ({"student": 7}, "The student is no model"),
        ({"settings": {"audit": {"fpr": 0.1}}}, "Did you mean audit.fprs"),
        ({"settings": {"data.files.outsiders": "a.jsonl"}}, "Write data.files.nonmembers."),
        ({"settings": {"seed": 2}}, "given as an argument already"),
        ({"settings": {"data": {"template": object()}}}, "neither text, a number"),
        ({"settings": 7}, "Settings are a table"),
        ({"plugins": ["no_such_plugin.py"]}, "plugins= no_such_plugin.py"),
        ({"settings": {"audit.exposure_records": 4}}, "Name the column with extract="),
        ({"student": None}, "Give student=FOLDER (and teacher=FOLDER)"),
    ],
)
def test_what_cannot_be_audited_is_said_in_three_lines(
    tiny: Tiny, rows: Make, changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, DataError, ModelError)) as caught:
        audit_of(tiny, rows, out=tmp_path / "run", **changed)
    assert said in three_lines(caught.value) and "--" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_members_who_are_nonmembers_are_refused(
    tiny: Tiny, rows: Make, quick: Quick, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(DataError) as caught:
        audit_of(tiny, rows, nonmembers=rows(0, 20), settings=quick, out=out)
    assert "private" in three_lines(caught.value) and "nonmembers" in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"method": "kdd"}, "Did you mean kd?"),
        ({"params": {"divergence": "fkll"}}, "Did you mean fkl?"),
        ({"params": {"no_such": 1}}, "no_such"),
        ({"teacher": None}, "The teacher is neither given nor trained."),
        ({"data": []}, "There are no data records."),
        ({"epochs": -1}, "epochs"),
        ({"settings": {"student_train": {"epochs": 5}}}, "given as an argument already"),
    ],
)
def test_what_cannot_be_distilled_is_said_in_three_lines(
    tiny: Tiny, rows: Make, changed: dict[str, Any], said: str
) -> None:
    given = {"teacher": tiny.folder("teacher"), "student": tiny.folder("student")}
    with pytest.raises((ConfigError, DataError, ModelError)) as caught:
        st.distill_student(**{**given, "data": rows(0, 8), **changed})  # pyright: ignore[reportArgumentType]
    assert said in three_lines(caught.value)


@pytest.mark.parametrize(
    "where",
    [
        "bfloat16",
        pytest.param("cuda", marks=pytest.mark.gpu),
    ],
)
def test_a_model_of_another_kind_or_place_is_read_as_its_folder_is(
    where: str, tiny: Tiny, rows: Make, quick: Quick, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    if where == "cuda" and not torch.cuda.is_available():
        pytest.skip("no accelerator here")
    model: Any = AutoModelForCausalLM.from_pretrained(tiny.folder("student"))
    model = model.to(getattr(torch, where) if where == "bfloat16" else where)
    model.save_pretrained(tmp_path / "folder")
    tiny.tokenizer.save_pretrained(tmp_path / "folder")
    given = {"attacks": ["loss"], "settings": quick}
    memory = audit_of(tiny, rows, student=(model, tiny.tokenizer), **given)
    folder = audit_of(tiny, rows, student=tmp_path / "folder", **given)
    assert scores(memory) == scores(folder)
    assert next(model.parameters()).device.type == ("cuda" if where == "cuda" else "cpu")


def test_settings_are_read_as_a_config_file_is() -> None:
    flat = flat_settings({"student.layers": 2, "data": {"files": {"members": Path("a.jsonl")}}})
    assert flat == {"student.layers": ["2"], "data.files.private": ["a.jsonl"]}
    assert flat_settings(Config()) == from_yaml(to_yaml(Config()), "the config")
    assert with_more({"seed": 1}, {"threads": 1}) == {"seed": ["1"], "threads": ["1"]}
