"""A measure in one file: it runs as a stage, is shown, and is told what is wrong with it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stillage.cli import main
from stillage.measures import MEASURES
from stillage.measures.params import measure_params
from stillage.plugins.plugin import deciding, plugged
from stillage.run.flags import from_flags
from stillage.run.folder import read_json
from stillage.run.parse import build
from stillage.run.results import read_results

FILE = Path(__file__).parents[2] / "docs/how-to/plugin/measure.py"
TINY = (
    "run biographies --data.people 16 --tokenizer.vocab-size 300 --threads 1 --jobs 1 "
    "--stages distill audit --teacher.layers 1 --teacher.width 16 --teacher.heads 2 "
    "--teacher-train.epochs 1 --student.layers 1 --student.width 16 --student.heads 2 "
    "--student-train.epochs 1 --audit.no-counterfactual --audit.no-no-teacher "
    "--audit.attacks loss --audit.fprs 0.5 --audit.measures sure"
).split()
HEAD = """
from dataclasses import dataclass, replace
import pyarrow as pa
from stillage.measures.measure import Measure, Measured
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("measure") / "run"
    assert main([*TINY, "--plugin", str(FILE), "--out", str(out)]) == 0
    return out


@pytest.fixture
def finished(made: Path, tmp_path: Path) -> Path:
    """The run, to be changed."""
    shutil.copytree(made, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def test_the_documented_measure_is_one_file_that_brings_everything(finished: Path) -> None:
    assert len(FILE.read_text().splitlines()) <= 120
    table = pq.read_table(finished / "sure" / "sure.parquet").to_pylist()
    results = read_results(finished / "sure" / "results.parquet")
    assert len(table) == 2 * 32 and len(results) == 4
    for row in results:
        shares = [
            one["share"] for one in table if (one["model"], one["part"]) == (row.model, row.dataset)
        ]
        assert row.value == pytest.approx(sum(shares) / len(shares)) and row.n == 16
    html = (finished / "report" / "report.html").read_text()
    assert '<section id="sure">' in html and "How sure are the models?" in html


def test_it_runs_again_for_its_own_settings_and_for_nothing_else(finished: Path) -> None:
    def redone(*words: str) -> set[str]:
        def keys() -> dict[str, str]:
            return {
                path.parent.name: read_json(path)["key"]
                for path in finished.glob("*/manifest.json")
            }

        before = keys()
        plugin = ["--plugin", str(FILE), "--out", str(finished), "--accept-changes"]
        assert main([*TINY, *plugin, *words]) == 0
        return {name for name, key in keys().items() if before.get(name) != key}

    assert redone() == set()
    assert redone("--audit.params.sure.above", "0.5") == {"sure", "report"}
    settings = read_json(finished / "sure" / "manifest.json")["settings"]
    assert settings["params"] == {"above": 0.5} and list(settings["plugins"]) == ["measure.py"]
    again = redone("--audit.params.sure.above", "0.5", "--audit.level", "0.9")
    assert again == {"audit", "sure", "report"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--audit.measures", "sur"], ["No measure of that name", "sur", "Did you mean sure?"]),
        (["--audit.params.sure.abov", "1"], ["abov"]),
        (["--audit.params.sure.above", "much"], ["above"]),
        (["--audit.params.other.above", "1"], ["other.above"]),
    ],
)
def test_wrong_settings_are_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: list[str]
) -> None:
    out = tmp_path / "run"
    assert main([*TINY, "--plugin", str(FILE), *words, "--out", str(out)]) == 2
    printed = capsys.readouterr().err
    assert all(word in printed for word in said) and not out.exists(), printed


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("3", ["it is of type int", "Make it a stillage.measures.measure.Measure."]),
        ("Measure(name='other', run=print)", ["its own name is 'other'"]),
        ("Measure(name='sure', run=print, reads=('levle',))", ["reads: levle"]),
        ("Measure(name='sure', run=print, params=3)", ["params is 3"]),
        ("Measure(name='sure', run=3)", ["run: int", "Make both functions."]),
        ("Measure(name='sure', run=print, needs='audit')", ["needs: 'audit'"]),
    ],
)
def test_entries_that_are_no_measures_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], entry: str, said: list[str]
) -> None:
    (tmp_path / "mine.py").write_text(f"{HEAD}\nMEASURES = {{'sure': {entry}}}\n")
    assert main([*TINY, "--plugin", str(tmp_path / "mine.py"), "--dry-run"]) == 2
    printed = capsys.readouterr().err
    assert "MEASURES['sure']" in printed and all(word in printed for word in said), printed


