"""Written texts as examples, and examples as tensors, as a checkpoint keeps them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from stillage.distill.batches import trained_tokens
from stillage.types import Array, Example


def with_response(example: Example, new_ids: Array) -> Example:
    """The record's prompt with another response, whose end of text is trained too."""
    assert len(new_ids), "a writer gives at least the end of text"
    prompt = example.prompt_ids
    ids_T = np.concatenate([prompt, new_ids]).astype(np.int32)
    return Example(
        record_id=example.record_id, ids_T=ids_T, response_T=np.arange(len(ids_T)) >= len(prompt)
    )


def with_extras(example: Example, extras: Mapping[str, Array]) -> Example:
    """The same text, with one number of each name per trained token."""
    assert {*map(len, extras.values())} <= {trained_tokens(example)}
    return dataclasses.replace(example, extras=extras)


def to_tensors(texts: Sequence[Example], name: str) -> dict[str, torch.Tensor]:
    """Texts as tensors "name.*": ids end to end, lengths, record ids, extras."""

    def joined(arrays: Sequence[Array], dtype: type[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype))

    extras = sorted({extra for text in texts for extra in text.extras})
    record_ids = "\n".join(text.record_id for text in texts).encode()
    return {
        f"{name}.ids": joined([text.ids_T for text in texts], np.int32),
        f"{name}.lengths": torch.tensor([len(text.ids_T) for text in texts], dtype=torch.int64),
        f"{name}.prompts": torch.tensor([len(one.prompt_ids) for one in texts], dtype=torch.int64),
        f"{name}.record_ids": torch.from_numpy(np.frombuffer(record_ids, np.uint8).copy()),
    } | {
        f"{name}.extras.{extra}": joined([text.extras[extra] for text in texts], np.float32)
        for extra in extras
    }


def from_tensors(tensors: Mapping[str, torch.Tensor], name: str) -> list[Example]:
    """The texts of `to_tensors`."""
    lengths, prompts = (tensors[f"{name}.{part}"].numpy() for part in ("lengths", "prompts"))
    if not len(lengths):
        return []
    record_ids = tensors[f"{name}.record_ids"].numpy().tobytes().decode().split("\n")
    ids = np.split(tensors[f"{name}.ids"].numpy(), np.cumsum(lengths)[:-1])
    texts = [
        Example(record_id=record_id, ids_T=ids_T, response_T=np.arange(len(ids_T)) >= prompt)
        for record_id, ids_T, prompt in zip(record_ids, ids, prompts, strict=True)
    ]
    prefix = f"{name}.extras."
    for extra in [key for key in tensors if key.startswith(prefix)]:
        cuts = np.cumsum([trained_tokens(text) for text in texts])[:-1]
        for row, values_T in enumerate(np.split(tensors[extra].numpy(), cuts)):
            extras = {**texts[row].extras, extra.removeprefix(prefix): values_T}
            texts[row] = with_extras(texts[row], extras)
    return texts
