"""The command line: instant help, three-line errors, exit codes, no heavy import before a mistake is found."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stillage.cli import VERBS, help_text, main, set_up_logging
from stillage.errors import ConfigError, DataError
from stillage.face.experiments import check_audit
from stillage.run.folder import write_json
from stillage.run.parse import build
from stillage.run.stop import Stopped

HEAVY = ("torch", "transformers", "sklearn", "matplotlib", "datasets", "accelerate")


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert (
        all(f"\n  {verb} " in printed for verb in VERBS) and printed.strip() == help_text().strip()
    )


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["run", "--help", "all"],
        ["quickstart", "--help"],
        ["evaluate", "--help"],
        ["ls"],
        ["run", "biographies", "--data.peple", "3"],
    ],
)
def test_no_heavy_import_for_help_lists_and_mistakes(words: list[str]) -> None:
    code = (
        "import sys; from stillage.cli import main; code = main(sys.argv[1:]);"
        f"print('HEAVY', [name for name in {HEAVY} if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == (2 if "--data.peple" in words else 0), done.stderr
    assert "HEAVY []" in done.stdout


def test_help_loads_next_to_nothing() -> None:
    """What makes help slow is what it imports: counted, for no clock is fair on a busy machine."""
    code = "import sys; from stillage.cli import main; main(['--help']); print('MODULES', len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(len(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout.split("MODULES")[1]) - int(bare.stdout) < 100


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["quickstrat"], "Did you mean quickstart?"),
        (["run"], "nothing to run"),
        (["run", "nowhere.yaml"], "no config"),
        (["run", "biographies", "--method", "kdd"], "Did you mean kd?"),
        (["run", "biographies", "--distill.params.divergence", "fkll"], "Did you mean fkl?"),
        (["run", "biographies", "--distill.params.divergense", "fkl"], "Did you mean divergence?"),
        (["run", "biographies", "--audit.attacks", "los"], "Did you mean loss?"),
        (["run", "biographies", "--student-train.epochs", "many"], "many"),
        (["run", "biographies", "--stages", "audit", "--student.path", ""], "no model to look at"),
        (["run", "biographies", "--teacher-train.epochs", "0"], "neither given nor trained"),
        (["run", "biographies", "--data.source", "missing.jsonl"], "missing"),
        (["generate"], "Which model?"),
        (["generate", "nowhere", "--prompt", "x"], "nowhere"),
        (["ls", "nothing"], "no list"),
    ],
)
def test_a_mistake_is_three_lines_and_exit_2(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed.strip().splitlines()) <= 3 and "Traceback" not in printed
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nowhere", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_dry_run_names_every_stage_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["quickstart", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "The records are not read here: `stillage data quickstart` with the same" in said.err
    names = [line.split()[1] for line in said.out.splitlines()]
    assert names == [
        "data",
        "tokenizer",
        "teacher",
        "teacher_counterfactual",
        "student",
        "student_counterfactual",
        "student_minimal",
        "student_no_teacher",
        "evaluate",
        "audit",
        "signal",
        "report",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_a_verb_lists_what_that_verb_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    student = ["data", "tokenizer", "teacher", "student"]
    everyone = [
        "data",
        "tokenizer",
        "teacher",
        "teacher_counterfactual",
        "student",
        "student_counterfactual",
        "student_no_teacher",
    ]
    verbs = {
        "data": ["data"],
        "distill": student,
        "distil": student,
        "evaluate": [*everyone, "evaluate"],
        "audit": [*everyone, "audit", "signal"],
    }
    for verb, names in verbs.items():
        assert main([verb, "biographies", "--dry-run"]) == 0
        assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == names
    (tmp_path / "thesis.tex").write_text("x")
    assert main(["run", "biographies", "--out", str(tmp_path), "--dry-run"]) == 2
    assert "thesis.tex" in capsys.readouterr().err


def test_the_help_of_distill_says_that_it_trains_no_controls(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["distill", "--help"]) == 0
    assert "controls are trained by `audit`" in capsys.readouterr().out


def test_a_stop_is_said_once_by_the_process_that_the_user_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(verb: str, words: list[str]) -> int:
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr("stillage.cli.call", stop)
    assert main(["run", "runs/x"]) == 75
    assert "stopped; the same command continues" in capsys.readouterr().err
    assert main(["run", "runs/x", "--only", "teacher"]) == 75 and capsys.readouterr().err == ""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert main(["run", "runs/x"]) == 75 and capsys.readouterr().err == ""


def test_a_run_folder_in_the_place_of_a_model_is_told_its_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("student", "teacher"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "config.json").write_text("{}")
    assert main(["generate", str(tmp_path), "--prompt", "x"]) == 2
    assert (
        f"Give a model in it: {tmp_path}/student/model, {tmp_path}/teacher/model"
        in capsys.readouterr().err
    )
    assert main(["generate", str(tmp_path / "student"), "--prompt", "x"]) == 2
    assert f"Give a model in it: {tmp_path}/student/model\n" in capsys.readouterr().err


def test_a_folder_in_the_place_of_a_config_is_told_what_to_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert main(["audit", str(tmp_path / "model")]) == 2
    assert f"It is a model: give --student {tmp_path / 'model'}" in capsys.readouterr().err
    write_json(tmp_path / "grid" / "sweep.json", {"points": []})
    (tmp_path / "grid" / "seed=1").mkdir()
    (tmp_path / "grid" / "seed=1" / "config.yaml").write_text("seed: 1")
    assert main(["audit", str(tmp_path / "grid")]) == 2
    assert "It holds a grid" in (said := capsys.readouterr().err) and "seed=1" in said


def test_strict_asks_every_point_of_a_sweep(tmp_path: Path) -> None:
    configs = [
        replace(build({"audit.strict": ["true"]}), out=tmp_path / name)
        for name in ("one", "two", "unfinished")
    ]
    for name, verdict in {"one": "valid", "two": "contaminated"}.items():
        write_json(tmp_path / name / "audit" / "validity.json", {"verdict": verdict, "checks": []})
    check_audit([configs[0], configs[2]])
    with pytest.raises(ConfigError, match=r"contaminated \(.*two\)"):
        check_audit(configs)
    check_audit([replace(build({}), out=tmp_path / "two")])


def test_a_record_in_a_stage_that_must_not_see_it_fails_the_run_strict_or_not(
    tmp_path: Path,
) -> None:
    broken = {"name": "provenance", "passed": False, "detail": "3 private in student."}
    other = {
        "name": "overlap",
        "passed": False,
        "detail": "2 records are member and nonmember at once.",
    }
    for name, checks in {"fine": [{**broken, "passed": True}, other], "leak": [broken]}.items():
        write_json(
            tmp_path / name / "audit" / "validity.json",
            {"verdict": "contaminated", "checks": checks},
        )
    configs = [replace(build({}), out=tmp_path / name) for name in ("fine", "leak")]
    check_audit(configs[:1])
    with pytest.raises(
        DataError, match=r"must not see them(.|\n)*3 private in student. \(.*leak\)\n"
    ):
        check_audit(configs)


def test_a_folder_with_strange_files_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    assert main(["run", "biographies", "--out", str(tmp_path)]) == 2
    assert "thesis.tex" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_without_a_model_is_done_over_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["data", "biographies", "--out", str(run), "--data.people"]
    assert main([*words, "16"]) == 0
    assert json.loads((run / "data" / "split.json").read_text())["counts"]["private"] == 16
    assert main([*words, "16"]) == 0
    assert "skipped" in (said := capsys.readouterr().err) and "done over" not in said
    assert main([*words, "24"]) == 0
    said = capsys.readouterr().err
    assert (
        said.count("held no model yet, and is done over with other settings: data.people: 16 -> 24")
        == 1
    )
    assert json.loads((run / "data" / "split.json").read_text())["counts"]["private"] == 24
    for stage, name in (
        ("teacher", "checkpoints/step-000001.json"),
        ("audit", "manifest.json"),
    ):  # what took a model
        (run / stage / name).parent.mkdir(parents=True)
        (run / stage / name).write_text('{"key": "of other settings"}')
        assert main([*words, "16"]) == 2
        assert "data.people: 24 -> 16" in capsys.readouterr().err
        shutil.rmtree(run / stage)
    assert main([*words, "16"]) == 0
    assert len(list((run / "aside").iterdir())) == 2


def test_a_notice_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    log = logging.getLogger("stillage")
    for name in ("student, public", "student, public", "teacher, private"):
        log.warning("%s: tokenised: 3 examples", name)
    assert capsys.readouterr().err.splitlines() == [
        "stillage: student, public: tokenised: 3 examples",
        "stillage: teacher, private: tokenised: 3 examples",
    ]


@pytest.mark.parametrize(
    ("words", "want"),
    [
        ("audit", "--teacher T --student S"),
        ("evaluate", "MODEL --data SET"),
        ("report", "the folder of a run"),
    ],
)
def test_a_verb_alone_says_what_to_give_it(
    words: str, want: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([words]) == 2
    assert want in capsys.readouterr().err.splitlines()[-1]


def test_another_method_on_the_command_line_leaves_out_the_settings_of_the_configs_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "quickstart",
        "--method",
        "kd",
        "--distill.minimal",
        "false",
        "--data.public-answers",
        "1",
    ]
    assert main([*words, "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    assert (
        "left out, as kd has no such settings: distill.params.decoding" in capsys.readouterr().err
    )
