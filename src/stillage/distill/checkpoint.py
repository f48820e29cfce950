"""Training state on disk: written whole, and trusted only while every sha256 fits.

checkpoints/step-00000120/{weights, optimiser, rollout}.safetensors, state.json and, last,
manifest.json; rollout: how often each record was trained, and the texts that a rollout keeps. The
best weights so far are a Hugging Face folder beside them; a checkpoint names it with its hashes and
is worth nothing without it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from stillage.distill.training_identity import refuse_other
from stillage.run.folder import atomic, hash_files, list_files, read_json, remove, write_json

log = logging.getLogger("stillage")

MANIFEST = "manifest.json"
ROLLOUT = "rollout.safetensors"
KEEP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """Weights worth keeping: a folder below checkpoints/, and its files' hashes."""

    step: int
    loss: float
    rouge_l: float | None = None  # where validations are compared by it
    folder: str
    files: dict[str, str]


@dataclass(slots=True, kw_only=True)
class State:
    """Where a training stands: all but the weights, AdamW's moments and the texts."""

    step: int = 0  # optimiser steps done
    trained_tokens: int = 0
    train_s: float = 0.0  # over all attempts
    validation_loss: float | None = None  # the last one
    validation_rouge_l: float | None = None
    best: Best | None = None
    # keep_checkpoints of them, best first; the best of all may be one
    kept: list[Best] = field(default_factory=list)
    scaler: dict[str, Any] = field(default_factory=dict)  # of fp16's loss scaling
    rollout: dict[str, Any] = field(default_factory=dict)  # of its kind


def save(
    folder: Path,
    state: State,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    identity: dict[str, Any],
    rollout: Mapping[str, torch.Tensor],
) -> Path:
    """Write checkpoints/step-N whole, then remove what is no longer needed.

    identity: what a resume must agree with. rollout: counts and texts, as tensors.
    """
    path = folder / f"step-{state.step:08d}"
    with atomic(path) as temporary:
        temporary.mkdir()
        save_file(trained_weights(model), temporary / "weights.safetensors")
        save_file(optimiser_moments(model, optimiser), temporary / "optimiser.safetensors")
        save_file(dict(rollout), temporary / ROLLOUT)
        content = {"identity": identity, "state": dataclasses.asdict(state)}
        write_json(temporary / "state.json", content)
        write_json(temporary / MANIFEST, hashes(temporary))
    remove_old(folder, state)
    return path


def hashes(folder: Path) -> dict[str, str]:
    """sha256 of every file of a folder, by relative path."""
    return hash_files(folder, list_files(folder))


def checkpoint_damage(path: Path) -> str:
    """What is wrong with a checkpoint or the weights it names; empty if nothing is."""
    try:
        expected = read_json(path / MANIFEST)
    except (OSError, ValueError):
        return f"{MANIFEST} cannot be read"
    actual = hashes(path)
    actual.pop(MANIFEST)
    if wrong := sorted(name for name, _ in actual.items() ^ expected.items()):
        return f"{wrong[0]} is missing or changed"
    for entry in named(read_json(path / "state.json")["state"]):
        if hashes(path.parent / entry["folder"]) != entry["files"]:
            return f"{entry['folder']}, the best weights it names, are missing or changed"
    return ""


def named(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The model folders that a state on disk is worth nothing without."""
    return [*([state["best"]] if state["best"] else []), *state["kept"]]


def rank(weights: Best) -> tuple[float, ...]:
    """The key that the best validation has the least of."""
    return (weights.loss,) if weights.rouge_l is None else (-weights.rouge_l, weights.loss)


def is_kept(state: State, weights: Best, keep: int) -> bool:
    """Whether a validation is among the `keep` best; an earlier one as good is better."""
    return keep > 0 and (len(state.kept) < keep or rank(weights) < rank(state.kept[-1]))


def steps_saved(folder: Path) -> list[Path]:
    """Checkpoints on disk, newest first."""
    return sorted((path for path in folder.glob("step-*") if path.is_dir()), reverse=True)


def newest_sound(folder: Path) -> Path | None:
    """The newest checkpoint that verifies.

    Damaged ones are skipped with a notice, and renamed until the next is written.
    """
    for path in steps_saved(folder):
        wrong = checkpoint_damage(path)
        if not wrong:
            return path
        log.warning("The checkpoint %s is damaged and skipped: %s.", path, wrong)
        aside = path.with_name(f"damaged-{path.name}")
        remove(aside)
        path.rename(aside)
    return None


def restore(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, identity: dict[str, Any]
) -> tuple[State, dict[str, torch.Tensor]]:
    """Put weights and moments back; return state and tensors given as `rollout`.

    Raises CheckpointError where the checkpoint is of another training.
    """
    saved = read_json(path / "state.json")
    refuse_other(f"The checkpoint {path}", saved["identity"], identity)
    own = trained_weights(model)
    weights = load_file(path / "weights.safetensors")
    assert weights.keys() == own.keys(), sorted(weights.keys() ^ own.keys())
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(tensor)
    restore_moments(model, optimiser, load_file(path / "optimiser.safetensors"))
    state = saved["state"]
    best = None if state["best"] is None else Best(**state["best"])
    kept = [Best(**entry) for entry in state["kept"]]
    return State(**{**state, "best": best, "kept": kept}), load_file(path / ROLLOUT)


def trained_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """The trainable parameters (a tied one once) and persistent buffers, by name."""
    persistent = model.state_dict(keep_vars=True).keys()
    trained = {
        name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad
    }
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in persistent}
    return {name: tensor.contiguous() for name, tensor in {**trained, **buffers}.items()}


def optimiser_moments(
    model: nn.Module, optimiser: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    """The optimiser's state as {"parameter|entry": tensor}."""
    names: dict[torch.Tensor, str] = {tensor: name for name, tensor in model.named_parameters()}
    return {
        f"{names[parameter]}|{entry}": torch.as_tensor(value).contiguous()
        for parameter, entries in optimiser.state.items()
        for entry, value in entries.items()
    }


def restore_moments(
    model: nn.Module, optimiser: torch.optim.Optimizer, moments: dict[str, torch.Tensor]
) -> None:
    """Put `optimiser_moments` back, each on the device of its parameter."""
    parameters = dict(model.named_parameters())
    optimiser.state.clear()
    for key, tensor in moments.items():
        name, entry = key.rsplit("|", 1)
        parameter = parameters[name]
        optimiser.state[parameter][entry] = tensor.to(parameter.device)


def remove_old(folder: Path, state: State) -> None:
    """Remove all but the two newest checkpoints and the weights that they name."""
    kept = [path for path in steps_saved(folder) if path.name <= f"step-{state.step:08d}"][:KEEP]
    worth = [entry for path in kept for entry in named(read_json(path / "state.json")["state"])]
    names = {path.name for path in kept} | {entry["folder"] for entry in worth}
    for path in folder.iterdir():
        if path.name not in names:
            remove(path)
