"""What a method costs: processor seconds per 1,000 trained tokens, relative to kd, and kd relative to its parts.

    python benchmarks/methods.py RUN        # a finished point of recipes/methods_small: its tokenizer, teacher, student_init

One thread, interleaved repetitions, processor time of this process: the table holds on a machine with other work on it.
Three passes over the records, so that what seqkd's teacher writes once is shared by them. Training, writing of texts and
optimiser are counted; loading, validation and the final saving are not. "Parts" is the teacher's forward pass over the
trained tokens plus one step of sft.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from transformers import PreTrainedModel

from stillage.data.split import read_split
from stillage.data.tokenise import make_examples
from stillage.distill.batches import trained_tokens
from stillage.distill.methods import METHODS
from stillage.distill.settings import params_from
from stillage.distill.task import TrainingTask
from stillage.distill.train import train
from stillage.functional.readout import logits
from stillage.models.decoder import read
from stillage.models.load import load_model, load_tokenizer
from stillage.models.padding import collate
from stillage.run.config import DataConfig, ModelConfig, TrainConfig

PASSES = 3  # over the records: seqkd's teacher writes once, whatever the number of passes
SETTINGS: dict[str, dict[str, object]] = {
    "sft": {},
    "kd": {},
    "seqkd": {"max_new_tokens": 64},
    "imitkd": {"max_new_tokens": 64},
    "gkd": {"max_new_tokens": 64},
    "distillm": {"max_new_tokens": 64, "init_threshold": 0.3},
    "minillm": {"max_new_tokens": 64},
}


def model(run: Path, name: str) -> PreTrainedModel:
    """A finished model of the run."""
    return load_model(ModelConfig(path=str(run / name / "model")), vocab_size=0, seed=0)


def seconds(run: Path, method: str, examples: list, steps: int) -> tuple[float, int]:
    """Processor seconds of a training, and its trained tokens."""
    tokenizer = load_tokenizer(str(run / "tokenizer"))
    student, teacher = model(run, "student_init"), model(run, "teacher")
    chosen = METHODS[method]
    options = TrainConfig(max_steps=steps, batch_size=16, lr_peak=1e-4, validate_every=0)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        task = TrainingTask(
            student=student,
            tokenizer=tokenizer,
            teacher=teacher,
            method=chosen,
            params=params_from(chosen, SETTINGS[method]),
            examples=examples,
            validation=[],
            options=options,
            seed=1,
        )
        summary = train(task, Path(folder))
        return time.process_time() - begun, summary.trained_tokens


@torch.no_grad()
def teacher_pass(run: Path, examples: list, steps: int) -> tuple[float, int]:
    """Processor seconds of the teacher's forward pass, head included, over as many batches."""
    teacher, tokens = model(run, "teacher").eval(), 0
    begun = time.process_time()
    for step in range(steps):
        part = [examples[(16 * step + k) % len(examples)] for k in range(16)]
        batch = collate(part, torch.device("cpu"))
        logits(read(teacher, batch))
        tokens += sum(map(trained_tokens, part))
    return time.process_time() - begun, tokens


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--template", default="raw")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = load_tokenizer(str(options.run / "tokenizer"))
    records = read_split(options.run / "data").records_by_part["public"]
    data = DataConfig(template=options.template, max_tokens=128, max_prompt_tokens=64)
    examples = make_examples(records, tokenizer, data)[: 16 * options.steps // PASSES]
    cost: dict[str, list[float]] = {name: [] for name in (*SETTINGS, "teacher forward")}
    for repeat in range(options.repeats + 1):
        for name in cost:
            found = (
                teacher_pass(options.run, examples, options.steps)
                if name not in SETTINGS
                else seconds(options.run, name, examples, options.steps)
            )
            if repeat:  # the first round warms up
                cost[name].append(1000 * found[0] / found[1])
    middle = {name: statistics.median(values) for name, values in cost.items()}
    print("| method | processor s per 1,000 trained tokens | relative to kd |\n|---|---|---|")
    for name, value in middle.items():
        print(f"| {name} | {value:.3f} | {value / middle['kd']:.2f} |")
    parts = middle["teacher forward"] + middle["sft"]
    print(f"\nkd / (teacher forward + sft) = {middle['kd'] / parts:.2f}")


if __name__ == "__main__":
    main()
