"""What is done with a finished sweep and run: reported, refused or described, moved, exported; nothing is trained again."""

from __future__ import annotations

import os
import re
import shutil
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pytest

from stillage.cli import main
from stillage.cli.outcome import warn_of_texts
from stillage.experiment.report_stage import report_secret
from stillage.run.config import Config, ReportConfig
from stillage.run.finished import unfinished
from stillage.run.folder import list_files, read_json, read_table, write_json
from stillage.run.lock import locked
from stillage.run.results import read_results
from stillage.run.stages import MANIFEST, recorded_key, stage_keys

Printed = pytest.CaptureFixture[str]
SMALL = (
    "biographies --data.people 24 --tokenizer.vocab-size 400 --stages distill evaluate "
    "--teacher.layers 1 --teacher.width 32 --teacher.heads 2 --teacher-train.epochs 1 "
    "--student.layers 1 --student.width 32 --student-train.epochs 1 --jobs 1 "
    "--generate.max-new-tokens 4 --generate.records 6"
).split()
SWEEP = ["--sweep.student.heads", "3", "2", "4"]  # 3 does not divide the width: that point fails
STAGES = ["data", "tokenizer", "teacher", "student", "evaluate", "report"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of three points, the first of which failed."""
    out = tmp_path_factory.mktemp("finished") / "grid"
    assert main(["run", *SMALL, "--out", str(out), *SWEEP]) == 2
    return out


@pytest.fixture
def grid(done: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(done, tmp_path / "grid", symlinks=True))


@pytest.fixture
def run(grid: Path, tmp_path: Path) -> Path:
    """A run that holds its own stages."""
    assert main(["export", str(grid / "heads=2"), str(tmp_path / "run")]) == 0
    return tmp_path / "run"


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any training or evaluation is a failure."""

    def refuse(*_: object) -> None:
        raise AssertionError("a stage was done")

    monkeypatch.setattr("stillage.experiment.train_stage.train_model", refuse)
    monkeypatch.setattr("stillage.experiment.evaluate_stage.evaluate", refuse)


def three_lines(words: list[str], capsys: Printed) -> list[str]:
    """What a refused command says."""
    capsys.readouterr()
    assert main(words) == 2
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()
    assert len(lines) == 3 and lines[0].startswith("stillage: ") and printed.out == ""
    return lines


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in list_files(folder)
        if path.name != ".lock"
    }


def test_a_failed_point_leaves_the_others_finished_and_is_named(
    grid: Path, capsys: Printed
) -> None:
    assert [(grid / f"heads={heads}" / "report" / MANIFEST).is_file() for heads in (2, 3, 4)] == [
        True,
        False,
        True,
    ]
    said = (grid / "report" / "summary.txt").read_text()
    assert (
        said.startswith("grid: 2 of 3 points finished\n")
        and "failed: heads=3: These numbers make no model" in said
    )
    before = content(grid / "store")
    capsys.readouterr()
    assert main(["run", *SMALL, "--out", str(grid), *SWEEP]) == 2
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()[-3:]
    assert lines[0] == "stillage: 1 of 3 points of the sweep failed; the others are done."
    assert (
        lines[1].startswith("heads=3: These numbers make no model") and "same command" in lines[2]
    )
    assert f"report: {grid}/report/report.html" in printed.out and content(grid / "store") == before
    assert main(["run", *SMALL, "--out", str(grid), "--sweep.student.heads", "2", "4"]) == 0
    assert (
        "grid: 2 of 2 points finished" in capsys.readouterr().out
        and content(grid / "store") == before
    )


