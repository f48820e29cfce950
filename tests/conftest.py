"""A training small enough for any test: a GPT-2 of two thin layers, random records of a few tokens, a made-up tokenizer."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

from stillage.rng import generator
from stillage.run.config import ModelConfig, TrainConfig
from stillage.types import Example

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from endpoint_server import Server
    from stillage.corpus.lm_text import PlainTextLoss
    from stillage.distill.outputs import Summary
    from stillage.distill.task import TrainingTask

sys.path.insert(0, str(Path(__file__).parent))  # for endpoint_server
settings.register_profile("any machine", deadline=None)  # a slow machine is no failure
settings.load_profile("any machine")
VOCAB = 61
OPTIONS = TrainConfig(epochs=2, batch_size=8, lr_peak=5e-3, checkpoint_every_s=1e9)


def small_tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = ["<eos>", "<pad>", "<unk>", *(f"w{k}" for k in range(VOCAB - 3))]
    inner = Tokenizer(WordLevel({word: k for k, word in enumerate(words)}, unk_token="<unk>"))
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )


def small_model(
    seed: int = 1, layers: int = 2, width: int = 32, dropout: float = 0.0
) -> PreTrainedModel:
    from stillage.models.load import load_model

    config = ModelConfig(layers=layers, width=width, heads=4, context=32, dropout=dropout)
    return load_model(config, vocab_size=VOCAB, seed=seed)


def small_examples(count: int, seed: int = 1, name: str = "r") -> list[Example]:
    """Prompts of 2 to 6 tokens, responses of 1 to 8."""
    rng, found = generator(seed, "examples", name), []
    for number in range(count):
        prompt, response = int(rng.integers(2, 7)), int(rng.integers(1, 9))
        ids = rng.integers(0, VOCAB, prompt + response).astype(np.int32)
        found.append(
            Example(
                record_id=f"{name}{number:03d}", ids_T=ids, response_T=np.arange(len(ids)) >= prompt
            )
        )
    return found


def small_task(
    *,
    method: str = "sft",
    settings: dict[str, object] | None = None,
    student: PreTrainedModel | None = None,
    teacher: PreTrainedModel | None = None,
    examples: Sequence[Example] | None = None,
    validation: Sequence[Example] | None = None,
    corpus: PlainTextLoss | None = None,
    seed: int = 7,
    **options: object,
) -> TrainingTask:
    """A small student's training as any method; what is not given is made."""
    from stillage.distill.methods import METHODS
    from stillage.distill.settings import params_from
    from stillage.distill.task import TrainingTask

    chosen = METHODS[method]
    return TrainingTask(
        student=student or small_model(seed=2),
        tokenizer=small_tokenizer(),
        teacher=teacher or small_model(seed=1, width=48),
        method=chosen,
        params=params_from(chosen, settings or {}),
        examples=small_examples(20) if examples is None else examples,
        validation=small_examples(6, name="v") if validation is None else validation,
        options=dataclasses.replace(OPTIONS, **options),
        seed=seed,
        corpus=corpus,
    )


def small_train(
    folder: Path,
    *,
    should_stop: Callable[[], bool] | None = None,
    report: Callable[[dict[str, object]], None] | None = None,
    **given: object,
) -> tuple[Summary, PreTrainedModel]:
    """Train a small student; `given` is as in small_task."""
    from stillage.distill.train import train

    task = small_task(**given)
    return train(
        task, folder, should_stop=should_stop or (lambda: False), report=report
    ), task.student


def stop_after(steps: int) -> Callable[[], bool]:
    """A should_stop that says yes when it is asked the `steps`-th time."""
    asked = [0]

    def should_stop() -> bool:
        asked[0] += 1
        return asked[0] >= steps

    return should_stop


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of a model's state."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="session")
def small() -> SimpleNamespace:
    return SimpleNamespace(
        VOCAB=VOCAB,
        tokenizer=small_tokenizer,
        model=small_model,
        examples=small_examples,
        task=small_task,
        train=small_train,
        stop_after=stop_after,
        weights=weights,
        options=OPTIONS,
    )


@pytest.fixture(scope="session")
def tiny_run() -> list[str]:
    """A run that takes seconds, as typed; a test adds its own words, and the last of a flag counts."""
    return (
        "run biographies --jobs 1 --data.people 24 --tokenizer.vocab-size 400 "
        "--teacher.layers 1 --teacher.width 32 --teacher.heads 2 --teacher-train.epochs 1 "
        "--student.layers 1 --student.width 32 --student.heads 2 --student-train.epochs 1"
    ).split()


@pytest.fixture(scope="session")
def sweep_of_cases() -> str:
    """A sweep over seeds and over cases: settings that change together."""
    return """
distill: {method: kd}
sweep:
  seed: [1, 2]
  cases:
    method:
      sft: {distill.method: sft}
      gkd: {distill.method: gkd, distill: {params: {max_new_tokens: 8}}, student.width: 64}
"""


@pytest.fixture
def ranks() -> Iterator[list[dict[str, str]]]:
    """The environment of each of two processes that are to meet, on a port that nobody can take before they do."""
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    store = TCPStore(
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )  # ours, as under torchrun the launcher's
    shared = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    yield [
        {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)
    ]
    del store  # its server lives until here


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """A run in this process may set torch's threads; the last digits of later tests, and of their children, depend on them."""
    import torch

    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def log_is_heard() -> None:
    """A command line run in this process takes the log for itself; each later test hears it again."""
    logger = logging.getLogger("stillage")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def server() -> Iterator[Server]:
    """A model behind an endpoint on this machine."""
    from endpoint_server import serving

    with serving() as state:
        yield state
