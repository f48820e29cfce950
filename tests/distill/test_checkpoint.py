"""Checkpoints: exact, trusted only while whole, and as few as are needed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from stillage.distill.checkpoint import (
    Best,
    State,
    checkpoint_damage,
    hashes,
    is_kept,
    newest_sound,
    restore,
    save,
    trained_weights,
)
from stillage.errors import CheckpointError
from stillage.run.folder import read_json, write_text

IDENTITY = {"schema": 1, "seed": 3, "params": {"alpha": 0.1}}


def trained(steps: int) -> tuple[nn.Module, torch.optim.AdamW]:
    """A model of two layers, the first of them frozen, after so many steps of AdamW."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    optimiser = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=0.1)
    for step in range(steps):
        optimiser.zero_grad()
        model(torch.full((5, 3), float(step)) + torch.arange(5)[:, None]).square().sum().backward()
        optimiser.step()
    return model, optimiser


def saved(folder: Path, step: int, state: State | None = None) -> Path:
    model, optimiser = trained(step)
    state = state or State(step=step)
    return save(folder, state, model, optimiser, IDENTITY, {"times": torch.arange(step)})


def test_weights_buffers_moments_and_state_come_back(tmp_path: Path) -> None:
    best = Best(step=1, loss=2.5, folder="best", files={})
    state = State(step=3, trained_tokens=70, best=best, kept=[best], rollout={"threshold": 0.2})
    (tmp_path / "best").mkdir()
    path = saved(tmp_path, 3, state)
    model, optimiser = trained(0)
    again, tensors = restore(path, model, optimiser, IDENTITY)
    assert again == state
    expected_model, expected_optimiser = trained(3)
    for name, tensor in expected_model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    one, other = optimiser.state_dict()["state"], expected_optimiser.state_dict()["state"]
    assert one.keys() == other.keys()
    for parameter, entries in other.items():
        assert all(torch.equal(one[parameter][name], value) for name, value in entries.items())
    assert tensors["times"].tolist() == [0, 1, 2]


def test_only_what_training_changes_is_kept(tmp_path: Path) -> None:
    names = set(trained_weights(trained(0)[0]))
    assert "0.weight" not in names and {"2.weight", "1.running_mean"} <= names


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    path, (model, optimiser) = saved(tmp_path, 2), trained(0)
    other = {**IDENTITY, "params": {"alpha": 0.2}}
    with pytest.raises(CheckpointError, match=r"params\.alpha: 0\.1 there, 0\.2 here"):
        restore(path, model, optimiser, other)
    with pytest.raises(CheckpointError, match="another version"):
        restore(path, model, optimiser, {**IDENTITY, "schema": 2})


@pytest.mark.parametrize("how", ["cut", "flipped", "removed", "added", "manifest"])
def test_any_damage_is_found_and_the_one_before_is_taken(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    before, path = saved(tmp_path, 1), saved(tmp_path, 2)
    assert checkpoint_damage(path) == "" and newest_sound(tmp_path) == path
    file = path / ("manifest.json" if how == "manifest" else "optimiser.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    if how == "added":
        write_text(path / "more.txt", "more")
    elif how == "removed":
        file.unlink()
    else:
        file.write_bytes(
            bytes(content) if how == "flipped" else bytes(content[: len(content) // 2])
        )
    name = {"added": "more.txt", "manifest": "manifest.json"}.get(how, file.name)
    assert checkpoint_damage(path).startswith(name)
    with caplog.at_level(logging.WARNING, "stillage"):
        assert newest_sound(tmp_path) == before
    assert "is damaged and skipped" in caplog.text
    assert (tmp_path / "damaged-step-00000002").is_dir() and not path.exists()


def test_a_checkpoint_is_worth_nothing_without_the_weights_it_names(tmp_path: Path) -> None:
    write_text(tmp_path / "best" / "model.safetensors", "weights")
    best = Best(step=1, loss=1.0, folder="best", files=hashes(tmp_path / "best"))
    path = saved(tmp_path, 2, State(step=2, best=best))
    assert newest_sound(tmp_path) == path
    write_text(tmp_path / "best" / "model.safetensors", "others")
    assert "best weights" in checkpoint_damage(path) and newest_sound(tmp_path) is None


def test_the_newest_two_stay_and_the_weights_that_they_name(tmp_path: Path) -> None:
    for step, name in ((1, "a"), (2, "b"), (3, "c")):
        write_text(tmp_path / name / "model.safetensors", name)
        best = Best(step=step, loss=1.0, folder=name, files=hashes(tmp_path / name))
        saved(tmp_path, step, State(step=step, best=best))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"step-00000002", "step-00000003", "b", "c"}
    assert read_json(tmp_path / "step-00000003" / "state.json")["identity"] == IDENTITY


def test_validations_are_ranked_by_rouge_then_loss_and_the_earlier_wins() -> None:
    def best(loss: float, rouge_l: float | None = None) -> Best:
        return Best(step=0, loss=loss, rouge_l=rouge_l, folder="", files={})

    assert not is_kept(State(), best(1.0), 0)
    full = State(kept=[best(1.0), best(2.0)])
    assert is_kept(full, best(1.5), 2) and is_kept(full, best(9.0), 3)
    assert not is_kept(full, best(2.0), 2), "as good, and later"
    by_rouge = State(kept=[best(1.0, 0.5)])
    assert is_kept(by_rouge, best(9.0, 0.6), 1) and is_kept(by_rouge, best(0.9, 0.5), 1)
    assert not is_kept(by_rouge, best(0.1, 0.4), 1)
