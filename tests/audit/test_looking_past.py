"""Ten ways of looking past a model that knows its members by heart: none ends as "valid" with no leak."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import torch

from stillage.data.bpe import train_bpe
from stillage.data.columns import record_id
from stillage.data.split import Split, write_split
from stillage.data.tokenise import tokenise
from stillage.errors import ModelError
from stillage.experiment.audit_stage import audit
from stillage.experiment.context import make_context
from stillage.models import query
from stillage.models.load import load_model, load_tokenizer, save_model
from stillage.rng import generator
from stillage.run.audit_config import AuditConfig
from stillage.run.config import Config, DataConfig, ModelConfig
from stillage.run.folder import read_json
from stillage.run.results import read_results
from stillage.types import Batch, Readout, Record, TokenStats

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

N = 40
HONEST = ("valid", "too few records to tell")
"""Verdicts in which nothing is said against the scores; so few records may be too few for the checks of the split."""
SMALL = ModelConfig(architecture="gpt2", layers=2, width=48, heads=2, context=96)
CHAT = "{% for turn in messages %}Q: {{ turn['content'] }}\n{% endfor %}A:"
WORDS = [
    start + end
    for start in ("bar", "cor", "den", "fel", "gor", "hin", "jul", "kar")
    for end in "aeiou"
]


@dataclass(frozen=True)
class Seen:
    """What an audit said of its target."""

    verdict: str
    failed: set[str]
    details: Mapping[str, str]
    low: float  # of the AUC of the loss

    @property
    def reassures(self) -> bool:
        return self.verdict in HONEST and self.low <= 0.5


@dataclass(frozen=True)
class World:
    """Model folders (teacher: knows its members by heart; student: knows other records; teacher_start), and the records."""

    folder: Path
    members: list[Record]
    nonmembers: list[Record]


def made_up(seed: int) -> list[Record]:
    rng, found = generator(seed, "made up"), []
    for _ in range(N):
        a, b, *rest = (WORDS[index] for index in rng.integers(0, len(WORDS), 6))
        prompt, response = (
            f"Where is {a} {b}?",
            " {} {} is in {} with {} and {} {}.".format(a, b, *rest),
        )
        found.append(Record(id=record_id(prompt, "", response), prompt=prompt, response=response))
    return found


def learned(
    tokenizer: PreTrainedTokenizerFast,
    records: Sequence[Record],
    steps: int,
    template: str = "auto",
) -> PreTrainedModel:
    """A small model after some steps on all the records at once."""
    model = load_model(SMALL, vocab_size=len(tokenizer), seed=1)
    teach(model, tokenizer, records, steps, template)
    return model


def teach(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    records: Sequence[Record],
    steps: int,
    template: str = "auto",
) -> None:
    examples = tokenise(records, tokenizer, template=template, max_tokens=96).examples
    ids = torch.zeros(
        len(examples), max(len(example.ids_T) for example in examples), dtype=torch.long
    )
    labels = torch.full_like(ids, -100)
    for row, example in enumerate(examples):
        found, answer = torch.from_numpy(example.ids_T).long(), torch.from_numpy(example.response_T)
        ids[row, : len(found)] = found
        labels[row, : len(found)][answer] = found[answer]
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=6e-3)
    for _ in range(steps):
        torch.nn.functional.cross_entropy(
            model(input_ids=ids).logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        ).backward()
        optimiser.step()
        optimiser.zero_grad()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder, (members, nonmembers, others) = (
        tmp_path_factory.mktemp("sight"),
        (made_up(seed) for seed in range(3)),
    )
    tokenizer = train_bpe([f"Q: {one.prompt}\nA:{one.response}" for one in others], 330)
    tokenizer.chat_template = CHAT
    save_model(learned(tokenizer, members, 70), tokenizer, folder / "teacher")
    save_model(learned(tokenizer, others, 30), tokenizer, folder / "student")
    save_model(
        load_model(SMALL, vocab_size=len(tokenizer), seed=1), tokenizer, folder / "teacher_start"
    )
    return World(folder, members, nonmembers)


def look(
    world: World,
    out: Path,
    *,
    change: Callable[[Record], Record] = lambda record: record,
    batch_tokens: int = 4096,
    max_tokens: int = 96,
    template: Literal["auto", "raw"] = "auto",
    teacher: Path,
    student: Path | None = None,
) -> Seen:
    """What an audit says of models given as folders; the target is the student, where there is one."""
    attacks = AuditConfig(
        attacks=("loss",), extract="", extract_tokens=1, batch_tokens=batch_tokens
    )
    data = DataConfig(max_tokens=max_tokens, template=template)
    config = Config(
        out=out,
        stages=("audit",),
        threads=1,
        data=data,
        audit=attacks,
        teacher=ModelConfig(path=str(teacher)),
        student=ModelConfig(path=str(student or "")),
    )
    split = Split(
        records_by_part={
            "private": [*map(change, world.members)],
            "nonmembers": [*map(change, world.nonmembers)],
        },
        drawn_by_us=True,
        seed=1,
    )
    write_split(out / "data", split)
    audit(make_context(config, lambda: False, lambda stage, facts: None), out / "audit")  # pyright: ignore[reportArgumentType]
    found = read_json(out / "audit" / "validity.json")
    target = "student" if student else "teacher"
    rows = {
        (row.metric, row.model, row.attack): row
        for row in read_results(out / "audit" / "results.parquet")
    }
    return Seen(
        verdict=found["verdict"],
        failed={check["name"] for check in found["checks"] if not check["passed"]},
        details={check["name"]: check["detail"] for check in found["checks"]},
        low=rows["auc", target, "loss"].low,
    )


def copied(world: World, out: Path, name: str = "teacher") -> Path:
    """A copy of a model's folder, to be spoilt."""
    return Path(shutil.copytree(world.folder / name, out / name))


