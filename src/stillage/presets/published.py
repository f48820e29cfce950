"""The published training scripts by name: the rows of presets/published.csv."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("published.csv")
AS_RELEASED = "-as_released"
"""Ending of the second preset of a script whose code does something else than it says."""
MODELS = {
    "gpt2-base": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xlarge": "openai-community/gpt2-xl",
    "opt-0.1B": "facebook/opt-125m",
    "opt-0.3B": "facebook/opt-350m",
    "opt-1.3B": "facebook/opt-1.3b",
    "opt-2.7B": "facebook/opt-2.7b",
    "opt-6.7B": "facebook/opt-6.7b",
    "opt-13B": "facebook/opt-13b",
    "openllama-3B": "openlm-research/open_llama_3b",
    "openllama-7B": "openlm-research/open_llama_7b",
    "openllama2-3B": "openlm-research/open_llama_3b_v2",
    "openllama2-7B": "openlm-research/open_llama_7b_v2",
    "llama-7B": "huggyllama/llama-7b",
    "llama-13B": "huggyllama/llama-13b",
    "llama2-7B": "meta-llama/Llama-2-7b-hf",
    "mistral-7B": "mistralai/Mistral-7B-v0.1",
    "qwen2.5-1.5B": "Qwen/Qwen2.5-1.5B",
    "qwen2.5-7B": "Qwen/Qwen2.5-7B",
}
"""The table's names of models -> hub ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A row of the table, as text; the head of that file explains the columns."""

    source: str
    name: str
    script: str
    method: str
    type: str
    lr: str
    batch: str
    gpus: str
    epochs: str
    steps: str
    kd_ratio: str
    corpus: str
    student: str
    teacher: str
    lora: str
    split: str
    shipped: str
    extras: str
    note: str

    @property
    def family(self) -> str:
        """The folder of the script: gpt2, opt, ..."""
        return self.name.split("/")[0]

    @property
    def preset(self) -> str:
        """What `stillage run` calls it."""
        return f"{self.source}/{self.name}"

    @property
    def extra(self) -> Mapping[str, str]:
        """The extras by name; a switch has an empty value."""
        return {word.partition("=")[0]: word.partition("=")[2] for word in self.extras.split()}

    @property
    def records_per_step(self) -> int:
        """batch x accumulation x GPUs, where `mp` GPUs share one model."""
        per_gpu, accumulation = map(int, self.batch.split("x"))
        return per_gpu * accumulation * int(self.gpus) // int(self.extra.get("mp", "1"))

    @property
    def group(self) -> str:
        """The model that it trains: the teacher on private records, otherwise a student."""
        return "teacher" if self.split == "private" else "student"

    @property
    def trained_part(self) -> str:
        """The part of the data that this model is trained on."""
        return "private" if self.group == "teacher" else "public"


@cache
def published() -> dict[str, Script]:
    """Read the table: every script by name, one whose code does something else twice."""
    lines = [
        line for line in TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    scripts: dict[str, Script] = {}
    for row in csv.DictReader(lines, skipinitialspace=True):
        script = Script(**{key.strip(): (value or "").strip() for key, value in row.items()})
        assert script.preset not in scripts, f"{script.preset} twice"
        scripts[script.preset] = script
        if script.shipped != "-":
            changed = dict(word.split("=") for word in script.shipped.split())
            shipped = dataclasses.replace(script, name=script.name + AS_RELEASED, **changed)
            scripts[shipped.preset] = shipped
    return scripts


def describe_script(script: Script) -> str:
    """Describe a script in one line."""
    is_plain = script.method in ("sft", "init")
    pair = script.student if script.teacher == "-" else f"{script.student} <- {script.teacher}"
    parts = [
        script.method if is_plain else f"{script.method} ({script.type})",
        script.teacher if script.group == "teacher" else pair,
        f"lr {float(script.lr):g}",
        f"{script.records_per_step} records a step",
        f"{script.epochs} epochs" if script.steps == "-" else f"{script.steps} steps",
    ]
    if script.kd_ratio not in ("-", "1.0") and script.method != "minillm":
        parts.append(f"divergence x {script.kd_ratio}")
    parts += [f"corpus {script.corpus}"] if script.corpus != "-" else []
    parts += [f"LoRA {script.lora}"] if script.lora != "-" else []
    parts += [f"on {script.split} records"] if script.split != "all" else []
    return ", ".join(parts)
