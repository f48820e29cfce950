"""The published training scripts as presets: rows of presets/published.csv, turned into settings of ours.

What a row does not say is what all scripts of its release share (MiniLLM, arXiv:2306.08543; DistiLLM, arXiv:2402.03898):
prompts of 256 and examples of 512 tokens, AdamW with weight decay 0.01, cosine to 1e-7, gradients clipped at 1, seed 10.
Nothing here has a commit or a data file in it: `needs` says what the user has to bring.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stillage.errors import ConfigError
from stillage.run.flags import Flat
from stillage.run.parse import build, to_yaml

TABLE = Path(__file__).parent.parent / "presets" / "published.csv"
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
DIVERGENCES = {
    "sfkl": "sfkl",
    "srkl": "srkl",
    "jsd": "jsd",
    "tvd": "tvd",
    "fkl": "fkl",
    "kd": "fkl",
    "rkl": "rkl",
}
"""A part of the release's --type -> our divergence; the first that is found counts, as there."""
SHARED: Flat = {
    "stages": ["distill"],
    "data.template": ["alpaca"],
    "data.max_tokens": ["512"],
    "data.max_prompt_tokens": ["256"],
    "generate.max_new_tokens": ["256"],
    "generate.sampling_temperature": ["1"],
    "generate.records": ["0"],
}
SHARES = {
    "all": {"public": 0.92, "validation": 0.08},  # 1000 of Dolly's 12,435
    "private": {
        "private": 0.34,
        "public": 0.34,
        "outsiders": 0.2,
        "validation": 0.08,
        "test": 0.04,
    },
}
"""How a pool is drawn. Where the release has private records, its dev set of 4000 is parted: non-members chose nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A row of the table, as text; the head of the file explains the columns."""

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