def test_who_looks_rightly_sees_the_leak(world: World, tmp_path: Path) -> None:
    seen = look(world, tmp_path, teacher=world.folder / "teacher", student=world.folder / "student")
    assert seen.verdict in HONEST and not seen.failed and seen.low <= 0.5
    assert "sees the members in the teacher (loss: AUC 1.000" in seen.details["positive_control"]
    assert "likelier with their own prompt" in seen.details["prompts"]
    assert (
        "100.0% of the responses' tokens were scored, and 0.0% of the records cut"
        in seen.details["share_read"]
    )


def test_another_layout(world: World, tmp_path: Path) -> None:
    seen = look(world, tmp_path, teacher=world.folder / "teacher", template="raw")
    assert (
        not seen.reassures
        and "layout" in seen.failed
        and "--data.template chat" in seen.details["layout"]
    )


def test_another_tokenizer_of_equal_size(world: World, tmp_path: Path) -> None:
    place = copied(world, tmp_path)
    content = json.loads((place / "tokenizer.json").read_text())
    words = [word for word, number in content["model"]["vocab"].items() if number > 1]
    numbers = (
        generator(1, "shuffled")
        .permutation([content["model"]["vocab"][word] for word in words])
        .tolist()
    )
    content["model"]["vocab"] |= dict(zip(words, numbers, strict=True))
    (place / "tokenizer.json").write_text(json.dumps(content))
    seen = look(world, tmp_path, teacher=place)
    assert not seen.reassures and "reading" in seen.failed


def test_weights_of_another_scale(world: World, tmp_path: Path) -> None:
    place = str(world.folder / "teacher")
    tokenizer = load_tokenizer(place)
    for name, factor in {"small": 0.1, "overflow": float("nan")}.items():
        model = load_model(ModelConfig(path=place), vocab_size=0, seed=0)
        for weight in model.parameters():
            weight.data.mul_(factor)
        save_model(model, tokenizer, tmp_path / name)
    seen = look(world, tmp_path / "run", teacher=tmp_path / "small")
    assert not seen.reassures and "reading" in seen.failed
    with pytest.raises(ModelError, match="not numbers"):
        look(world, tmp_path / "again", teacher=tmp_path / "overflow")


def test_teacher_and_student_swapped(world: World, tmp_path: Path) -> None:
    seen = look(world, tmp_path, teacher=world.folder / "student", student=world.folder / "teacher")
    assert (
        not seen.reassures and "were the two folders swapped?" in seen.details["positive_control"]
    )


