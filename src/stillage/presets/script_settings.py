"""Published scripts as settings of ours.

What a row does not say is what all scripts of its release share (MiniLLM, arXiv:2306.08543;
DistiLLM, arXiv:2402.03898): prompts of 256 and examples of 512 tokens, AdamW with weight decay
0.01, cosine to 1e-7, gradients clipped at 1, seed 10. Nothing here has a commit or a data file in
it: `presets.needs` says what the user has to bring.
"""

from __future__ import annotations

from stillage.presets.needs import missing
from stillage.presets.published import MODELS, Script, describe_script, published
from stillage.run.flags import Flat
from stillage.run.parse import build, to_yaml

TYPES = ("sfkl", "srkl", "jsd", "tvd", "fkl", "kd", "rkl")
"""Parts of the release's --type; the first in it counts, as there. kd is our fkl."""
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
        "nonmembers": 0.2,
        "validation": 0.08,
        "test": 0.04,
    },
}
"""How a pool is drawn, by the script's split.

A release with private records has 4000 for dev: parted here, so that nonmembers choose nothing."""


def script_settings(script: Script) -> Flat:
    """Turn a script into settings; data, corpus and commits are left to the user."""
    shares = SHARES["all" if script.split == "all" else "private"]
    flat: Flat = {
        "out": [f"runs/{script.preset}"],
        "seed": [script.extra.get("seed", "10")],
        **SHARED,
        **{f"data.shares.{part}": [f"{share:g}"] for part, share in shares.items()},
        **training_settings(script, f"{script.group}_train"),
    }
    if script.extra.get("dev") == "500":
        flat |= {"data.shares.public": ["0.96"], "data.shares.validation": ["0.04"]}
    for group, cell in (("student", script.student), ("teacher", script.teacher)):
        flat |= starting_model(script, group, cell)
    if script.lora != "-" and f"{script.group}.adapter" not in flat:
        flat[f"{script.group}.lora_rank"] = [script.lora]
    if script.split != "all":
        flat["audit.counterfactual"] = ["false"]  # the release has none
    if script.corpus != "-":
        batch = str(script.records_per_step)
        flat |= {"lm.coef": ["1"], "lm.batch_size": [batch], "lm.block_tokens": ["512"]}
    return flat | method_settings(script) | untrained_settings(script)


def training_settings(script: Script, group: str) -> Flat:
    """Set budget and optimiser of a training."""
    values = {
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
        values |= {
            "max_steps": script.steps,
            "lr_final": "5e-6",
            "schedule": "cosine" if "sched" in script.extra else "constant",
            "warmup_fraction": f"{100 / int(script.steps):g}",
            "weight_decay": "1e-6",
            "beta2": "0.95",
        }
    return {f"{group}.{name}": [value] for name, value in values.items()}


def untrained_settings(script: Script) -> Flat:
    """Set up the model that the script does not train, if the same run is to."""
    if script.group == "teacher":
        return {"student_train.epochs": ["0"]}
    untrained: Flat = {"teacher_train.epochs": ["0"]}
    maker = published().get(f"{script.source}/{script.family}/{script.teacher}")
    if maker is not None and maker.group == "teacher":
        return training_settings(maker, "teacher_train") | untrained
    dtype = {} if script.teacher == "-" else {"teacher.dtype": ["bfloat16"]}  # fp16 there
    return dtype | untrained


def starting_model(script: Script, group: str, cell: str) -> Flat:
    """Name a model's start: a hub id, what another script trained, or an adapter."""
    if cell in ("-", "given"):
        return {}
    model, _, adapter = cell.partition("+")
    base = {f"{group}.path": [MODELS[model] if model in MODELS else trained_at(script, model)]}
    return base | ({f"{group}.adapter": [trained_at(script, adapter)]} if adapter else {})


def trained_at(script: Script, cell: str) -> str:
    """The usual folder of the model that another script of the family trains."""
    name, _, way = cell.partition(":")
    maker = published()[f"{script.source}/{script.family}/{name}"]
    return f"runs/{maker.preset}{'-' + way if way else ''}/{maker.group}/model"


def released_divergence(script: Script) -> str:
    """The divergence that the release's --type names."""
    part = next(part for part in TYPES if part in script.type)
    return "fkl" if part == "kd" else part


def method_settings(script: Script) -> Flat:
    """Set the method and its parameters."""
    method, params = script.method, {}
    if script.group == "teacher":
        method = "kd"  # never reached: it says that there is a teacher
    elif method == "init":
        params = {"epochs": script.epochs}
    elif method in ("kd", "seqkd"):
        params = {"kd_weight": script.kd_ratio, "ce_weight": f"{1 - float(script.kd_ratio):g}"}
        chosen = {"decoding": "sampling"} if method == "seqkd" else {}
        params |= chosen or {"divergence": released_divergence(script)}
    elif method == "distillm":
        params = {"preset": "as_released", "divergence": released_divergence(script)}
        params |= {"init_threshold": script.extra["phi0"], "loss_eps": script.extra["eps"]}
    elif method in ("imitkd", "gkd", "minillm"):
        params = {"preset": "as_released"}
    own = {f"distill.params.{name}": [value] for name, value in params.items()}
    return {"distill.method": [method], **own}


def script_yaml(script: Script) -> str:
    """Write a script as a config file, headed by its source and what is missing."""
    flat = script_settings(script)
    head = [
        f"{script.preset}: {describe_script(script)}",
        f"from {script.script} of {script.source}",
        *([f"note: {script.note}"] if script.note else []),
        *(f"to be given: {what}: {fix}" for what, fix in missing(script, flat)),
    ]
    files = {script.trained_part: "train.jsonl", "validation": "dev.jsonl"}
    flat |= {f"data.files.{name}": [file] for name, file in files.items()}
    flat |= {"lm.path": ["corpus.safetensors"]} if script.corpus != "-" else {}
    return "\n".join(f"# {line}" for line in head) + "\n" + to_yaml(build(flat))
