"""Gradient norms against autograd in float64, and weights that are shaken and put back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from stillage.errors import CapabilityError, ConfigError, DataError
from stillage.models import gradients
from stillage.models.gradients import gradient_norms
from stillage.models.perturb import perturbed
from stillage.types import Example


def records(count: int = 4, vocab: int = 97) -> list[Example]:
    rng, made = np.random.default_rng(3), []
    for k in range(count):
        ids = rng.integers(0, vocab, 6 + k).astype(np.int32)
        made.append(Example(record_id=f"r{k}", ids_T=ids, response_T=np.arange(len(ids)) >= 3))
    return made


def oracle(
    model: PreTrainedModel, example: Example, parts: list[torch.nn.Module]
) -> tuple[float, list[float]]:
    """The whole norm and those of some parts, by backward() on a float64 copy with whole logits."""
    model.zero_grad()
    ids = torch.from_numpy(example.ids_T.astype(np.int64))
    logp = model(input_ids=ids[None]).logits[0].log_softmax(-1)
    rows = torch.from_numpy(np.flatnonzero(example.response_T))
    (-logp[rows - 1, ids[rows]].mean()).backward()

    def norm(module: torch.nn.Module) -> float:
        return (
            sum(float(p.grad.square().sum()) for p in module.parameters() if p.grad is not None)
            ** 0.5
        )

    return norm(model), [norm(part) for part in parts]


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_norms_are_those_of_autograd(family: str, build: Callable[..., PreTrainedModel]) -> None:
    model, double = build(family, spread=2.0), build(family, spread=2.0).double()
    body: Any = double.base_model
    blocks = (
        body.h if family == "gpt2" else body.layers if family == "llama" else body.decoder.layers
    )
    model.requires_grad_(False)
    for example, norms in zip(records(), gradient_norms(model, records()), strict=True):
        total, by_block = oracle(double, example, list(blocks))
        assert norms.total == pytest.approx(total, rel=1e-4)
        np.testing.assert_allclose(norms.blocks_L, by_block, rtol=1e-4)
        assert norms.total**2 == pytest.approx(
            norms.rest**2 + np.square(norms.blocks_L).sum(), rel=1e-5
        )
    assert not any(p.requires_grad for p in model.parameters()) and all(
        p.grad is None for p in model.parameters()
    )


def test_gradient_of_nothing_and_of_a_broken_model_is_nan(
    build: Callable[..., PreTrainedModel],
) -> None:
    model = build()
    empty = Example(record_id="e", ids_T=np.arange(4, dtype=np.int32), response_T=np.zeros(4, bool))
    norms = gradient_norms(model, [empty])[0]
    assert np.isnan(norms.total) and np.isnan(norms.blocks_L).all() and len(norms.blocks_L) == 2
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    assert np.isnan(gradient_norms(model, records(1))[0].total)


def test_too_long_a_record_is_refused(build: Callable[..., PreTrainedModel]) -> None:
    with pytest.raises(DataError, match="longer than the model's context"):
        gradient_norms(build(context=8), records(4))


def test_gradient_norms_are_kept_on_disk(
    build: Callable[..., PreTrainedModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = gradient_norms(build(), records(), cache=tmp_path, key="m")
    monkeypatch.setattr(gradients, "norms_of", None)  # asking the model would fail now
    again = gradient_norms(build(), records(), cache=tmp_path, key="m")
    assert [n.total for n in again] == [n.total for n in first]
    np.testing.assert_array_equal(again[0].blocks_L, first[0].blocks_L)
    with pytest.raises(TypeError):
        gradient_norms(build(), records(), cache=tmp_path, key="another model")


def test_gradient_norms_of_another_model_under_this_ones_name_are_asked_again(
    build: Callable[..., PreTrainedModel], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = gradient_norms(build(), records(), cache=tmp_path / "a", key="m")
    (ours,) = (tmp_path / "a").iterdir()
    gradient_norms(build(seed=2), records(), cache=tmp_path / "b", key="another")
    ours.write_bytes(next((tmp_path / "b").iterdir()).read_bytes())
    with caplog.at_level("WARNING", "stillage"):
        again = gradient_norms(build(), records(), cache=tmp_path / "a", key="m")
    assert [n.total for n in again] == [
        n.total for n in first
    ] and "made for another model" in caplog.text
    ours.write_bytes(ours.read_bytes()[:100])
    assert [n.total for n in gradient_norms(build(), records(), cache=tmp_path / "a", key="m")] == [
        n.total for n in first
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shaken_weights_come_back_bit_for_bit(
    dtype: torch.dtype, build: Callable[..., PreTrainedModel]
) -> None:
    model: Any = build("gpt2")
    model.to(dtype)
    changed: list[str] = []
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(KeyError), perturbed(model, None, 0.1, seed=5):
        changed += [
            name
            for name, tensor in model.named_parameters()
            if not torch.equal(tensor, before[name])
        ]
        raise KeyError
    assert len(changed) > 10
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.view(torch.uint8), before[name].view(torch.uint8)), name


def test_noise_depends_on_seed_and_name_only(build: Callable[..., PreTrainedModel]) -> None:
    model = build("llama")
    before = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}

    def noise(
        which: Callable[[str], bool] | None, seed: int, relative: bool = True
    ) -> dict[str, torch.Tensor]:
        with perturbed(model, which, 0.5, seed, relative=relative):
            return {
                name: tensor.detach() - before[name] for name, tensor in model.named_parameters()
            }

    block = "model.layers.1."
    whole, part = noise(None, 1), noise(lambda name: name.startswith(block), 1)
    for name, delta in part.items():
        assert torch.equal(delta, whole[name]) if name.startswith(block) else not delta.any()
    name = f"{block}mlp.up_proj.weight"
    assert not torch.equal(noise(lambda n: n == name, 2)[name], whole[name])
    rms = before[name].square().mean().sqrt()
    assert float(whole[name].std() / rms) == pytest.approx(0.5, rel=0.05)
    assert float(noise(lambda n: n == name, 1, relative=False)[name].std()) == pytest.approx(
        0.5, rel=0.05
    )


def test_noise_of_size_zero_changes_nothing_and_bad_wishes_are_refused(
    build: Callable[..., PreTrainedModel],
) -> None:
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with perturbed(model, None, 0.0, seed=1):
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(ConfigError, match="no such size"), perturbed(model, None, -1.0, seed=1):
        pass
    model.register_parameter(
        "odd", torch.nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False)
    )
    with pytest.raises(CapabilityError, match="shaken"), perturbed(model, None, 1.0, seed=1):
        pass
    with pytest.raises(CapabilityError, match="gradient"):
        gradient_norms(model, records(1))
