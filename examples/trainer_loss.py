"""Our loss in the Trainer of transformers, by its `compute_loss`."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

import stillage as st

VOCAB = 97


class DistillationTrainer(Trainer):
    """Trains by the divergence from a teacher, instead of the labels alone."""

    def __init__(self, *, teacher: GPT2LMHeadModel, **given: Any) -> None:  # noqa: ANN401
        """given: the arguments of Trainer."""
        super().__init__(**given)
        self.teacher = teacher.to(self.args.device).eval()  # pyright: ignore[reportArgumentType]

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **more: Any) -> Tensor:  # noqa: ANN401
        """Return the mean over the trained tokens of any divergence that you like."""
        ids_BS, trained_BS = inputs["input_ids"], inputs["labels"][:, 1:] != -100
        with torch.no_grad():
            logp_BSV = self.teacher(ids_BS).logits[:, :-1].log_softmax(-1)
        logq_BSV = model(ids_BS).logits[:, :-1].log_softmax(-1)
        distance_BS = st.losses.generalized_jsd(logp_BSV, logq_BSV, beta=0.5)
        return (distance_BS * trained_BS).sum() / trained_BS.sum()


def small_model(layers: int, width: int) -> GPT2LMHeadModel:
    """Make a GPT-2 from scratch; yours would come from `from_pretrained`."""
    size = GPT2Config(  # with ends of text that lie in this vocabulary, as GPT-2's own do not
        vocab_size=VOCAB, n_layer=layers, n_embd=width, n_head=2, bos_token_id=0, eos_token_id=0
    )
    size.initializer_range = 0.2
    return GPT2LMHeadModel(size)


def main() -> list[float]:
    """Train, and return the logged losses."""
    torch.manual_seed(1)
    rows = [{"input_ids": ids, "labels": ids} for ids in torch.randint(VOCAB, (32, 16))]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, learning_rate=1e-2, max_steps=20, logging_steps=1)
        arguments.save_strategy, arguments.report_to = "no", []
        arguments.dataloader_pin_memory = False
        pair = {"teacher": small_model(2, 64), "model": small_model(1, 32)}
        trainer = DistillationTrainer(**pair, args=arguments, train_dataset=rows)
        trainer.train()
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


if __name__ == "__main__":
    print(main())