@pytest.mark.parametrize("name", [*MEASURES, "audit", "student_x", "inputs", "aside"])
def test_names_that_are_taken_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    entry = f"Measure(name='{name}', run=print)"
    (tmp_path / "mine.py").write_text(f"{HEAD}\nMEASURES = {{'{name}': {entry}}}\n")
    assert main([*TINY, "--plugin", str(tmp_path / "mine.py"), "--dry-run"]) == 2
    printed = capsys.readouterr().err
    assert "another name" in printed and name in printed


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    raise ValueError('no luck')", ["mine.py failed", "ValueError: no luck"]),
        ("    return {}", ["measure sure gave back", "it returned dict"]),
        (
            "    return Measured(tables={'results': pa.table({'a': [1]})})",
            ["a table is called results"],
        ),
        ("    return Measured(results=None)", ["tables, results: dict, NoneType"]),
        ("    given.read('audit/scores')", ["reads a stage that it does not name", "needs: none"]),
        ("    return Measured(tables={'t': [1]})", ["tables['t'] is list"]),
        ("    return Measured(results=[3])", ["a result is int"]),
        (
            "    row = replace(given.settings.base, metric='m', value='high')\n"
            "    return Measured(results=[row])",
            ["column value of 'm' is 'high'"],
        ),
        (
            "    row = replace(given.settings.base, metric='m', value=1.0, stage='audit')\n"
            "    return Measured(results=[row])",
            ["the stage of 'm' is 'audit'"],
        ),
    ],
)
def test_a_measure_that_fails_ends_the_run_in_three_lines_and_keeps_the_rest(
    finished: Path, capsys: pytest.CaptureFixture[str], body: str, said: list[str]
) -> None:
    mine = finished.parent / "mine.py"
    code = f"{HEAD}\ndef work(given):\n{body}\n\n"
    mine.write_text(code + "MEASURES = {'sure': Measure(name='sure', run=work)}\n")
    words = ["--plugin", str(mine), "--out", str(finished), "--accept-changes"]
    capsys.readouterr()
    assert main([*TINY, *words]) == 2
    printed = capsys.readouterr().err
    assert all(word in printed for word in said) and "Traceback" not in printed, printed
    assert (finished / "audit" / "results.parquet").is_file()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], (False, (1, 2), "")),
        (["--audit.params.sure.strict", "true"], (True, (1, 2), "")),
        (["--audit.params.sure.counts", "3 4 5"], (False, (3, 4, 5), "")),
        (["--audit.params.sure.mark=-x"], (False, (1, 2), "-x")),
    ],
)
def test_settings_of_every_kind_can_be_typed(
    tmp_path: Path, words: list[str], wanted: tuple[object, ...]
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(
        f"{HEAD}\n@dataclass(frozen=True, kw_only=True)\nclass Own:\n    strict: bool = False\n"
        "    counts: tuple[int, ...] = (1, 2)\n    mark: str = ''\n\n"
        "MEASURES = {'sure': Measure(name='sure', run=print, params=Own)}\n"
    )
    config = build(from_flags(["--audit.measures", "sure", *words]))
    with plugged([mine]):
        own = measure_params(config.audit)["sure"]
    assert dataclasses.astuple(own) == wanted  # pyright: ignore[reportArgumentType]


def test_two_files_of_one_name_are_both_a_part_of_the_key(tmp_path: Path) -> None:
    files = [tmp_path / name / "same.py" for name in ("one", "two")]
    for file in files:
        file.parent.mkdir()
        name = file.parent.name
        file.write_text(f"{HEAD}\nMEASURES = {{'{name}': Measure(name='{name}', run=print)}}\n")
    with plugged(files) as plugins:
        before = deciding(plugins, ["one"])
    files[0].write_text(files[0].read_text() + "# changed\n")
    with plugged(files) as plugins:
        assert deciding(plugins, ["one"]) != before