def test_points_that_fail_side_by_side_leave_the_others_finished(
    grid: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(
        (grid / "heads=4" / "evaluate").resolve()
    )  # so that two processes have something to do
    assert main(["run", *SMALL, "--jobs", "2", "--out", str(grid), *SWEEP]) == 2
    printed = capfd.readouterr()
    assert "stillage: These numbers make no model" in printed.err  # the child's own words
    assert "1 of 3 points of the sweep failed; the others are done." in printed.err
    assert (
        "\nheads=3: student failed in a process of its own. it ended with exit code 2"
        in printed.err
    )
    assert (
        "2 of 3 points finished" in printed.out
        and (grid / "heads=4" / "evaluate" / MANIFEST).is_file()
    )


def test_a_sweep_of_which_nothing_can_be_done_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    parts = ("private", "public", "nonmembers", "test")
    words = [word for part in parts for word in (f"--data.files.{part}", "nothing.jsonl")]
    (tmp_path / "nothing.jsonl").write_text("")
    monkeypatch.chdir(tmp_path)
    assert main(["data", *SMALL[:1], *words, "--out", "grid", "--sweep.seed", "1", "2"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()[-3:]
    assert lines[0] == "stillage: 2 of 2 points of the sweep failed." and lines[1].startswith(
        "seed=1: "
    )
    assert [path.name for path in tmp_path.iterdir()] == ["nothing.jsonl"]


def test_a_sweep_is_not_begun_among_other_files(tmp_path: Path, run: Path, capsys: Printed) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for out, said in (
        (tmp_path / "mine", "has files, but no sweep of ours"),
        (run, "holds a run, not a sweep"),
    ):
        before = content(out)
        assert said in three_lines(["run", *SMALL, "--out", str(out), *SWEEP], capsys)[0]
        assert content(out) == before


def test_the_page_of_a_sweep_links_its_points_and_asks_for_nothing(grid: Path) -> None:
    page = (grid / "report" / "report.html").read_text()
    links = re.findall(r'href="([^"#]*)"', page)
    assert len(links) == 2 and all((grid / "report" / unquote(link)).is_file() for link in links)
    assert (
        "default-src 'none'" in page
        and not re.search(r'(src|href)="(https?:|//|/)', page)
        and "<script" not in page
    )
    assert (
        "Who answers better: ROUGE-L" in page and "nothing was audited" in page and "<svg" in page
    )
    assert (grid / "report" / "figures" / "quality.csv").read_text().count("\n") == 3
    assert {row.metric for row in read_results(grid / "report" / "compare.parquet")} >= {
        "rouge_l",
        "rouge_l_difference",
    }


def test_the_results_of_a_sweep_have_a_column_for_each_swept_setting(grid: Path) -> None:
    table = read_table(grid / "results.parquet")
    assert (
        table.column_names[-1] == "student.heads"
        and table.schema.field("student.heads").type == pa.int64()
    )
    assert set(table.column("student.heads").to_pylist()) == {2, 4}
    by_run = {
        (row["run"], row["student.heads"])
        for row in table.select(["run", "student.heads"]).to_pylist()
    }
    assert len(by_run) == 2
    assert len(read_results(grid / "results.parquet")) == table.num_rows  # read as any results are


def test_report_of_a_sweep_only_reports(grid: Path, untrained: None, capsys: Printed) -> None:
    shutil.rmtree(grid / "report")
    assert main(["report", str(grid)]) == 0
    assert (
        "grid: 2 of 3 points finished" in capsys.readouterr().out
        and (grid / "report" / "report.html").is_file()
    )
    assert "takes no settings" in three_lines(["report", str(grid), "--seed", "2"], capsys)[0]
    assert (
        main(["report", *SMALL, "--out", str(grid), *SWEEP]) == 2
    )  # by its config: each point's page, then the sweep's
    printed = capsys.readouterr()
    assert (
        "1 of 3 points of the sweep failed" in printed.err
        and "grid: 2 of 3 points finished" in printed.out
    )
    assert (
        "teacher"
        not in three_lines(["report", *SMALL, "--out", str(grid / "new"), *SWEEP], capsys)[1]
    )
    assert not (grid / "new").exists()
    for heads in (2, 4):
        (grid / f"heads={heads}" / "report").unlink()
    assert "No point of the sweep" in three_lines(["report", str(grid)], capsys)[0]


def test_report_of_a_point_after_another_version_and_moved(
    grid: Path, tmp_path: Path, untrained: None, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    for module in ("plan", "report_again"):
        monkeypatch.setattr(f"stillage.experiment.{module}.__version__", "9.9")
    monkeypatch.setattr(
        "stillage.experiment.plan.SCHEMAS",
        {
            name: number + 1
            for name, number in __import__(
                "stillage.experiment.plan", fromlist=["SCHEMAS"]
            ).SCHEMAS.items()
        },
    )
    grid = grid.rename(tmp_path / "moved")
    stages = {path: content(path) for path in (grid / "store").glob("*-*")}
    assert main(["report", str(grid / "heads=4")]) == 0
    printed = capsys.readouterr()
    assert (
        f"report: {grid}/heads=4/report/report.html" in printed.out
        and (grid / "heads=4" / "report").is_symlink()
    )
    assert all(content(path) == before for path, before in stages.items())
    assert read_json(grid / "heads=4" / "report" / MANIFEST)["settings"]["version"] == "9.9"


def test_report_says_what_to_run_and_does_not_train(
    run: Path, untrained: None, capsys: Printed
) -> None:
    weights = run / "student" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    before = content(run)
    lines = three_lines(["report", str(run)], capsys)
    assert "student: damaged: model/model.safetensors has changed" in lines[1]
    assert lines[2].endswith(f"stillage run {run}") and content(run) == before
    shutil.rmtree(run / "report")
    (run / "evaluate" / MANIFEST).unlink()
    assert "evaluate: not done yet" in three_lines(["report", str(run), "--dry-run"], capsys)[1]
    assert "other settings" in three_lines(["report", str(run), "--seed", "2"], capsys)[0]
    assert (
        "no run in" in three_lines(["report", *SMALL, "--out", str(run.parent / "new")], capsys)[0]
    )
    assert not (run.parent / "new").exists()


def test_stages_made_from_other_inputs_are_noticed(run: Path) -> None:
    assert unfinished(run, STAGES, partial(report_secret, run)) == []
    changed = read_json(run / "data" / MANIFEST)
    write_json(
        run / "student" / MANIFEST, read_json(run / "student" / MANIFEST) | {"key": changed["key"]}
    )
    assert unfinished(run, STAGES, partial(report_secret, run)) == [
        f"{name}: made from other inputs than those in the folder"
        for name in ("student", "evaluate", "report")
    ]
    write_json(
        run / "data" / MANIFEST, changed | {"key": "of a version that makes its keys otherwise"}
    )
    assert unfinished(run, STAGES, partial(report_secret, run)) == []


def test_a_report_that_looks_otherwise_is_written_without_a_question(
    run: Path, untrained: None, capsys: Printed
) -> None:
    assert main(["report", str(run), "--report.show-text"]) == 0
    assert "This page shows texts" in (run / "report" / "report.html").read_text()
    capsys.readouterr()
    assert main(["run", str(run)]) == 0 and capsys.readouterr().err.count("skipped") == 6


def test_a_dry_run_lists_a_shared_stage_once(grid: Path, capsys: Printed) -> None:
    words = [
        "run",
        *SMALL,
        "--out",
        str(grid / "new"),
        "--sweep.student.heads",
        "2",
        "4",
        "--dry-run",
    ]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1].split()[0] for line in lines] == [*STAGES, *STAGES[3:]]
    assert all(
        ("(for 2 points)" in line) == (line.split(":")[1].split()[0] in STAGES[:3])
        for line in lines
    )
    assert not (grid / "new").exists()


@pytest.mark.parametrize(
    ("words", "code", "again"),
    [
        (["--threads", "2", "--student-train.checkpoint-every-s", "7", "--jobs", "3"], 0, []),
        (["--generate.max-new-tokens", "5"], 2, ["evaluate", "report"]),
        (["--generate.max-new-tokens", "5", "--accept-changes"], 0, ["evaluate", "report"]),
    ],
)
def test_a_dry_run_is_refused_as_the_real_run_and_asks_only_for_what_is_done_again(
    words: list[str], code: int, again: list[str], run: Path, capsys: Printed
) -> None:
    asked = ["run", *SMALL, "--student.heads", "2", "--out", str(run), *words]
    before = content(run)
    capsys.readouterr()
    assert main([*asked, "--dry-run"]) == code
    dry = capsys.readouterr()
    assert [line.split()[1] for line in dry.out.splitlines() if line.startswith("run")] == again
    assert content(run) == before
    if code:
        lines = three_lines(asked, capsys)
        assert dry.err.splitlines() == [
            "stillage: the real run would be refused:",
            lines[0][10:],
            *lines[1:],
        ]
        assert "max_new_tokens: 4 -> 5" in lines[1] and "do these again: evaluate (" in lines[2]
    elif not again:
        assert main(asked) == 0 and capsys.readouterr().err.count("skipped") == 6


def test_a_dry_run_says_that_a_live_process_uses_the_folder(run: Path, capsys: Printed) -> None:
    asked = ["run", *SMALL, "--student.heads", "2", "--out", str(run)]
    with locked(run):
        assert (
            three_lines(asked, capsys)[0]
            == f"stillage: The run folder {run} is in use by a live process."
        )
        assert main([*asked, "--dry-run"]) == 2
        dry = capsys.readouterr()
        assert "in use by a live process" in dry.err and dry.out.count("skip") == 6
        for words in (["report", str(run)], ["export", str(run), str(run.parent / "copy")]):
            assert "in use by a live process" in three_lines(words, capsys)[0]
    assert main([*asked, "--dry-run"]) == 0


def test_a_point_run_by_itself_keeps_its_stages_in_the_store(grid: Path, capsys: Printed) -> None:
    point = grid / "heads=2"
    shutil.rmtree((point / "evaluate").resolve())
    assert main(["run", str(point)]) == 0
    assert (point / "evaluate").is_symlink() and (point / "evaluate" / MANIFEST).is_file()
    assert main(["run", *SMALL, "--out", str(grid), "--sweep.student.heads", "2", "4"]) == 0
    assert capsys.readouterr().err.count("evaluate: skipped") == 2


def test_an_exported_point_needs_nothing_beside_it(
    grid: Path, tmp_path: Path, untrained: None, capsys: Printed
) -> None:
    target = tmp_path / "elsewhere" / "copy"
    assert main(["export", str(grid / "heads=4"), str(target)]) == 0
    assert f"run folder: {target}" in capsys.readouterr().out
    shutil.rmtree(grid)
    assert (
        not any(path.is_symlink() for path in target.rglob("*"))
        and unfinished(target, STAGES, partial(report_secret, target)) == []
    )
    assert main(["report", str(target)]) == 0 and main(["evaluate", str(target)]) == 0
    assert capsys.readouterr().err.count("skipped") == 6
    assert main(["run", str(target / "config.yaml"), "--dry-run"]) == 0  # the config names the copy
    assert capsys.readouterr().out.count("skip") == 6


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    grid: Path, tmp_path: Path, capsys: Printed
) -> None:
    point, target = grid / "heads=2", tmp_path / "target"
    wanted: dict[str, list[Path]] = {
        "export takes RUN and FOLDER": [point],
        "is no run": [grid, target],
        "is not new": [point, grid],
        "cannot lie in the run itself": [point, point / "copy"],
        "it is not finished": [grid / "heads=3", target],
    }
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for place in ("file/copy", "nowhere"):
        assert (
            "cannot be a folder"
            in three_lines(["export", str(point), str(tmp_path / place)], capsys)[0]
        )
    for said, words in wanted.items():
        assert said in three_lines(["export", *map(str, words)], capsys)[0]
    table = (point / "evaluate" / "samples.parquet").resolve()
    table.write_bytes(b"x")
    assert (
        "evaluate: damaged: samples.parquet has changed"
        in three_lines(["export", str(point), str(target)], capsys)[1]
    )
    assert not target.exists() and not list(tmp_path.glob(".tmp-*"))


def test_a_point_copied_without_its_store_names_the_store(
    grid: Path, tmp_path: Path, capsys: Printed
) -> None:
    alone = tmp_path / "copied" / "alone"
    shutil.copytree(grid / "heads=2", alone, symlinks=True)
    before = sorted(os.listdir(alone))
    commands: list[list[str]] = [
        ["report", str(alone)],
        ["run", str(alone)],
        ["evaluate", str(alone)],
        ["compare", str(alone), str(grid)],
        ["export", str(alone), str(tmp_path / "target")],
        ["run", *SMALL, "--student.heads", "2", "--out", str(alone)],
    ]
    for words in commands:
        lines = three_lines(words, capsys)
        assert (
            "the store that holds its stages is missing" in lines[0]
            and "stillage export" in lines[2]
        )
        assert lines[1].startswith(
            f"not there: {tmp_path / 'copied' / 'store'} (for data; evaluate; report;"
        )
    assert main(["run", str(alone), "--dry-run"]) == 2 and capsys.readouterr().out == ""
    assert sorted(os.listdir(alone)) == before and not (tmp_path / "target").exists()
    whole = Path(
        shutil.copytree(grid, tmp_path / "whole", symlinks=True)
    )  # with its store it is a run as any other
    assert main(["report", str(whole / "heads=2")]) == 0


def test_compare_leaves_a_failed_point_out_and_says_so(
    grid: Path, tmp_path: Path, capsys: Printed
) -> None:
    capsys.readouterr()
    assert main(["compare", str(grid), "--out", str(tmp_path / "compared")]) == 0
    printed = capsys.readouterr().out
    assert (
        f"left out, their evaluation is not finished: {grid / 'heads=3'}" in printed
        and "nothing was audited" in printed
    )
    lines = three_lines(["compare", str(grid / "heads=2"), str(grid / "heads=3")], capsys)
    assert (
        lines[0].endswith("heads=3 has no finished evaluation.") and "stillage evaluate" in lines[2]
    )


def test_keys_recorded_are_those_of_the_plan(run: Path) -> None:
    from stillage.experiment.context import make_context
    from stillage.experiment.folders import earlier_config
    from stillage.experiment.plan import plan
    from stillage.run.stop import Stop

    config = earlier_config(run)
    assert config is not None
    found = stage_keys(plan(make_context(config, Stop(), lambda name, facts: None)))
    assert found == {name: recorded_key(run / name) for name in STAGES}


def test_a_report_with_private_texts_says_so_and_how_to_undo_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, hidden = (
        Config(out=tmp_path / name, report=ReportConfig(show_text=name == "shown"))
        for name in ("shown", "hidden")
    )
    warn_of_texts([shown])
    assert capsys.readouterr().err == ""  # no report was written
    for one in (shown, hidden):
        (one.out / "report").mkdir(parents=True)
        (one.out / "report" / "report.html").write_text("a page")
    warn_of_texts([hidden, shown])
    said = capsys.readouterr().err
    assert (
        f"warning: private texts are in {tmp_path / 'shown' / 'report'}: give it to nobody" in said
    )
    assert f"stillage report {tmp_path / 'shown'} --show-text false" in said
    assert "hidden" not in said
