"""Every setting of a run, as frozen dataclasses: one set of types for YAML, flags and Python.

Docstrings under the fields become the help of the flags. Reading and writing live in `run.parse`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

SHARES_USUAL: Mapping[str, float] = {
    "private": 0.25,
    "public": 0.25,
    "outsiders": 0.2,
    "counterfactual": 0.2,
    "validation": 0.05,
    "test": 0.05,
}
"""What share of a pool each role draws where nobody says."""


def filled(given: Mapping[str, float], usual: Mapping[str, float]) -> dict[str, float]:
    """The shares that are given, and those of the other roles in their usual proportions, scaled to what is left.

    Where nothing is left, the others have none.
    """
    left = 1 - sum(given.values())
    others = {role: share for role, share in usual.items() if role not in given}
    total = sum(others.values())
    if left < 1e-9 or not total or min(given.values(), default=0) < 0:
        return dict(given)
    return {**{role: share * left / total for role, share in others.items()}, **given}


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the records come from, and who gets which."""

    source: str = "synthetic"
    """Made up by the package: "synthetic" (short biographies) or "staff_cards" (the quickstart's); or a file or folder
    (JSONL, Parquet), a `datasets` folder, a hub id."""
    revision: str = ""
    """Commit of the hub data set; needed for a hub id."""
    subset: str = ""
    """Configuration name of a hub data set."""
    hub_split: str = "train"
    """Which part of the hub data set, or of a data set saved by `datasets`, is read; FOLDER:test names the
    part of one folder."""
    files: dict[str, str] = field(default_factory=dict)
    """A file for each role, e.g. {private: a.jsonl, outsiders: b.jsonl}: the split is yours, and the report says so. Rows of
    the public file may be prompts without an answer, for a method whose teacher writes the answers (seqkd, minillm)."""
    columns: dict[str, str] = field(default_factory=dict)
    """Your column names, e.g. {prompt: question, response: answer}; without them the usual names are looked for."""
    parallel: tuple[str, ...] = ()
    """The two endings of parallel text, e.g. [src, tgt]: `source` (or the file of a role) is then x, where x.src and x.tgt
    are, or a folder of such pairs; line n of x.tgt answers line n of x.src."""
    parallel_prompt: str = "Translate the following text.\n\n{src}"
    """The prompt of parallel text, with {src} once where the source line goes."""
    template: Literal["auto", "alpaca", "raw", "chat"] = "auto"
    """How a prompt is laid out: auto (as the given model's folder says: its chat template where it has one, else alpaca),
    alpaca (instruction, input), raw (the text as it is), chat (the tokenizer's template)."""
    shares: dict[str, float] = field(default_factory=lambda: dict(SHARES_USUAL))
    """What share of the pool each role draws; the draw is recorded. Roles that are not named keep theirs, scaled to what is
    left."""
    group_by: str = "near"
    """What stays in one role when a pool is drawn, and counts as one draw in every interval: near (records that share
    half of their word 5-grams, or a prompt that is not everybody's: otherwise outsiders are almost members, and students
    learn their prompts), a column (e.g. passage_id), or empty (nothing). No two of the
    made-up people are near, or share a badge."""
    inclusion: Literal["fixed", "bernoulli"] = "fixed"
    """How private records and outsiders are told apart: fixed (each share exactly), or bernoulli (a fair coin for each of
    both together, near-duplicates as one: about equally many; what audit.dp rests on)."""
    people: int = 800
    """Made-up people in each of private, outsiders and counterfactual. synthetic: as many in public, an eighth in validation
    and test. staff_cards: five quarters as many in public, an eighth in validation, three eighths in test."""
    public_answers: float = 1.0
    """Share of the public records that keep their answers (a recorded draw, at least one above 0); the others become prompts
    alone, for a method whose teacher writes the answers. The student without a teacher learns from the answers kept."""
    needed_until: str = ""
    """Where the needed part of a response ends, if it has more than that (e.g. ;): the first place with this text. How often
    that part is right is then measured too."""
    max_tokens: int = 512
    """Longest example, in tokens, and never more than the model's context; a longer response is cut at the end."""
    max_prompt_tokens: int = 0
    """Longest prompt, in tokens; a longer one loses its middle, so that the template's head and tail survive. 0: half of the
    longest example, more where the template alone takes over a third of it."""
    train_on: dict[str, str] = field(default_factory=dict)
    """Who trains on which records, e.g. {teacher: private 1 of 2, student: public}: private, public, all, or an equal part of
    one of them (a recorded draw, near-duplicates in one part). Without it teacher: private, student: public."""
    max_bad_lines: int = 0
    """Broken lines to tolerate (counted and listed); one more stops the run."""
    slice_by: tuple[str, ...] = ()
    """Columns to keep with each record, for tables by group; length: words of the response, where there is no such column."""

    def __post_init__(self) -> None:
        """Shares of roles that are not named are worked out here, for files, flags and Python alike."""
        object.__setattr__(self, "shares", filled(self.shares, SHARES_USUAL))


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """The tokenizer: trained here on the public records, or given."""

    path: str = ""
    """Folder or hub id; empty: the teacher's or student's own, or a new BPE where both start from scratch."""
    revision: str = ""
    """Commit of the hub id."""
    vocab_size: int = 1024
    """Vocabulary of a new byte-level BPE, fitted on public records only (one fitted on private text is itself a leak)."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A model: a folder, a hub id with its commit, or an architecture to start from scratch."""

    path: str = ""
    """Folder or hub id (safetensors only); empty: from scratch."""
    revision: str = ""
    """Commit of the hub id: 40 hexadecimal digits."""
    config: str = ""
    """A config.json to start from scratch with; empty: the few numbers below."""
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
    """Weights in 8 or 4 bits, for a model that is not trained (bitsandbytes: pip install 'stillage[quantize]')."""
    prune_teacher_to: int = 0
    """Student only: start from the teacher's own blocks, this many of them, evenly spaced; 0: off."""
    adapter: str = ""
    """A LoRA adapter folder (PEFT) to start from; trained further, or merged where the model is not trained."""
    lora_rank: int = 0
    """Train a low-rank adapter (LoRA, arXiv:2106.09685) of this rank and leave the model itself alone; 0: off."""
    lora_alpha: float = 0.0
    """The adapter is scaled by lora_alpha / lora_rank; 0: four times the rank (MiniLLM, DistiLLM)."""
    lora_dropout: float = 0.1
    """Dropout before the adapter (DistiLLM: 0.1)."""
    lora_targets: tuple[str, ...] = ()
    """Names of the layers that get an adapter, or all-linear; empty: peft's choice for the architecture."""

    @property
    def source(self) -> str:
        """The folder or hub id that the model starts from; empty: from scratch."""
        return self.path or self.adapter


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The training loop: budget, optimiser, precision, checkpoints."""

    epochs: float = 3.0
    """Passes over the training records; 0: the model is used as it is."""
    max_steps: int = 0
    """Stop after this many optimiser steps; 0: after `epochs`."""
    max_trained_tokens: int = 0
    """Stop with the step that reaches this many trained tokens, and let the learning rate follow them; 0: off. What makes
    methods comparable whose texts are of other lengths (a student's own, a teacher's, the records')."""
    batch_size: int = 16
    """Records per optimiser step, over all processes."""
    micro_batch_size: int = 0
    """Records per forward pass and process; 0: the whole share of the batch. Changes memory, not the result."""
    lr_peak: float = 5e-4
    """Highest learning rate."""
    lr_final: float = 0.0
    """Learning rate at the last step of the schedule."""
    schedule: Literal["cosine", "constant", "linear"] = "cosine"
    """Learning rate after warm-up."""
    warmup_fraction: float = 0.03
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: float = 0.01
    """AdamW weight decay, on matrices only (never on biases and norms)."""
    beta1: float = 0.9
    """AdamW beta 1."""
    beta2: float = 0.999
    """AdamW beta 2."""
    clip_norm: float = 1.0
    """Largest norm of the gradient; 0: no clipping."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Mixed precision of the forward and backward pass."""
    validate_every: float = 1.0
    """Epochs between validations; the best and the last weights are kept. 0: never."""
    keep: Literal["best", "last"] = "last"
    """Which weights become the model of the next stages: those of the best validation (see keep_by), or the last."""
    keep_by: Literal["loss", "rouge_l"] = "loss"
    """What makes a validation the best: the lowest loss, or the highest ROUGE-L of the model's greedy answers (most published
    students were chosen so); equal ROUGE-L: the lower loss."""
    keep_prompts: int = 64
    """keep_by rouge_l: how many validation prompts are answered, the same ones every time."""
    checkpoint_every_s: float = 60.0
    """Seconds between checkpoints; resuming is exact, so this changes only how much is done again after a stop."""
    keep_checkpoints: int = 0
    """Keep the weights of this many validations, the best ones, as model folders in kept/; 0: none."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time, the same result."""
    packing: bool = False
    """Put several records into one row, each seeing itself only: less padding, the same result."""


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """How text is generated."""

    max_new_tokens: int = 0
    """Longest answer, in tokens; 0: 64, or half of the model's context where that is less."""
    sampling_temperature: float = 0.0
    """0: greedy."""
    top_p: float = 1.0
    """Nucleus sampling; 1: off."""
    top_k: int = 0
    """Sample among the k best; 0: off."""
    records: int = 100
    """Test records to answer in an evaluation; 0: all."""
    batch_tokens: int = 16384
    """Tokens in one forward pass, padding included; halved by itself when memory runs out."""


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """Which attacks, which controls, at which error rates."""

    attacks: tuple[str, ...] = (
        "loss",
        "min_k",
        "min_k_plus_plus",
        "zlib",
        "reference",
        "reference_per_byte",
        "reference_counterfactual",
    )
    """Names from `stillage ls attacks`."""
    min_k_fraction: float = 0.2
    """Share of tokens that min-k and min-k++ look at."""
    min_k_count: int = 0
    """They look at so many tokens instead (all, of a shorter record); 0: at the share."""
    min_k_window: int = 1
    """They look at means over so many neighbouring tokens (n-grams), each token beginning one; 1: at single tokens."""
    neighbours: int = 25
    """Neighbours of each record, for the attack of that name (published: 25 to 100)."""
    neighbour_share: float = 0.05
    """Share of a response's tokens that a neighbour has swapped, at least one."""
    neighbour_top_k: int = 10
    """A swapped token is drawn among this many proposals of the masked model."""
    masked_model: str = ""
    """Folder or hub id of the masked language model that makes neighbours; empty: a small one, trained on public records."""
    masked_revision: str = ""
    """Commit of the masked model's hub id."""
    self_prompt_texts: int = 0
    """Texts that each model writes, to as many public prompts (a recorded draw), for the attacks that compare it with a model
    of the same start trained on those (published: 10,000); 0: one for every public record."""
    self_prompt_epochs: float = 0.0
    """Passes over these texts; 0: a fifth of what the model itself had over its own, as published (2 of 10, at half the
    learning rate): a reference that is taught for longer learns what the model recites of its members."""
    prefix_records: int = 10
    """Known outsiders (ReCaLL), and known members too (Con-ReCall), before each record; they are not evaluated."""
    mope_copies: int = 10
    """Noisy copies of a model, for MoPe."""
    mope_sigma: float = 0.2
    """Noise on the weights: its standard deviation, relative to each tensor's own size or absolute (see mope_noise)."""
    mope_noise: Literal["relative", "absolute"] = "relative"
    """relative: mope_sigma times the root mean square of each tensor; absolute: as published, with 0.005 or 0.01 (on small
    models as much as 0.1 or 0.2 relative)."""
    dc_pdd_cap: float = 0.01
    """No token counts for more than this in DC-PDD."""
    fprs: tuple[float, ...] = (0.1, 0.01)
    """False-positive rates at which the true-positive rate is reported."""
    harmless_auc: float = 0.6
    """An AUC below this counts as harmless: "no leak found" is said only where the upper limits of all attacks lie below it.
    0.6 is what 0.36-GDP allows: 2.5 % of members found at 1 % false alarms."""
    harmless_tpr: float = 0.05
    """A share of members below this counts as harmless, found at the lowest of audit.fprs, or recited beyond what is of
    outsiders; likewise."""
    counterfactual: bool = True
    """Train a second teacher that never saw the private records, and a student from it: what a clean student scores."""
    no_teacher: bool = True
    """Train a student of the same size without a teacher: the control, and the reference model of the attacks."""
    reference: str = ""
    """Folder or hub id of a model that saw no member. In an audit without training it is the reference; in a run that trains,
    where that is the no-teacher student, the attack reference_outside asks it, whatever its tokenizer."""
    reference_revision: str = ""
    """Commit of the reference model's hub id."""
    extract: str = ""
    """Column whose value, at the place it has in the response, must be recited (e.g. badge); empty: the first tokens."""
    extract_tokens: int = 32
    """Longest suffix to recite when no column is named."""
    extract_temperature: float = 1.0
    """Temperature of the attacker who samples many times (probabilistic extraction); 0: greedy."""
    extract_top_k: int = 0
    """That attacker draws among the k likeliest tokens; 0: all."""
    extract_top_p: float = 1.0
    """That attacker draws among the likeliest tokens that have this probability together; 1: all."""
    exposure_records: int = 0
    """Members and outsiders whose value of `extract` is ranked among outsiders' values put in its place (canary exposure), at
    most, each (a recorded draw); each costs exposure_candidates + 1 passes. 0: the measure is left out."""
    exposure_candidates: int = 256
    """How many outsiders' values each is ranked among; more than log2 of this number + 1 bits cannot be counted."""
    max_records: int = 0
    """Members and outsiders to audit, at most, each (a recorded draw, near-duplicates together); 0: all."""
    level: float = 0.95
    """Confidence level of every interval."""
    shadows: int = 0
    """Shadow pipelines, an even number: so many teachers, each trained on a random half of members and outsiders together,
    and a student of each, by the recipe of this run. For LiRA, RMIA and counterfactual memorization; all attacks that need
    them are run unless `attacks` names some. Asking for more later reuses the first ones. 0: none."""
    blocks: bool = False
    """Also ask which blocks carry the leak: noise, gradient, reverting, logit lens and a probe, block by block."""
    block_records: int = 200
    """Members and outsiders whose blocks are examined, at most, each (a recorded draw); 0: all that are audited."""
    signal_records: int = 200
    """Records of each kind on which the teacher is compared with the one that never saw the members (a recorded draw);
    0: the comparison is left out."""
    dp: bool = False
    """Also bound the epsilon of differential privacy from below, from this one run; needs data.inclusion bernoulli."""
    dp_attack: str = ""
    """The attack that guesses, fixed in advance; empty: the first of `attacks`."""
    dp_guesses: tuple[int, ...] = (100, 100)
    """How many records are guessed to be members and how many not, fixed in advance; about the others nothing is said."""
    dp_delta: float = 1e-5
    """delta of (epsilon, delta)-differential privacy."""
    batch_tokens: int = 16384
    """Tokens in one forward pass, padding included; halved by itself when memory runs out."""
    strict: bool = False
    """Exit with 2 when the split's validity checks fail."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """The report."""

    show_text: bool = False
    """Show the texts of private records in the report; they are redacted otherwise."""
    examples: int = 10
    """Most exposed records to list."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """The distillation: which method, with which settings of its own."""

    method: str = "kd"
    """A name from `stillage ls methods`."""
    params: dict[str, str] = field(default_factory=dict)
    """The method's own settings; `stillage ls methods` names them."""
    init_epochs: float = 0.0
    """Fine-tune the student alone for so many passes over the public records first, and start from the weights of the lowest
    validation loss: methods that train on the student's own texts need one that can write (MiniLLM, DistiLLM). 0: off."""
    minimal: bool = False
    """Also train a student that is asked only for what is needed: its teacher's texts end after data.needed_until. seqkd."""


@dataclass(frozen=True, kw_only=True)
class LmConfig:
    """A plain-text corpus whose next-token loss is added to the student's, whatever the method (MiniLLM, DistiLLM)."""

    path: str = ""
    """A file of blocks (`stillage data plain-text pack`), or a plain-text file to pack; empty: no corpus."""
    coef: float = 1.0
    """Weight of its mean loss per corpus token beside the method's mean per response token."""
    batch_size: int = 8
    """Blocks per optimiser step, over all processes."""
    block_tokens: int = 512
    """Tokens of a block, where a text has to be packed."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One experiment: data -> tokenizer -> teacher -> student -> texts and scores -> report."""

    out: Path = Path("runs/unnamed")
    """The run folder. Without it: runs/CONFIG for a config file, runs/VERB-DATA for flags alone (runs/data-answers)."""
    seed: int = 1
    """Every random draw derives from it."""
    jobs: int = 1
    """Stages that may run at the same time, each in a process of its own, where neither needs the other."""
    threads: int = 0
    """CPU threads of each process; 0: as torch chooses. The last digits of a sum depend on it, so it is part of a run."""
    stages: tuple[Literal["distill", "evaluate", "audit"], ...] = ("distill", "evaluate", "audit")
    """What to do; ("distill", "evaluate") never audits, ("audit",) takes the models as they are."""
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
    report: ReportConfig = field(default_factory=ReportConfig)
