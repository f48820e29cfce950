"""--plugin FILE.py: a divergence, a method or an attack of the user's own, and every way to get it wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from stillage.audit.attacks import ATTACKS
from stillage.cli import main
from stillage.cli.command_line import plugin_files
from stillage.distill.methods import METHODS
from stillage.distill.settings import DIVERGENCE_PARAMS
from stillage.experiment.parallel import command_of
from stillage.functional.divergence import DIVERGENCES

EXAMPLES = Path(__file__).parents[2] / "docs/how-to/plugin"
TINY = (
    "--data.people 16 --tokenizer.vocab-size 300 --threads 1 --teacher.layers 1 "
    "--teacher.width 16 --teacher.heads 2 --teacher-train.epochs 1 --student.layers 1 "
    "--student.width 16 --student.heads 2 --student-train.epochs 1 "
    "--generate.max-new-tokens 4 --generate.records 2 --audit.no-counterfactual "
    "--audit.fprs 0.5"
).split()
FINE = """
def double(p, q, alpha=0.1):
    return 2 * (p.exp() - q.exp()).square().sum(-1)
"""
ATTACK = """
from stillage.types import Attack, Query
def score(stats):
    return {result}
ATTACKS = {{"mine": Attack(name="mine", paper="-", access="logprob", queries={queries}, score={score})}}
"""
METHOD = """
from dataclasses import dataclass, field
from stillage.types import Method
@dataclass(frozen=True, kw_only=True)
class Params:
    {field}
