"""Texts in the middle of being written, and how a model goes on where it stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stillage.errors import CapabilityError, first_line
from stillage.models.decoder import (
    CANNOT,
    called,
    evaluating,
    found_once,
    mismatch,
    plain,
    probe_ids,
)
from stillage.models.lengths import kind_of
from stillage.models.padding import pad

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import Cache, PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """How a model is asked to read on after what it has read."""

    cache: str  # under which name it returns its keys and values, and takes them back
    positions: bool  # whether it takes `position_ids`
    last_only: bool  # whether it takes `logits_to_keep`


class Stream:
    """A batch of texts being written: keys and values so far, and the next logits."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[np.ndarray],
        pad_id: int,
        continuation: Continuation | None = None,
    ) -> None:
        """Read the prompts, padded on the left; CapabilityError as continuation_of."""
        self.model, self.name = model, called(model)
        self.continuation = continuation_of(model) if continuation is None else continuation
        ids_BT, attention_BT = pad(prompts, fill=pad_id, left=True)
        self.attention_BT = torch.from_numpy(attention_BT).to(model.device)
        self.ids_BT = torch.from_numpy(ids_BT).to(model.device)
        self.longest = ids_BT.shape[1]  # tokens of the longest text
        self.cache: Any = None
        self.read(self.ids_BT)

    def read(self, ids_BT: torch.Tensor) -> None:
        """Read some more tokens; `logits_BV` becomes what follows the last, float32."""
        inputs: dict[str, Any] = {
            "input_ids": ids_BT,
            "attention_mask": self.attention_BT,
            "use_cache": True,
        }
        if self.cache is not None:
            inputs[self.continuation.cache] = self.cache
        if self.continuation.positions:
            positions_BT = (self.attention_BT.cumsum(-1) - 1).clamp(min=0)
            inputs["position_ids"] = positions_BT[:, -ids_BT.shape[1] :]
        if self.continuation.last_only:
            inputs["logits_to_keep"] = 1
        output = self.model(**inputs)
        self.cache, self.logits_BV = output[self.continuation.cache], output.logits[:, -1].float()

    def step(self, chosen_B: torch.Tensor) -> None:
        """Read the tokens just written; whole texts where so many are read otherwise."""
        ones_B1 = self.attention_BT.new_ones(len(self.attention_BT), 1)
        self.attention_BT = torch.cat([self.attention_BT, ones_B1], 1)
        self.ids_BT = torch.cat([self.ids_BT, chosen_B[:, None]], 1)
        self.longest += 1
        if kind_of(self.model.config, self.longest) != kind_of(self.model.config, self.longest - 1):
            self.cache = None
        self.read(chosen_B[:, None] if self.cache is not None else self.ids_BT)

    def keep(self, rows: list[int]) -> None:
        """Drop all other rows: finished texts cost nothing more."""
        index = torch.tensor(rows, device=self.attention_BT.device)
        self.attention_BT, self.ids_BT = self.attention_BT[index], self.ids_BT[index]
        self.longest = int(self.attention_BT.sum(1).max())
        self.cache.reorder_cache(index)


def continuation_of(model: PreTrainedModel) -> Continuation:
    """Find out how a model goes on where it stopped; asked once per model.

    Proven on five tokens: two texts of unlike length, padded on the left and read piece by piece,
    and one of them alone after the other has ended, must give the logits of whole texts. Costs some
    eight tiny forward passes. Raises CapabilityError for a model that keeps nothing of what it has
    read, or whose logits are others.
    """

    def proven() -> Continuation:
        own = torch.autocast(model.device.type, enabled=False)  # in its own precision
        with evaluating(model), own:
            ids_T = probe_ids(model)[0]
            found = asked(model, ids_T[None, :3])
            prove(model, ids_T, found)
        return found

    return found_once(model, "continuation", proven)


def asked(model: PreTrainedModel, ids_BT: torch.Tensor) -> Continuation:
    """Find out what the model takes and returns, by asking it for each alone."""

    def takes(**request: object) -> bool:
        try:
            model(input_ids=ids_BT, use_cache=True, **request)
        except TypeError:
            return False
        return True

    try:
        kept = cache_in(model(input_ids=ids_BT, use_cache=True))
    except CANNOT as error:
        raise cannot_continue(model, error) from error
    if kept is None:
        raise cannot_continue(model, "it returns nothing of what it has read")
    steps_BT = torch.arange(ids_BT.shape[1], device=ids_BT.device).expand_as(ids_BT)
    return Continuation(
        cache=kept[0], positions=takes(position_ids=steps_BT), last_only=takes(logits_to_keep=1)
    )


def cache_in(output: Mapping[str, object]) -> tuple[str, Cache] | None:
    """Find what a model kept of what it has read, and its name in the output."""
    from transformers import Cache

    return next(((name, value) for name, value in output.items() if isinstance(value, Cache)), None)


def prove(model: PreTrainedModel, ids_T: torch.Tensor, continuation: Continuation) -> None:
    """Raise CapabilityError unless reading on gives the logits of whole texts."""
    texts = [ids_T, ids_T[1:4]]
    whole = [model(input_ids=text[None], use_cache=False).logits[0].float() for text in texts]
    starts = [text[:-2].cpu().numpy() for text in texts]
    try:
        stream = Stream(model, starts, int(ids_T[-1]), continuation)
        found = [stream.logits_BV]
        stream.step(torch.stack([text[-2] for text in texts]))
        found.append(stream.logits_BV)
        stream.keep([1])
        stream.step(texts[1][-1:])
        found.append(stream.logits_BV)
    except CANNOT as error:
        raise cannot_continue(model, error) from error
    theirs = torch.stack([whole[0][-3], whole[1][-3], whole[0][-2], whole[1][-2], whole[1][-1]])
    if fault := mismatch(torch.cat(found), theirs, plain(model).dtype):
        raise cannot_continue(model, fault)


def cannot_continue(model: PreTrainedModel, why: str | Exception) -> CapabilityError:
    """Make the error for a model that cannot write token by token."""
    if isinstance(why, Exception):
        why = f"{type(why).__name__}: {first_line(why)}"
    return CapabilityError(
        "This model cannot generate here: "
        "it does not go on where it stopped as it would have read the whole text.",
        f"architecture: {type(plain(model)).__name__}; {why}",
        "Use an attention model (GPT-2, OPT, LLaMA, Qwen, Mistral, Gemma, ...).",
    )
