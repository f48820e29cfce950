"""Every example does what it says, in less than sixty lines."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from stillage.run.folder import read_json

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "audit.ipynb"
SMALL = {
    "data": {"people": 24, "max_tokens": 96},
    "tokenizer": {"vocab_size": 300},
    "teacher": {"layers": 1, "width": 16},
    "student": {"layers": 1, "width": 16},
    "teacher_train": {"epochs": 1},
    "student_train": {"epochs": 1},
    "generate": {"records": 4, "max_new_tokens": 4},
    "audit": {"extract_tokens": 4, "fprs": [0.3]},
    "threads": 1,
}
"""Makes an experiment one of seconds."""


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def notebook_code() -> list[str]:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_each_is_short() -> None:
    lines = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    lines[NOTEBOOK.name] = len("\n".join(notebook_code()).splitlines())
    assert len(lines) == 8
    assert {name: count for name, count in lines.items() if count >= 60} == {}


def warnings_in(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """What other libraries warned of, on standard error."""
    said = capfd.readouterr().err.splitlines()
    return [line for line in said if "Warning" in line or line.startswith("[transformers]")]


@pytest.mark.parametrize("name", ["bare_loop", "trainer_loss"])
def test_a_loss_of_ours_goes_down_without_a_warning(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    losses = example(name).main()
    assert len(losses) == 20 and losses[-1] < 0.7 * losses[0]
    assert list(tmp_path.iterdir()) == []
    assert [str(one.message) for one in recwarn] == warnings_in(capfd) == []


def test_the_audit_finds_the_members_of_a_random_split(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report = example("audit_two_models").main(tmp_path)
    table = report.table()
    assert set(table["model"]) == {"teacher", "student"}
    assert read_json(report.folder / "audit" / "validity.json")["verdict"] == "valid"
    assert warnings_in(capfd) == []
    assert table["auc"].min() > 0.6  # what the teacher has learned by heart, and passed on
    assert (tmp_path / "roc.png").stat().st_size > 5000
    assert "<html" in (tmp_path / "report.html").read_text()[:300].lower()


def test_a_whole_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = example("whole_experiment").main(tmp_path / "run", SMALL)
    printed = capsys.readouterr().out
    assert "student_no_teacher" in printed and str(run.report) in printed
    config = (run.folder / "config.yaml").read_text()
    assert "divergence: jsd" in config and "people: 24" in config


def test_a_plugin_adds_its_entries(tmp_path: Path) -> None:
    run = example("own_entries").main(tmp_path / "run", SMALL)
    assert set(run.table()["attack"]) == {"loss", "worst_token"}
    assert "hellinger" in (run.folder / "config.yaml").read_text()


def test_the_divergence_of_the_plugin_is_one() -> None:
    import torch

    hellinger = example("own_entries").DIVERGENCES["hellinger"]
    p, q = torch.randn(2, 5, 7, dtype=torch.float64).log_softmax(-1)
    expected = 0.5 * (p.exp().sqrt() - q.exp().sqrt()).square().sum(-1)
    assert torch.allclose(hellinger(p, q), expected)
    assert torch.allclose(hellinger(p, p), torch.zeros(5, dtype=torch.float64))


def test_near_copies_are_found_however_they_were_changed() -> None:
    copies, repeated = example("near_copies").main()
    assert [(document, distance) for document, distance, _ in copies] == [(0, 0), (1, 3)]
    assert copies[1][2] == "the owl and the old cat went to sea in a pea green boat"
    assert (3, "they took some honey") in repeated


def test_near_copies_are_made_and_valued() -> None:
    pytest.importorskip("stillage.mosaic.equivalence")
    copies, (equivalent, rho) = example("mosaic_variations").main()
    assert [distance for kind, distance, *_ in copies if "replaced" in kind] == [3] * 4
    assert [kind.split()[-1] for kind, *_ in copies[::4]] == ["replaced", "10", "shuffled"]
    assert 1 < equivalent < 10 and rho == pytest.approx((equivalent - 1) / 9)


def test_the_notebook_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import matplotlib

    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    names: dict[str, object] = {}
    for number, code in enumerate(notebook_code()):
        exec(compile(code, f"cell {number}", "exec"), names)
    sys.modules.pop("audit_two_models", None)
    assert "AUC" in capsys.readouterr().out
    assert (tmp_path / "report.html").is_file()