@cache
def published() -> dict[str, Script]:
    """Every preset of the table by name, those of the broken scripts twice."""
    lines = [
        line for line in TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    found: dict[str, Script] = {}
    for row in csv.DictReader(lines, skipinitialspace=True):
        script = Script(**{key.strip(): (value or "").strip() for key, value in row.items()})
        assert script.preset not in found, f"{script.preset} twice"
        found[script.preset] = script
        if script.shipped != "-":
            changed = dict(word.split("=") for word in script.shipped.split())
            shipped = dataclasses.replace(script, name=script.name + AS_RELEASED, **changed)
            found[shipped.preset] = shipped
    return found


def settings(script: Script) -> Flat:
    """The flat settings of a preset; data, corpus and commits are left to the user (`needs`)."""
    shares = SHARES["all" if script.split == "all" else "private"]
    flat: Flat = {
        "out": [f"runs/{script.preset}"],
        "seed": [script.extra.get("seed", "10")],
        **SHARED,
        **{f"data.shares.{role}": [f"{share:g}"] for role, share in shares.items()},
        **training(script, f"{script.group}_train"),
    }
    if script.extra.get("dev") == "500":
        flat |= {"data.shares.public": ["0.96"], "data.shares.validation": ["0.04"]}
    for group, cell in (("student", script.student), ("teacher", script.teacher)):
        flat |= start(script, group, cell)
    if script.lora != "-" and f"{script.group}.adapter" not in flat:
        flat[f"{script.group}.lora_rank"] = [script.lora]
    if script.split != "all":
        flat["audit.counterfactual"] = [
            "false"
        ]  # the release has none; it takes a share of its own
    if script.corpus != "-":
        flat |= {
            "lm.coef": ["1"],
            "lm.batch_size": [str(script.records_per_step)],
            "lm.block_tokens": ["512"],
        }
    return flat | distillation(script) | others(script)


def training(script: Script, group: str) -> Flat:
    """Budget and optimiser."""
    found = {
        "epochs": script.epochs,
        "batch_size": str(script.records_per_step),
        "micro_batch_size": script.batch.split("x")[0],
        "lr_peak": script.lr,
        "lr_final": "1e-7",
        "schedule": "cosine",
        "warmup_fraction": "0",
        "weight_decay": "0.01",
        "clip_norm": "1",
        "precision": "bf16" if "bf16" in script.extra.get("ds", "") else "fp16",
        "gradient_checkpointing": "true" if "gc" in script.extra else "false",
    }
    if script.method == "minillm":
        found |= {
            "max_steps": script.steps,
            "lr_final": "5e-6",
            "schedule": "cosine" if "sched" in script.extra else "constant",
            "warmup_fraction": f"{100 / int(script.steps):g}",
            "weight_decay": "1e-6",
            "beta2": "0.95",
        }
    return {f"{group}.{name}": [value] for name, value in found.items()}


def others(script: Script) -> Flat:
    """The model that the script does not train: given, or settings ready for whoever trains the teacher in the same run."""
    if script.group == "teacher":
        return {"student_train.epochs": ["0"]}
    found: Flat = {"teacher_train.epochs": ["0"]}
    maker = published().get(f"{script.source}/{script.family}/{script.teacher}")
    if maker is not None and maker.group == "teacher":
        return training(maker, "teacher_train") | found
    return (
        found if script.teacher == "-" else {"teacher.dtype": ["bfloat16"], **found}
    )  # fp16 there


def start(script: Script, group: str, cell: str) -> Flat:
    """Where a model starts from: a hub id, what another preset trained, or an adapter of it on a hub id."""
    if cell in ("-", "given"):
        return {}
    model, _, adapter = cell.partition("+")
    found = {f"{group}.path": [MODELS[model] if model in MODELS else trained_at(script, model)]}
    return found | ({f"{group}.adapter": [trained_at(script, adapter)]} if adapter else {})


def trained_at(script: Script, cell: str) -> str:
    """The folder of the model that another preset of the family trains, where its run lies at its usual place."""
    name, _, way = cell.partition(":")
    maker = published()[f"{script.source}/{script.family}/{name}"]
    return f"runs/{maker.preset}{'-' + way if way else ''}/{maker.group}/model"


def how_to_train(folder: str) -> str:
    """The command that trains what lies at `trained_at`."""
    preset = folder.removeprefix("runs/").rsplit("/", 2)[0]
    if preset.endswith("-init"):
        return f"stillage run {preset.removesuffix('-init')} --method init --out runs/{preset}"
    return f"stillage run {preset}"


def divergence_of(script: Script) -> str:
    """The divergence that the release's --type names."""
    return next(ours for part, ours in DIVERGENCES.items() if part in script.type)


def distillation(script: Script) -> Flat:
    """The method and its settings."""
    method, params = script.method, {}
    if script.group == "teacher":
        method = "kd"  # never reached: it says that there is a teacher
    elif method == "init":
        params = {"epochs": script.epochs}
    elif method in ("kd", "seqkd"):
        params = {"kd_weight": script.kd_ratio, "ce_weight": f"{1 - float(script.kd_ratio):g}"}
        params |= (
            {"decoding": "sampling"} if method == "seqkd" else {"divergence": divergence_of(script)}
        )
    elif method == "distillm":
        params = {"preset": "as_released", "divergence": divergence_of(script)}
        params |= {"init_threshold": script.extra["phi0"], "loss_eps": script.extra["eps"]}
    elif method in ("imitkd", "gkd", "minillm"):
        params = {"preset": "as_released"}
    return {"distill.method": [method]} | {
        f"distill.params.{name}": [value] for name, value in params.items()
    }


def describe(script: Script) -> str:
    """A preset in one line."""
    method = (
        script.method if script.method in ("sft", "init") else f"{script.method} ({script.type})"
    )
    pair = script.student if script.teacher == "-" else f"{script.student} <- {script.teacher}"
    if script.group == "teacher":
        pair = script.teacher
    budget = f"{script.steps} steps" if script.steps != "-" else f"{script.epochs} epochs"
    parts = [
        method,
        pair,
        f"lr {float(script.lr):g}",
        f"{script.records_per_step} records a step",
        budget,
    ]
    if script.kd_ratio not in ("-", "1.0") and script.method != "minillm":
        parts.append(f"divergence x {script.kd_ratio}")
    parts += [f"corpus {script.corpus}"] if script.corpus != "-" else []
    parts += [f"LoRA {script.lora}"] if script.lora != "-" else []
    parts += [f"on {script.split} records"] if script.split != "all" else []
    return ", ".join(parts)


def as_yaml(script: Script) -> str:
    """A preset as a config file, every setting written out, with where it comes from and what is missing on top."""
    flat = settings(script)
    head = [f"{script.preset}: {describe(script)}", f"from {script.script} of {script.source}"]
    head += [f"note: {script.note}"] if script.note else []
    head += [f"to be given: {what}: {fix}" for what, fix in needs(script, flat)]
    role = "private" if script.group == "teacher" else "public"
    flat |= {
        f"data.files.{role}": ["train.jsonl"],
        "data.files.validation": ["dev.jsonl"],
    }  # nothing runs without them
    flat |= {"lm.path": ["corpus.safetensors"]} if script.corpus != "-" else {}
    return "\n".join(f"# {line}" for line in head) + "\n" + to_yaml(build(flat))


def needs(script: Script, flat: Flat) -> list[tuple[str, str]]:
    """What is missing before the settings can run: (what, how to give it)."""
    found = record_needs(script, flat)
    if script.corpus != "-" and "lm.path" not in flat:
        found.append(
            (
                f"plain text ({script.corpus} blocks)",
                "--lm.path FILE, or --lm.path '' to do without",
            )
        )
    if script.group == "student":
        found += model_needs("student", script.student, flat)
    return found + model_needs("teacher", script.teacher, flat)


def record_needs(script: Script, flat: Flat) -> list[tuple[str, str]]:
    """The same for the records alone."""
    if any(path == "data.source" or path.startswith("data.files") for path in flat):
        return []
    role = "private" if script.group == "teacher" else "public"
    return [
        ("records", f"--data.files.{role} FILE --data.files.validation FILE, or --data.source FILE")
    ]


def model_needs(group: str, cell: str, flat: Flat) -> list[tuple[str, str]]:
    """The same for one model."""
    if cell == "given" and not flat.get(f"{group}.path"):
        return [(f"the {group}", f"--{group} FOLDER")]
    found = []
    for setting in (f"{group}.path", f"{group}.adapter"):
        path = (flat.get(setting) or [""])[0]
        if not path or Path(path).is_dir():
            continue
        if path in MODELS.values() and not flat.get(f"{group}.revision"):
            found.append(
                (f"the commit of {path}", f"--{group}.revision COMMIT, or --{group} FOLDER")
            )
        elif (
            path.startswith("runs/")
            and path.removeprefix("runs/").rsplit("/", 2)[0].removesuffix("-init") in published()
        ):
            found.append((path, f"`{how_to_train(path)}`, or --{setting} FOLDER"))
    return found


def check_needs(script: Script, flat: Flat, *, only_records: bool = False) -> None:
    """ConfigError that lists all that is missing, and how to give it. only_records: no model is going to be loaded."""
    missing = record_needs(script, flat) if only_records else needs(script, flat)
    if missing:
        raise ConfigError(
            f"The preset {script.preset} needs what no package can bring along.",
            "missing: " + "; ".join(what for what, _ in missing),
            "Give: " + "; ".join(fix for _, fix in missing),
        )