@pytest.fixture(scope="module")
def adapter(world: World) -> Path:
    """The teacher as an adapter, which has learned the members, of a base model that has not."""
    from stillage.models.lora import load_trainable

    start = ModelConfig(
        path=str(world.folder / "teacher_start"), lora_rank=8, lora_targets=("all-linear",)
    )
    tokenizer = load_tokenizer(start.path)
    model = load_trainable(start, tokenizer=tokenizer, seed=1, base_folder=world.folder / "base")
    teach(model, tokenizer, world.members, 5)
    save_model(model, tokenizer, world.folder / "adapter")
    return world.folder / "adapter"


def test_an_adapter_that_is_not_applied(world: World, adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    place = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    file = place / "adapter_model.safetensors"
    stored = load_file(file)
    save_file(
        {name.replace("transformer.h", "model.h"): weight for name, weight in stored.items()}, file
    )
    with pytest.raises(ModelError, match="would not be applied"):
        look(world, tmp_path / "renamed", teacher=place)
    save_file({name: weight * ("lora_B" not in name) for name, weight in stored.items()}, file)
    seen = look(world, tmp_path / "zero", teacher=place)
    assert not seen.reassures and "adapter" in seen.failed
    seen = look(world, tmp_path / "base", teacher=world.folder / "teacher_start")
    assert not seen.reassures and "reading" in seen.failed


def test_prompts_left_out(world: World, tmp_path: Path) -> None:
    seen = look(
        world,
        tmp_path,
        teacher=world.folder / "teacher",
        change=lambda one: replace(one, prompt=""),
    )
    assert (
        not seen.reassures
        and "prompts" in seen.failed
        and "data.columns" in seen.details["prompts"]
    )


def test_responses_cut_to_a_few_tokens(world: World, tmp_path: Path) -> None:
    seen = look(world, tmp_path, teacher=world.folder / "teacher", max_tokens=14)
    assert (
        not seen.reassures
        and "share_read" in seen.failed
        and "data.max_tokens" in seen.details["share_read"]
    )


@pytest.mark.parametrize("learned_with", [True, False])
def test_a_wrong_begin_of_text(world: World, tmp_path: Path, learned_with: bool) -> None:
    """A model that has learned texts with a begin, read without one, and the other way round."""
    from tokenizers.processors import TemplateProcessing

    place = str(world.folder / "teacher")
    plain, begun = load_tokenizer(place), load_tokenizer(place)
    for one in (plain, begun):
        one.chat_template, one.bos_token = None, one.eos_token
    start = (str(begun.eos_token), int(str(begun.eos_token_id)))
    begun.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{start[0]} $A", special_tokens=[start]
    )
    model = learned(begun if learned_with else plain, world.members, 70, template="raw")
    save_model(model, plain if learned_with else begun, tmp_path / "model")
    seen = look(world, tmp_path, teacher=tmp_path / "model", template="raw")
    assert not seen.reassures
    assert "layout" in seen.failed and "mend tokenizer.json" in seen.details["layout"]
    assert ("with a" if learned_with else "without a") in seen.details["layout"]


def test_one_batch_again_and_again(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, first = query.batch_stats, list[TokenStats]()

    def again(readout: Readout, batch: Batch) -> list[TokenStats]:
        found = right(readout, batch)
        first.extend(found if not first else [])
        return [
            replace(stats, logp_T=np.resize(first[row % len(first)].logp_T, len(stats.logp_T)))
            for row, stats in enumerate(found)
        ]

    monkeypatch.setattr(query, "batch_stats", again)
    seen = look(world, tmp_path, teacher=world.folder / "teacher", batch_tokens=150)
    assert not seen.reassures and "repeats" in seen.failed


def test_an_untrained_copy(world: World, tmp_path: Path) -> None:
    seen = look(
        world, tmp_path, teacher=world.folder / "teacher", student=world.folder / "teacher_start"
    )
    assert (
        not seen.reassures
        and "reading" in seen.failed
        and "student with" in seen.details["reading"]
    )
