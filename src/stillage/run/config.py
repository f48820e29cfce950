"""Every setting of a run: frozen dataclasses for YAML, flags and Python.

Docstrings under the fields become the help of the flags. Reading and writing live in `run.parse`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stillage.run.audit_config import AuditConfig
from stillage.run.mosaic_config import MosaicConfig

SHARES_USUAL: Mapping[str, float] = {
    "private": 0.25,
    "public": 0.25,
    "nonmembers": 0.2,
    "counterfactual": 0.2,
    "validation": 0.05,
    "test": 0.05,
}
"""What share of a source each part draws where nobody says."""


def filled(given: Mapping[str, float], usual: Mapping[str, float]) -> dict[str, float]:
    """Share what is left among the other parts, in proportion; of nothing, none."""
    left = 1 - sum(given.values())
    others = {part: share for part, share in usual.items() if part not in given}
    total = sum(others.values())
    if left < 1e-9 or not total or min(given.values(), default=0) < 0:
        return dict(given)
    return {**{part: share * left / total for part, share in others.items()}, **given}


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the records come from, and which part each is in."""

    source: str = "synthetic"
    """A file, a folder, a hub id, or records made up here. Files are JSONL or Parquet, folders of
    such files or saved by `datasets`; made up are "synthetic" (short biographies) and "staff_cards"
    (the quickstart's)."""
    revision: str = ""
    """Commit of the hub data set; needed for a hub id."""
    subset: str = ""
    """Configuration name of a hub data set."""
    hub_split: str = "train"
    """Which part of the hub data set, or of a data set saved by `datasets`, is read; FOLDER:test
    names the part of one folder."""
    files: dict[str, str] = field(default_factory=dict)
    """A file for each part, instead of one source. E.g. {private: a.jsonl, nonmembers: b.jsonl}:
    the split is yours, and the report says so. Members and nonmembers are other names of the two.
    Rows of the public file may be prompts without an answer, for a method whose teacher writes the
    answers (seqkd, minillm)."""
    columns: dict[str, str] = field(default_factory=dict)
    """Your column names, e.g. prompt question. Without them the usual names are looked for."""
    parallel: tuple[str, ...] = ()
    """The two endings of parallel text, e.g. src tgt. `source` (or the file of a part) is then x,
    where x.src and x.tgt are, or a folder of such pairs; line n of x.tgt answers line n of
    x.src."""
    parallel_prompt: str = "Translate the following text.\n\n{src}"
    """The prompt of parallel text, with {src} once where the source line goes."""
    template: Literal["auto", "alpaca", "raw", "chat"] = "auto"
    """Layout of a prompt: auto, alpaca, raw or chat. auto: as the given model's folder says, its
    chat template where it has one, else alpaca; alpaca: instruction and input; raw: the text as it
    is; chat: the tokenizer's template."""
    shares: dict[str, float] = field(default_factory=lambda: dict(SHARES_USUAL))
    """Share of the source that each part draws. The draw is recorded. Parts that are not named keep
    theirs, scaled to what is left."""
    group_by: str = "near"
    """What stays together in one part. It counts as one draw in every interval: near (records that
    share half of their word 5-grams, or a prompt that is not everybody's: otherwise nonmembers are
    almost members, and students learn their prompts), a column (e.g. passage_id), or empty
    (nothing). No two of the made-up people are near, or share a badge."""
    inclusion: Literal["fixed", "bernoulli"] = "fixed"
    """How members are drawn: fixed shares, or a coin for each. fixed: each share exactly;
    bernoulli: a fair coin for each of private and nonmembers together, near-duplicates as one:
    about equally many; what audit.dp rests on."""
    people: int = 800
    """Made-up people in each large part of the split. That is private, nonmembers and
    counterfactual; synthetic: as many in public, an eighth in validation and test. staff_cards:
    five quarters as many in public, an eighth in validation, three eighths in test."""
    public_answers: float = 1.0
    """Share of the public records that keep their answers. It is a recorded draw, at least one
    above 0; the others become prompts alone, for a method whose teacher writes the answers. The
    student without a teacher learns from the answers kept."""
    needed_until: str = ""
    """Text that ends the needed part of a response, e.g. ;. It ends at the first place with this
    text; how often that part is right is then measured too."""
    max_tokens: int = 512
    """Longest example, in tokens. Never more than the model's context; a longer response is cut at
    the end."""
    max_prompt_tokens: int = 0
    """Longest prompt, in tokens; 0: half of an example. A longer one loses its middle, so that the
    template's head and tail survive; 0 is more than half where the template alone takes over a
    third of it."""
    train_on: dict[str, str] = field(default_factory=dict)
    """Who trains on which records. E.g. {teacher: private 1 of 2, student: public}: private,
    public, all, or an equal part of one of them (a recorded draw, near-duplicates in one part).
    Without it teacher: private, student: public."""
    max_bad_lines: int = 0
    """Broken lines to tolerate. They are counted and listed; one more stops the run."""
    slice_by: tuple[str, ...] = ()
    """Columns for tables by group. They are kept with each record; length: words of the response,
    where there is no such column."""

    def __post_init__(self) -> None:
        """Work out the shares of parts that are not named."""
        object.__setattr__(self, "shares", filled(self.shares, SHARES_USUAL))


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """The tokenizer: trained here on the public records, or given."""

    path: str = ""
    """Folder or hub id; empty: the teacher's or student's own, or a new BPE where both start from
    scratch."""
    revision: str = ""
    """Commit of the hub id."""
    vocab_size: int = 1024
    """Vocabulary of a new byte-level BPE, fitted on public records only (one fitted on private text
    is itself a leak)."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A model: a folder, a pinned hub id, or an architecture to start from scratch."""

    path: str = ""
    """Folder or hub id of the model. Safetensors only; empty: from scratch."""
    revision: str = ""
    """Commit of the hub id: 40 hexadecimal digits."""
    config: str = ""
    """A config.json to start from scratch with. Without it: the few numbers below."""
    architecture: str = "gpt2"
    """Model type of transformers to start from scratch: gpt2, llama, opt, qwen2, ..."""
    layers: int = 2
    """Blocks, from scratch."""
    width: int = 128
    """Hidden size, from scratch."""
    heads: int = 4
    """Attention heads, from scratch."""
    context: int = 512
    """Longest sequence, from scratch."""
    dropout: float = 0.0
    """Dropout, from scratch."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the weights in memory."""
    quantize: Literal["none", "int8", "nf4"] = "none"
    """Weights in 8 or 4 bits, where nothing is trained. With bitsandbytes: pip install
    'stillage[quantize]'."""
    prune_teacher_to: int = 0
    """Student only: start from so many of the teacher's blocks. They are evenly spaced; 0: off."""
    adapter: str = ""
    """A LoRA adapter folder (PEFT) to start from. It is trained further, or merged where the model
    is not trained."""
    lora_rank: int = 0
    """Train a low-rank adapter of this rank; 0: off. LoRA, arXiv:2106.09685; the model itself is
    left alone."""
    lora_alpha: float = 0.0
    """The adapter is scaled by lora_alpha / lora_rank; 0: four times the rank (MiniLLM,
    DistiLLM)."""
    lora_dropout: float = 0.1
    """Dropout before the adapter (DistiLLM: 0.1)."""
    lora_targets: tuple[str, ...] = ()
    """Names of the layers that get an adapter, or all-linear; empty: peft's choice for the
    architecture."""

    @property
    def source(self) -> str:
        """The folder or hub id that the model starts from; empty: from scratch."""
        return self.path or self.adapter


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The training loop: budget, optimiser, precision, checkpoints."""

    epochs: float = 3.0
    """Passes over the training records; 0: no training. The model is then used as it is."""
    max_steps: int = 0
    """Stop after this many optimiser steps; 0: after `epochs`."""
    max_trained_tokens: int = 0
    """Stop after so many trained tokens; 0: off. With the step that reaches them, and the learning
    rate follows them. What makes methods comparable whose texts are of other lengths (a student's
    own, a teacher's, the records')."""
    batch_size: int = 16
    """Records per optimiser step, over all processes."""
    micro_batch_size: int = 0
    """Records per forward pass; 0: the whole batch. Of each process; changes memory, not the
    result."""
    lr_peak: float = 5e-4
    """Highest learning rate."""
    lr_final: float = 0.0
    """Learning rate at the last step of the schedule."""
    schedule: Literal["cosine", "constant", "linear"] = "cosine"
    """Learning rate after warm-up."""
    warmup_fraction: float = 0.03
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = 0.01
    """AdamW weight decay. On matrices only, never on biases and norms."""
    beta1: float = 0.9
    """AdamW beta 1."""
    beta2: float = 0.999
    """AdamW beta 2."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0: no clipping."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Mixed precision: fp32, bf16 or fp16. Of the forward and backward pass."""
    validate_every: float = 1.0
    """Epochs between validations; 0: never. The best and the last weights are kept."""
    keep: Literal["best", "last"] = "last"
    """Which weights become the model: the best or the last. best: of the best validation (see
    keep_by)."""
    keep_by: Literal["loss", "rouge_l"] = "loss"
    """What makes a validation the best: loss or rouge_l. The lowest loss, or the highest ROUGE-L of
    the model's greedy answers (most published students were chosen so); equal ROUGE-L: the lower
    loss."""
    keep_prompts: int = 64
    """keep_by rouge_l: how many validation prompts are answered, the same ones every time."""
    checkpoint_every_s: float = 60.0
    """Seconds between checkpoints. Resuming is exact, so this changes only how much is done again
    after a stop."""
    keep_checkpoints: int = 0
    """Keep the weights of this many validations, the best ones, as model folders in kept/; 0:
    none."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass. Less memory, about a third more time, the
    same result."""
    packing: bool = False
    """Put several records into one row. Each sees itself only: less padding, the same result."""


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """How text is generated."""

    max_new_tokens: int = 0
    """Longest answer, in tokens; 0: 64. Or half of the model's context where that is less."""
    sampling_temperature: float = 0.0
    """Temperature of sampling; 0: greedy."""
    top_p: float = 1.0
    """Nucleus sampling; 1: off."""
    top_k: int = 0
    """Sample among the k best; 0: off."""
    records: int = 100
    """Test records to answer in an evaluation; 0: all."""
    batch_tokens: int = 16384
    """Tokens in one forward pass, padding included. Halved by itself when memory runs out."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """The report."""

    show_text: bool = False
    """Show the texts of private records. They are redacted otherwise."""
    examples: int = 10
    """Most exposed records to list."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """The distillation: which method, with which settings of its own."""

    method: str = "kd"
    """Distillation method, a name from `stillage ls methods`."""
    params: dict[str, str] = field(default_factory=dict)
    """A setting of the method, see `--help distill`. `stillage ls methods` names them all."""
    init_epochs: float = 0.0
    """Fine-tune the student first for so many passes; 0: off. Alone, over the public records; it
    starts from the weights of the lowest validation loss: methods that train on the student's own
    texts need one that can write (MiniLLM, DistiLLM)."""
    minimal: bool = False
    """Also train a student asked only for what is needed. Its teacher's texts end after
    data.needed_until. seqkd."""


@dataclass(frozen=True, kw_only=True)
class LmConfig:
    """A plain-text corpus whose next-token loss is added to the student's.

    Whatever the method, as in MiniLLM and DistiLLM.
    """

    path: str = ""
    """Plain text, or blocks of it; none: no corpus. A file of blocks (`stillage data plain-text
    pack`), or a plain-text file to pack."""
    coef: float = 1.0
    """Weight of its mean loss per corpus token beside the method's mean per response token."""
    batch_size: int = 8
    """Blocks per optimiser step, over all processes."""
    block_tokens: int = 512
    """Tokens of a block, where a text has to be packed."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One experiment: data, tokenizer, teacher, student, texts and scores, report."""

    out: Path = Path("runs/unnamed")
    """Run folder. Without it: runs/CONFIG for a config file, runs/VERB-DATA for flags alone
    (runs/data-answers)."""
    seed: int = 1
    """Every random draw derives from it."""
    jobs: int = 1
    """Stages that may run at the same time. Each runs in a process of its own, where neither needs
    the other."""
    threads: int = 0
    """CPU threads of each process; 0: as torch chooses. The last digits of a sum depend on it, so
    it is part of a run."""
    stages: tuple[Literal["distill", "evaluate", "audit", "mosaic"], ...] = (
        "distill",
        "evaluate",
        "audit",
    )
    """What to do, of distill, evaluate and audit; or mosaic alone. ("distill", "evaluate") never
    audits; ("audit",) takes the models as they are."""
    data: DataConfig = field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    teacher: ModelConfig = field(default_factory=lambda: ModelConfig(layers=4, width=192, heads=6))
    student: ModelConfig = field(default_factory=lambda: ModelConfig(layers=2, width=128, heads=4))
    teacher_train: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=16, lr_peak=2e-3))
    distill: DistillConfig = field(default_factory=DistillConfig)
    student_train: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=10, lr_peak=3e-3))
    track: Literal["none", "wandb", "trackio", "tensorboard"] = "none"
    """Also send each training's numbers to a tracker; metrics.jsonl is written either way."""
    lm: LmConfig = field(default_factory=LmConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    mosaic: MosaicConfig = field(default_factory=MosaicConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
