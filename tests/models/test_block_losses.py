"""Blocks one by one: the lens against a model that really ends there, noise and exchange against copies changed by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from stillage.errors import CapabilityError, DataError
from stillage.models.block_losses import (
    losses,
    noise_losses,
    reverted,
    reverted_losses,
)
from stillage.models.lens import block_readings
from stillage.models.perturb import perturbed
from stillage.models.prune import blocks_of
from stillage.types import Example, Noise


def records(count: int = 5, vocab: int = 97) -> list[Example]:
    rng, made = np.random.default_rng(3), []
    for k in range(count):
        ids = rng.integers(0, vocab, 6 + k).astype(np.int32)
        made.append(Example(record_id=f"r{k}", ids_T=ids, response_T=np.arange(len(ids)) >= 3))
    return made


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def ends_after(model: PreTrainedModel, blocks: int) -> PreTrainedModel:
    """A copy whose list of blocks is really cut."""
    short = copy.deepcopy(model)
    name, found = blocks_of(short)
    parent, _, last = name.rpartition(".")
    setattr(short.get_submodule(parent), last, found[:blocks])
    short.config.num_hidden_layers = blocks
    return short


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama", "gpt_neox", "bloom"])
def test_the_lens_is_the_loss_of_a_model_that_ends_there(
    family: str, build: Callable[..., PreTrainedModel]
) -> None:
    model = build(family, spread=2.0)
    before, forwards = state(model), [block.forward for block in blocks_of(model)[1]]
    read = block_readings(model, records(), batch_tokens=20)
    assert read.loss_LN.shape == (2, 5) and read.hidden_LNH.shape == (2, 5, 64)
    np.testing.assert_allclose(read.loss_LN[1], losses(model, records()), rtol=2e-5)
    np.testing.assert_allclose(read.loss_LN[0], losses(ends_after(model, 1), records()), rtol=2e-5)
    assert np.abs(read.loss_LN[0] - read.loss_LN[1]).max() > 1e-2
    first = records()[2]
    with torch.no_grad():
        states: Any = model(
            torch.from_numpy(first.ids_T.astype(np.int64))[None], output_hidden_states=True
        ).hidden_states
    places = np.flatnonzero(first.response_T) - 1
    np.testing.assert_allclose(
        read.hidden_LNH[0, 2], states[1][0, places].mean(0).numpy(), rtol=1e-4, atol=1e-5
    )
    assert (
        equal(before, state(model)) and [block.forward for block in blocks_of(model)[1]] == forwards
    )


def test_padding_changes_no_reading_and_nothing_to_score_is_nan(
    build: Callable[..., PreTrainedModel],
) -> None:
    model = build()
    empty = Example(record_id="e", ids_T=np.arange(4, dtype=np.int32), response_T=np.zeros(4, bool))
    alone = [block_readings(model, [example]) for example in records()]
    read = block_readings(model, [*records(), empty])
    np.testing.assert_allclose(
        read.loss_LN[:, :5], np.hstack([one.loss_LN for one in alone]), rtol=1e-5
    )
    np.testing.assert_allclose(
        read.hidden_LNH[:, :5], np.hstack([one.hidden_LNH for one in alone]), rtol=1e-3, atol=1e-5
    )
    assert np.isnan(read.loss_LN[:, 5]).all() and np.isnan(read.hidden_LNH[:, 5]).all()
    with pytest.raises(DataError, match="longer than the model's context"):
        block_readings(build(context=8), records())


def test_a_model_whose_blocks_do_not_follow_each_other_is_refused(
    build: Callable[..., PreTrainedModel],
) -> None:
    model = build()
    body: Any = model.base_model
    kept = body.h[1].forward
    body.h[1].forward = lambda states, *rest, **more: kept(
        states, *rest, **more
    )  # an own forward is put back
    block_readings(model, records(1))
    assert "forward" in body.h[1].__dict__
    tail = body.ln_f.forward
    body.ln_f.forward = lambda states: tail(
        torch.ones_like(states)
    )  # what follows sees nothing of the blocks
    with pytest.raises(CapabilityError, match="cannot be read"):
        block_readings(model, records(1))


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_noise_stays_in_its_block_and_is_undone(
    family: str, build: Callable[..., PreTrainedModel]
) -> None:
    model = build(family, spread=2.0)
    before, base = state(model), losses(model, records())
    quiet = noise_losses(model, records(), Noise(sigma=0.0, copies=1, seed=1))
    np.testing.assert_array_equal(quiet[0], np.stack([base, base]))
    found = noise_losses(model, records(), Noise(sigma=0.1, copies=2, seed=4))
    assert found.shape == (2, 2, 5) and equal(before, state(model))
    name, _ = blocks_of(model)
    by_hand = copy.deepcopy(model)
    with perturbed(by_hand, None, 0.1, 5):
        shaken = state(by_hand)
    other = {
        key: shaken[key] if key.startswith(f"{name}.1.") else tensor
        for key, tensor in before.items()
    }
    by_hand.load_state_dict(other)
    np.testing.assert_allclose(found[1, 1], losses(by_hand, records()), rtol=1e-5)
    assert np.abs(found - base).min() > 1e-6


def test_effects_of_noise_in_parts_add_up(build: Callable[..., PreTrainedModel]) -> None:
    """For little noise, with the same numbers: blocks + all the rest = the whole model, to first order."""
    model = build("llama", spread=2.0).double()
    name, _ = blocks_of(model)
    base, sigma = losses(model, records()), 1e-3
    parts = noise_losses(model, records(), Noise(sigma=sigma, copies=1, seed=2))[0] - base
    with perturbed(model, lambda n: not n.startswith(f"{name}."), sigma, 2):
        rest = losses(model, records()) - base
    with perturbed(model, None, sigma, 2):
        whole = losses(model, records()) - base
    assert np.abs(parts.sum(0) + rest - whole).max() < 0.05 * np.abs(whole).max()


def test_little_noise_measures_the_trace_of_the_hessian(
    build: Callable[..., PreTrainedModel],
) -> None:
    """E[L(W + sigma e)] - L(W) = sigma^2 / 2 trace(H), which is what MoPe estimates; the first-order term is taken out."""
    model, sigma, copies = build("gpt2", spread=2.0).double(), 0.02, 300
    model.set_attn_implementation("eager")  # the other kernels have no second derivative
    name = next(n for n, _ in model.named_parameters() if n.endswith("ln_f.weight"))
    weight, record = dict(model.named_parameters())[name], records(1)[0]
    ids = torch.from_numpy(record.ids_T.astype(np.int64))
    logits = model(input_ids=ids[None]).logits[0, :-1]
    scored = torch.from_numpy(record.response_T[1:].copy())
    loss = torch.nn.functional.cross_entropy(logits[scored], ids[1:][scored])
    (slope,) = torch.autograd.grad(loss, weight, create_graph=True)
    trace = sum(
        float(torch.autograd.grad(slope[k], weight, retain_graph=True)[0][k])
        for k in range(slope.numel())
    )
    base, bends = losses(model, [record])[0], []
    assert base == pytest.approx(float(loss.detach()), rel=1e-5)
    for seed in range(copies):
        before = weight.detach().clone()
        with perturbed(model, lambda n: n == name, sigma, seed, relative=False):
            step = float(((weight.detach() - before) * slope.detach()).sum())
            bends.append(losses(model, [record])[0] - base - step)
    error = float(np.std(bends)) / math.sqrt(copies)
    assert error < 0.2 * abs(trace) * sigma**2 / 2
    assert float(np.mean(bends)) == pytest.approx(sigma**2 / 2 * trace, abs=3 * error)


def test_another_models_block_in_its_place_and_back(build: Callable[..., PreTrainedModel]) -> None:
    model, other = build("gpt2", seed=1, spread=2.0), build("gpt2", seed=2, spread=2.0)
    before, theirs = state(model), state(other)
    found = reverted_losses(model, other, records())
    assert equal(before, state(model)) and equal(theirs, state(other))
    name, _ = blocks_of(model)
    by_hand = copy.deepcopy(model)
    by_hand.load_state_dict(
        {k: theirs[k] if k.startswith(f"{name}.0.") else v for k, v in before.items()}
    )
    np.testing.assert_allclose(found[0], losses(by_hand, records()), rtol=1e-5)
    np.testing.assert_array_equal(
        reverted_losses(model, copy.deepcopy(model), records())[1], losses(model, records())
    )
    blocks = blocks_of(model)[1]
    with pytest.raises(ZeroDivisionError), reverted(blocks[0], blocks_of(other)[1][0]):
        assert not equal(before, state(model))
        _ = 1 / 0
    assert equal(before, state(model))


def test_blocks_that_do_not_fit_are_refused(build: Callable[..., PreTrainedModel]) -> None:
    from stillage.models.load import load_model
    from stillage.run.config import ModelConfig

    def other(layers: int, width: int) -> PreTrainedModel:
        return load_model(
            ModelConfig(layers=layers, width=width, heads=4, context=64), vocab_size=97, seed=1
        )

    with pytest.raises(CapabilityError, match="blocks: 2 and 3"):
        reverted_losses(build(), other(3, 64), records())
    with pytest.raises(CapabilityError, match="differ in name, shape or dtype"):
        reverted_losses(build(), other(2, 32), records())
    with pytest.raises(CapabilityError, match="weights differ"):
        reverted_losses(build(), build("llama"), records())
