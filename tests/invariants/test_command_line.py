"""What must not change a training does not change it, through the command line; every method is picked up by itself.

One grid holds everything: its points share data, tokenizer and teacher in one store. The same promises are kept in-process,
and for more settings, by tests/contracts and tests/distill; here it is the whole way from a config file to a model folder.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from stillage.cli import main
from stillage.distill.journal import Journal
from stillage.distill.methods import METHODS
from stillage.distill.settings import setting_fields
from stillage.errors import CapabilityError
from stillage.run.results import read_results

QUICK = ("sft", "distillm")
LIVELY: dict[
    str, dict[str, object]
] = {  # settings under which six steps see all that a rollout can do
    "init": {"epochs": 2},
    "seqkd": {"decoding": "sampling"},
    "imitkd": {"data_rate_end": 0.3},
    "gkd": {"student_fraction": 0.6, "capacity": 20},
    "distillm": {"init_threshold": 0.8, "capacity": 12, "loss_eps": 0.0},
    "minillm": {"num_rollouts": 16, "inner_epochs": 2},
}
VARIANTS = {
    "whole": {"student_train.micro_batch_size": 0},
    "single": {"student_train.micro_batch_size": 1},
    "packed": {"student_train.packing": True},
    "lora": {"student.lora_rank": 2, "student.lora_dropout": 0, "student_train.lr_peak": 0.1},
}
CONFIG = {
    "stages": ["distill", "evaluate"],
    "threads": 1,
    "data.people": 24,
    "data.template": "raw",
    "data.max_tokens": 128,
    "tokenizer.vocab_size": 600,
    "teacher": {"layers": 1, "width": 48, "heads": 2, "context": 128},
    "teacher_train.epochs": 2,
    "teacher_train.lr_peak": 5e-3,
    "student": {"layers": 1, "width": 32, "heads": 2, "context": 128},
    "student_train": {"epochs": 2, "batch_size": 8, "lr_peak": 3e-3, "checkpoint_every_s": 1e9},
    "generate": {"records": 2, "max_new_tokens": 4},
}
ALONE = {
    name: value
    for name, value in os.environ.items()
    if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
}
EACH = pytest.mark.parametrize(
    "method",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in METHODS],
)


def case_of(method: str) -> dict[str, object]:
    """The settings of one method: short texts, wherever it writes any."""
    names = setting_fields(METHODS[method].params)
    params = {
        **({"max_new_tokens": 6} if "max_new_tokens" in names else {}),
        **LIVELY.get(method, {}),
    }
    return {
        "distill.method": method,
        **{f"distill.params.{name}": value for name, value in params.items()},
    }


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with grid.json (YAML reads JSON): methods x variants."""
    folder = tmp_path_factory.mktemp("grid")
    cases = {"method": {method: case_of(method) for method in METHODS}, "variant": VARIANTS}
    (folder / "grid.json").write_text(json.dumps({**CONFIG, "sweep": {"cases": cases}}))
    return folder


def words(
    grid: Path, method: str, variants: list[str], out: Path, verb: str = "distill"
) -> list[str]:
    return [
        verb,
        str(grid / "grid.json"),
        "--sweep.cases.method",
        method,
        "--sweep.cases.variant",
        *variants,
        "--out",
        str(out),
    ]


@pytest.fixture(scope="module")
def point(grid: Path) -> Callable[[str, str], Path]:
    """The student's folder of a method and variant; all variants of a method are trained when one is first asked for."""
    done: set[str] = set()

    def student(method: str, variant: str) -> Path:
        if method not in done:
            assert main(words(grid, method, ["whole"], grid / "out", "run")) == 0
            assert main(words(grid, method, list(VARIANTS), grid / "out")) == 0
            done.add(method)
        return grid / "out" / f"method={method}_variant={variant}" / "student"

    return student


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """These runs have one process, whoever started the tests."""
    for name in os.environ.keys() - ALONE.keys():
        monkeypatch.delenv(name)
    yield


def lines(student: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (student / "metrics.jsonl").read_text().splitlines()]


def validations(student: Path) -> list[float]:
    return [
        float(str(line["validation_loss"])) for line in lines(student) if "validation_loss" in line
    ]


def assert_equal(one: Path, two: Path) -> None:
    """Every logged number (losses, gradient norms, validations) to 1e-5, and the same texts and records.

    A term whose parts cancel, as a policy's gains and losses do, is only as exact as its parts, which are about a nat.
    """
    assert len(lines(one)) == len(lines(two)) > 6
    for first, second in zip(lines(one), lines(two), strict=True):
        assert first.pop("texts", "") == second.pop("texts", "")
        assert first == pytest.approx(second, rel=1e-5, abs=1e-6)
    assert (one / "provenance.parquet").read_bytes() == (two / "provenance.parquet").read_bytes()
    assert_same_weights(one, two)


def assert_same_weights(one: Path, two: Path) -> None:
    """To 1e-5 of their length. Not entry by entry: AdamW makes a step of full size out of the rounding of a zero gradient."""
    first, second = (load_file(folder / "model" / "model.safetensors") for folder in (one, two))
    difference = sum(float((first[name] - second[name]).square().sum()) for name in first) ** 0.5
    assert (
        difference <= 1e-5 * sum(float(tensor.square().sum()) for tensor in first.values()) ** 0.5
    )


@EACH
@pytest.mark.parametrize("variant", ["single", "packed"])
def test_micro_batches_and_packing_change_nothing(
    point: Callable[[str, str], Path], method: str, variant: str
) -> None:
    """Accumulation 8 x 1 = 1 x 8, packed = padded."""
    assert_equal(point(method, "whole"), point(method, variant))


