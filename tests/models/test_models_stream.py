"""Going on where a model stopped: found out by doing it, whatever the names, and refused where it goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import ModelOutput

from stillage.errors import CapabilityError
from stillage.models.beams import beam_search
from stillage.models.generate import Decoding, generate
from stillage.models.prompts import Prompts, TextRules
from stillage.models.stream import Continuation, cache_in, continuation_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Build = Callable[..., "PreTrainedModel"]
PROMPTS = [np.asarray(ids, np.int32) for ids in ([5, 6, 7, 8], [9], [3, 4, 5])]
SIZES: dict[str, dict[str, object]] = {
    "mamba": {"state_size": 4},
    "rwkv": {"attention_hidden_size": 32, "context_length": 64},
    "recurrent_gemma": {
        "num_attention_heads": 4,
        "lru_width": 32,
        "intermediate_size": 64,
        "head_dim": 8,
    },
}


@dataclass
class Remembered(ModelOutput):
    """An output whose keys and values have a name that no library uses."""

    logits: torch.Tensor | None = None
    memory: Any = None


def write(model: PreTrainedModel) -> list[list[int]]:
    made = generate(
        model,
        Prompts(PROMPTS, ["a", "b", "c"]),
        Decoding(max_new_tokens=8),
        TextRules(-1, 1),
    )
    return [ids.tolist() for ids in made]


def by_hand(model: PreTrainedModel) -> list[list[int]]:
    """Greedy from the whole text, token by token."""
    found = []
    for prompt in PROMPTS:
        ids = prompt.tolist()
        with torch.no_grad():
            for _ in range(8):
                ids.append(
                    int(
                        model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()
                    )
                )
        found.append(ids[len(prompt) :])
    return found


def renamed(
    model: PreTrainedModel, remember: Callable[[Any], Any] = lambda cache: cache
) -> PreTrainedModel:
    """The model with a forward that knows few arguments, and calls its keys and values `memory`."""
    name, real = continuation_of(model).cache, model.forward

    def forward(
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        use_cache: bool | None = None,
        memory: object = None,
    ) -> Remembered:
        output = real(
            input_ids=input_ids,
            attention_mask=attention_mask,
            use_cache=use_cache,
            **{name: memory},
        )
        kept = cache_in(output)
        return Remembered(logits=output.logits, memory=None if kept is None else remember(kept[1]))

    other = AutoModelForCausalLM.from_config(model.config).eval()  # nothing is known of it
    other.forward = forward
    return other


def test_the_names_of_arguments_do_not_matter(build: Build) -> None:
    model = build("llama")
    assert continuation_of(model) == Continuation(
        cache=continuation_of(model).cache, positions=True, last_only=True
    )
    other = renamed(model)
    assert write(other) == by_hand(model)
    assert continuation_of(other) == Continuation(cache="memory", positions=False, last_only=False)
    assert len({tuple(ids) for ids in write(other)}) > 1


def test_a_model_that_goes_on_wrongly_is_refused(build: Build) -> None:
    with pytest.raises(CapabilityError, match="largest difference of logits"):
        write(renamed(build("gpt2")))  # without positions, padding on the left shifts them
    with pytest.raises(CapabilityError, match="returns nothing of what it has read"):
        write(renamed(build("llama"), lambda cache: None))
    model, empty = build("llama"), build("llama")
    forgetful = renamed(model, lambda cache: cache_in(empty(torch.tensor([[1], [1]])))[1])  # pyright: ignore
    with pytest.raises(CapabilityError, match="does not go on where it stopped"):
        write(forgetful)


@pytest.mark.parametrize("architecture", SIZES)
def test_recurrent_models_write_what_they_read_or_are_refused(architecture: str) -> None:
    settings = AutoConfig.for_model(
        architecture, vocab_size=97, hidden_size=32, num_hidden_layers=3, **SIZES[architecture]
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(settings).eval()
    try:
        written = write(model)
    except CapabilityError as error:
        assert type(model).__name__ in error.values
        with pytest.raises(CapabilityError):
            asked = Prompts(PROMPTS, ["a", "b", "c"])
            beam_search(model, asked, TextRules(0, 1), beams=2, max_new_tokens=2)
    else:
        assert written == by_hand(model)


def test_a_model_is_asked_once(build: Build) -> None:
    model, calls = build(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    first = write(model)
    once = len(calls)
    assert write(model) == first
    assert len(calls) == once + 8 < 2 * once


def test_a_model_is_judged_in_its_own_precision(build: Build) -> None:
    """A training in bf16 writes texts under autocast, where the last digits of whole texts and of pieces differ."""
    model, mixed = build(), []
    model.register_forward_hook(lambda *_: mixed.append(torch.is_autocast_enabled("cpu")))
    with torch.autocast("cpu", torch.bfloat16):
        continuation_of(model)
        assert mixed and not any(mixed)
        write(model)
    assert mixed[-1]