entry = Method(name="{name}", paper="-", params=Params, terms=lambda step, params: {{}}, needs_teacher=lambda params: False)
METHODS = {{"mine": entry}}
"""


def asking(queries: str, score: str = "score", result: str = "0.0") -> str:
    """A plugin with one attack."""
    return ATTACK.format(queries=queries, score=score, result=result)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def f(p, q:\n    pass", ["is not valid Python", "line 1: def f(p, q:"]),
        ("x = 1\nimport nowhere_to_be_found", ["could not be read", "line 2: ModuleNotFoundError"]),
        ("METHOD = {}", ["adds nothing", "defined: METHOD"]),
        ("DIVERGENCES = [1]", ["DIVERGENCES", "type list", "dictionary"]),
        ("DIVERGENCES = {'a b': max}", ["'a b'", "no name"]),
        ("DIVERGENCES = {'mine': 3}", ["DIVERGENCES['mine']", "type int"]),
        ("DIVERGENCES = {'mine': lambda p: p}", ["DIVERGENCES['mine']", "(p)"]),
        ("DIVERGENCES = {'mine': lambda p, q, order: p}", ["takes order", "alpha, beta"]),
        ("DIVERGENCES = {'fkl': lambda p, q: p}", ["divergence 'fkl' exists already"]),
        (
            FINE + "DIVERGENCES = {'twice': double}\nMETHODS = {'kd': 1}",
            ["METHODS['kd']", "type int"],
        ),
        (
            METHOD.format(field="a: int = 1", name="other"),
            ["METHODS['mine']", "its own name is 'other'"],
        ),
        (METHOD.format(field="a: int", name="mine"), ["setting a", "default none"]),
        (
            METHOD.format(field="a: list = field(default=None)", name="mine"),
            ["setting a", "bool, int, float, str"],
        ),
        (
            "from stillage.distill.methods.sft import METHOD\nMETHODS = {'sft': METHOD}",
            ["method 'sft' exists already"],
        ),
        (
            "from stillage.audit.attacks.loss import LOSS\nATTACKS = {'l': LOSS}",
            ["ATTACKS['l']", "'loss'"],
        ),
        (
            "from stillage.audit.attacks.loss import LOSS\nATTACKS = {'loss': LOSS}",
            ["attack 'loss' exists already"],
        ),
        ("ATTACKS = {'l': len}", ["ATTACKS['l']", "builtin_function"]),
        (
            asking("(Query(party='target'))"),
            ["ATTACKS['mine']", "tuple of queries, (Query(...),)"],
        ),
        (asking("('target',)"), ["query: 'target'", "stillage.types.Query"]),
        (asking("(Query(party='student'),)"), ["party 'student'", "Ask one of: target, reference"]),
        (
            asking("(Query(party='target', transform='upper'),)"),
            ["transform 'upper'", "one of: as_is"],
        ),
        (asking("(Query(party='target', transform='text'),)"), ["the record for its text"]),
        (
            asking("(Query(party='target'),) * 2"),
            ["2 queries; score: too many", "one reply for each query"],
        ),
        (asking("(Query(party='target'),)", score="3"), ["score: int"]),
    ],
)
def test_what_cannot_be_used_is_three_lines_and_exit_2(
    code: str, said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(code)
    assert (
        main(
            [
                "run",
                "biographies",
                "--dry-run",
                "--out",
                str(tmp_path / "run"),
                "--plugin",
                str(tmp_path / "mine.py"),
            ]
        )
        == 2
    )
    printed = capsys.readouterr().err
    assert all(part in printed for part in said), printed
    assert len(printed.strip().splitlines()) == 3 and "Traceback" not in printed
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
    assert not {"mine", "twice", "l"} & {*METHODS, *DIVERGENCES, *DIVERGENCE_PARAMS, *ATTACKS}


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--plugin"], "takes a Python file"), (["--plugin", "no.py"], "no such plugin")],
)
def test_a_missing_file_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "biographies", "--dry-run", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_config_cannot_name_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text(f"plugin: {EXAMPLES / 'method.py'}\n")
    assert main(["run", str(tmp_path / "a.yaml")]) == 2
    assert "Unknown setting 'plugin'" in capsys.readouterr().err


def test_flags_are_taken_out_of_the_command_line() -> None:
    files, rest = plugin_files(["a.yaml", "--plugin", "x.py", "--seed", "2", "--plugin=y.py"])
    assert (files, rest) == ([Path("x.py"), Path("y.py")], ["a.yaml", "--seed", "2"])
    command = command_of(Path("run"), None, [Path("/x.py")], "teacher")
    assert command[-1] == "--plugin=/x.py" and command[-3:-1] == ["--only", "teacher"]


@pytest.mark.parametrize(
    ("kind", "file", "name"),
    [
        ("divergences", "divergence", "hellinger"),
        ("methods", "method", "trust"),
        ("attacks", "attack", "median"),
    ],
)
def test_lists_show_what_a_plugin_adds(
    kind: str, file: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", kind, "--plugin", str(EXAMPLES / f"{file}.py")]) == 0
    assert any(line.split()[0] == name for line in capsys.readouterr().out.splitlines() if line)
    assert main(["ls", kind]) == 0
    assert name not in capsys.readouterr().out


def keys(out: Path) -> dict[str, str]:
    return {
        path.parent.name: json.loads(path.read_text())["key"]
        for path in out.glob("*/manifest.json")
    }


def test_a_run_with_plugins_records_them_and_runs_again_what_they_decide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, files = tmp_path / "run", [tmp_path / name for name in ("divergence.py", "attack.py")]
    for file in files:
        file.write_bytes((EXAMPLES / file.name).read_bytes())
    plugins = [word for file in files for word in ("--plugin", str(file))]
    words = [
        "run",
        *TINY,
        "--out",
        str(out),
        "--distill.params.divergence",
        "hellinger",
        "--audit.attacks",
        "loss",
        "median",
    ]
    assert main(words) == 2, "the names are unknown without the files"
    assert "or give the --plugin file that adds it" in capsys.readouterr().err
    assert main([*words, *plugins]) == 0
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    settings = {
        path.parent.name: json.loads(path.read_text())["settings"]
        for path in out.glob("*/manifest.json")
    }
    assert {name for name in settings if "plugins" in settings[name]} == {"student", "audit"}
    assert settings["student"]["plugins"] == settings["audit"]["plugins"] == digests
    recorded = json.loads((out / "env.json").read_text())["plugins"]
    assert [(entry["sha256"], entry["adds"]) for entry in recorded] == [
        (digests["divergence.py"], ["hellinger"]),
        (digests["attack.py"], ["median"]),
    ]
    first = keys(out)
    assert "kd" in json.loads((out / "student" / "metrics.jsonl").read_text().splitlines()[1])
    capsys.readouterr()
    files[0].write_text(files[0].read_text() + "\n# changed\n")
    assert main([*words, *plugins]) == 0
    assert "teacher: skipped" in capsys.readouterr().err
    again = keys(out)
    assert {name for name in first if first[name] != again[name]} == {
        "student",
        "evaluate",
        "audit",
        "report",
    }


def test_a_plugin_that_fails_later_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "def broken(p, q):\n    return p.no_such_thing\n\nDIVERGENCES = {'broken': broken}\n"
    )
    words = [
        "--stages",
        "distill",
        "--distill.params.divergence",
        "broken",
        "--plugin",
        str(tmp_path / "mine.py"),
    ]
    assert main(["distill", *TINY, *words, "--out", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert "mine.py failed" in printed and "line 2, broken: AttributeError" in printed


@pytest.mark.slow
def test_stages_in_processes_of_their_own_get_the_plugin(tmp_path: Path) -> None:
    """Two students are ready at the same time, so that each is trained by a child."""
    words = [
        "run",
        *TINY,
        "--method",
        "trust",
        "--plugin",
        str(EXAMPLES / "method.py"),
        "--audit.counterfactual",
    ]
    assert (
        main(
            [*words, "--stages", "distill", "audit", "--jobs", "2", "--out", str(tmp_path / "run")]
        )
        == 0
    )
    settings = json.loads(
        (tmp_path / "run" / "student_counterfactual" / "manifest.json").read_text()
    )["settings"]
    assert list(settings["plugins"]) == ["method.py"]