@EACH
def test_chunked_is_dense(
    grid: Path,
    point: Callable[[str, str], Path],
    method: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same models, said to have a head that cannot be taken apart: whole logits are used, and a notice says so."""
    chunked = point(method, "whole")

    def refuse(model: object) -> None:
        raise CapabilityError("This head cannot be taken apart.", "a test says so")

    monkeypatch.setattr("stillage.models.decoder.check_head", refuse)
    assert main(words(grid, method, ["whole"], tmp_path)) == 0
    assert (
        "student: This head cannot be taken apart. Its own logits are used"
        in capsys.readouterr().err
    )
    assert_equal(chunked, tmp_path / f"method={method}_variant=whole" / "student")


@EACH
def test_stopped_at_a_random_step_and_continued_is_bit_identical(
    grid: Path,
    point: Callable[[str, str], Path],
    method: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGTERM comes while a step of the student is written down; the same command then goes on from its checkpoint."""
    whole = point(method, "whole")
    total = json.loads((whole / "summary.json").read_text())["steps"]
    last, stepped = random.Random(method).randrange(1, total), Journal.stepped

    def step_and_signal(journal: Journal, entry: dict[str, object], tokens: int) -> None:
        stepped(journal, entry, tokens)
        if entry["step"] == last and Path(journal.metrics.name).parent.name.startswith("student-"):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Journal, "stepped", step_and_signal)
    command = words(grid, method, ["whole"], tmp_path)
    assert main(command) == 75
    monkeypatch.undo()
    student = tmp_path / f"method={method}_variant=whole" / "student"
    assert [path.name for path in (student / "checkpoints").glob("step-*")] == [f"step-{last:08d}"]
    assert main(command) == 0
    assert f"continues after step {last} of {total}" in (student / "train.log").read_text()
    for file in ("model/model.safetensors", "metrics.jsonl", "provenance.parquet"):
        assert (student / file).read_bytes() == (whole / file).read_bytes(), file


@EACH
def test_an_adapter_beside_its_model_says_what_the_merged_model_says(
    grid: Path, point: Callable[[str, str], Path], method: str, tmp_path: Path
) -> None:
    """Validation loss at the end of its training = before another one, unmerged (student.adapter) and merged (student.path)."""
    adapter = point(method, "lora") / "model"
    assert (adapter / "adapter_config.json").is_file()
    starts = {
        "unmerged": ["--student.adapter", str(adapter)],
        "merged": ["--student", str(adapter), "--student.lora-rank", "2"],
    }
    found = {}
    for name, start in starts.items():
        command = words(grid, method, ["whole"], tmp_path / name)
        assert main([*command, *start, "--student-train.max-steps", "1"]) == 0
        found[name] = validations(tmp_path / name / f"method={method}_variant=whole" / "student")[0]
    untrained = validations(point(method, "lora"))[0]
    assert found["unmerged"] == pytest.approx(found["merged"], rel=1e-5)
    if (adapter.parent / "last").is_dir():  # a method that keeps the best weights
        assert found["unmerged"] == pytest.approx(min(validations(point(method, "lora"))), rel=1e-5)
    else:
        assert found["unmerged"] == pytest.approx(validations(point(method, "lora"))[-1], rel=1e-5)
    assert abs(found["unmerged"] - untrained) > 1e-3, "the adapter does something"


def torchrun(command: list[str], processes: int = 2) -> subprocess.CompletedProcess[str]:
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(processes),
    ]
    environment = {**ALONE, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*launcher, "-m", "stillage", *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def two_processes(grid: Path) -> Callable[[str], Path]:
    """The run folder of a method, by two processes; the quick methods in one go, the others in another."""

    def run(method: str) -> Path:
        methods = [name for name in METHODS if (name in QUICK) == (method in QUICK)]
        out = grid / ("two" if method in QUICK else "two-slow")
        if not out.exists():
            command = [
                "run",
                str(grid / "grid.json"),
                "--sweep.cases.method",
                *methods,
                "--sweep.cases.variant",
                "whole",
            ]
            done = torchrun([*command, "--out", str(out)])
            assert done.returncode == 0, done.stderr
            assert done.stderr.count("student: done") == len(methods), "one process speaks"
        return out / f"method={method}_variant=whole"

    return run


@EACH
def test_two_processes_are_one(
    point: Callable[[str, str], Path], two_processes: Callable[[str], Path], method: str
) -> None:
    """torchrun: weights, losses, and what the evaluation says of them."""
    one, two = point(method, "whole").parent, two_processes(method)
    assert json.loads((two / "env.json").read_text())["processes"] == 2
    assert_equal(one / "student", two / "student")
    first, second = (read_results(run / "report" / "results.parquet") for run in (one, two))
    assert [repr(dataclasses.replace(r, value=0, low=0, high=0)) for r in first] == [
        repr(dataclasses.replace(r, value=0, low=0, high=0)) for r in second
    ]
    of_tokens = [
        (a, b)
        for a, b in zip(first, second, strict=True)
        if a.metric in ("perplexity", "bits_per_byte")
    ]
    assert of_tokens
    for a, b in of_tokens:
        assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), rel=1e-5)


@pytest.mark.slow
def test_a_run_that_two_processes_began_is_ended_by_one(
    grid: Path, point: Callable[[str, str], Path]
) -> None:
    """Stages do not remember how many processes made them."""
    out = grid / "begun"
    assert torchrun(words(grid, "sft", ["whole"], out, "data")).returncode == 0
    assert main(words(grid, "sft", ["whole"], out)) == 0
    assert_equal(point("sft", "whole"), out / "method=sft_variant=whole" / "student")
    shutil.rmtree(out)
