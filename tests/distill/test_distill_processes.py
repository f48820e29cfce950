"""One process or two (gloo): the same losses, texts and stop, also when a step has fewer records than processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from accelerate import Accelerator
from safetensors.torch import load_file

from stillage.distill.methods import METHODS
from stillage.errors import Interrupted

CONFTEST = Path(__file__).parents[1] / "conftest.py"
CASES: dict[str, dict[str, object]] = {
    "kd-7": {
        "method": "kd",
        "settings": {"ce_weight": "0.5"},
        "batch_size": 7,
        "keep_by": "rouge_l",
        "keep_prompts": 3,
    },
    "kd-1": {"method": "kd", "settings": {"ce_weight": "0.5"}, "batch_size": 1},
    "gkd": {
        "method": "gkd",
        "settings": {"student_fraction": 0.6, "capacity": 20, "max_new_tokens": 6},
        "batch_size": 7,
    },
    "gkd-1": {"method": "gkd", "settings": {"max_new_tokens": 6}, "batch_size": 1},
    "imitkd": {
        "method": "imitkd",
        "settings": {"data_rate_end": 0.3, "max_new_tokens": 6},
        "batch_size": 7,
    },
    "distillm": {
        "method": "distillm",
        "settings": {
            "init_threshold": 1.0,
            "capacity": 14,
            "replay_ratio": "constant",
            "max_new_tokens": 6,
        },
        "batch_size": 7,
    },
    "minillm": {
        "method": "minillm",
        "settings": {"num_rollouts": 14, "inner_epochs": 2, "max_new_tokens": 6},
        "batch_size": 7,
    },
    "minillm-1": {
        "method": "minillm",
        "settings": {"num_rollouts": 3, "inner_epochs": 2, "max_new_tokens": 6},
        "batch_size": 1,
    },
    "seqkd": {
        "method": "seqkd",
        "settings": {"decoding": "sampling", "max_new_tokens": 6},
        "batch_size": 7,
    },
}
LISTED = {case["method"] for case in CASES.values()}
CASES |= {name: {"method": name, "batch_size": 7} for name in METHODS if name not in LISTED}
"""Every method: one that nobody wrote a case for runs with its own settings."""
SCRIPT = """
import json, sys, pathlib, importlib.util
from stillage.errors import Interrupted
spec = importlib.util.spec_from_file_location("small_training", sys.argv[1])
small = importlib.util.module_from_spec(spec); spec.loader.exec_module(small)
root, rank = pathlib.Path(sys.argv[2]), int(sys.argv[3])
for name, settings in json.loads(sys.argv[4]).items():
    settings = {**settings, "micro_batch_size": 2, "max_steps": 6}
    folder = root / f"two-{name}"
    try:
        small.small_train(folder, should_stop=small.stop_after(3) if rank == 1 else None, **settings)
        raise SystemExit("rank 1 asked to stop, and nobody did")
    except Interrupted:
        small.small_train(folder, **settings)
"""


def test_the_others_hear_that_they_may_end_once_the_first_has_saved(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who says that it ends has the first ended soon after, which must not be in the middle of its checkpoint."""
    saved: list[int] = []
    monkeypatch.setattr(
        Accelerator,
        "wait_for_everyone",
        lambda _: saved.append(len(list(tmp_path.glob("run/checkpoints/step-*")))),
    )
    with pytest.raises(Interrupted):
        small.train(tmp_path / "run", should_stop=small.stop_after(2))
    assert saved[-1] == 1


def test_a_finished_training_is_tidied_once_all_have_seen_that_it_is(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = small.train(tmp_path / "run", max_steps=1)[0]
    left = tmp_path / "run" / "checkpoints"
    left.mkdir()
    there: list[bool] = []
    monkeypatch.setattr(Accelerator, "wait_for_everyone", lambda _: there.append(left.exists()))
    assert small.train(tmp_path / "run", max_steps=1)[0] == first
    assert there == [True] and not left.exists()


def test_two_processes_are_one(
    small: SimpleNamespace, ranks: list[dict[str, str]], tmp_path: Path
) -> None:
    children = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                SCRIPT,
                str(CONFTEST),
                str(tmp_path),
                str(rank),
                json.dumps(CASES),
            ],
            env=ranks[rank],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [child.communicate(timeout=240)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    for name, settings in CASES.items():
        small.train(tmp_path / f"one-{name}", max_steps=6, **settings)
        one, two = (
            [
                json.loads(line)
                for line in (tmp_path / f"{kind}-{name}" / "metrics.jsonl").read_text().splitlines()
            ]
            for kind in ("one", "two")
        )
        assert len(one) == len(two)
        for first, second in zip(one, two, strict=True):
            assert first.pop("texts", "") == second.pop("texts", "")
            assert first == pytest.approx(second, rel=1e-5, abs=1e-6), name
        kept = [
            load_file(tmp_path / f"{kind}-{name}" / "model" / "model.safetensors")
            for kind in ("one", "two")
        ]
        difference = (
            sum(float((kept[0][weight] - kept[1][weight]).square().sum()) for weight in kept[0])
            ** 0.5
        )
        assert (
            difference
            <= 1e-3 * sum(float(tensor.square().sum()) for tensor in kept[0].values()) ** 0.5
        )
        provenance = [
            (tmp_path / f"{kind}-{name}" / "provenance.parquet").read_bytes()
            for kind in ("one", "two")
        ]
        assert provenance[0] == provenance[1]
