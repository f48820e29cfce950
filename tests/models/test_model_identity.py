"""Names of models: equal for what computes the same, unlike for what does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from stillage.models.identity import (
    VOLATILE,
    drop_entries,
    folder_hash,
    generation_hash,
    json_bytes,
    model_hash,
)


def test_a_copy_has_the_same_name_and_one_changed_bit_another(
    build: Callable[..., PreTrainedModel],
) -> None:
    model = build()
    before, twin = model_hash(model), copy.deepcopy(model)
    assert len(before) == 64 and model_hash(twin) == before
    with torch.no_grad():
        twin.lm_head.weight[3, 5] = torch.nextafter(
            twin.lm_head.weight[3, 5], torch.tensor(torch.inf)
        )
    assert model_hash(twin) != before


def test_precision_and_settings_are_part_of_the_name(
    build: Callable[..., PreTrainedModel],
) -> None:
    model = build()
    names = {model_hash(model)}
    model.config.layer_norm_epsilon = 1e-3
    names.add(model_hash(model))
    names.add(model_hash(model.bfloat16()))
    assert len(names) == 3


def test_where_a_model_lies_is_no_part_of_its_name(
    build: Callable[..., PreTrainedModel], tmp_path: Path
) -> None:
    model = build()
    for folder in (tmp_path / "one", tmp_path / "two"):
        model.save_pretrained(folder)
    settings = json.loads((tmp_path / "two" / "config.json").read_text())
    settings |= {"_name_or_path": "elsewhere", "transformers_version": "0.0"}
    (tmp_path / "two" / "config.json").write_text(json.dumps(settings))
    assert folder_hash(tmp_path / "one") == folder_hash(tmp_path / "two")
    settings["n_head"] = 2
    (tmp_path / "two" / "config.json").write_text(json.dumps(settings))
    assert folder_hash(tmp_path / "one") != folder_hash(tmp_path / "two")


def test_generation_settings_have_a_name_of_their_own(
    build: Callable[..., PreTrainedModel],
) -> None:
    model = build()
    before, weights = generation_hash(model), model_hash(model)
    model.generation_config.repetition_penalty = 1.5
    assert generation_hash(model) != before and model_hash(model) == weights
    assert generation_hash(torch.nn.Linear(1, 1)) == ""  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", VOLATILE)
def test_entries_are_left_out_at_any_depth(name: str) -> None:
    content = {"width": 4, name: 1, "text": {name: 2, "layers": 3}}
    assert drop_entries(content, VOLATILE) == {"width": 4, "text": {"layers": 3}}


def test_equal_settings_are_equal_bytes_in_any_order() -> None:
    assert json_bytes({"a": {"x", "y"}, "b": Path("p")}) == json_bytes({"b": "p", "a": ["x", "y"]})
