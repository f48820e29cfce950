"""The settings of mosaic memory: canaries, their near-copies, and where they go."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class CanaryConfig:
    """How canaries are written, and which are kept."""

    file: str = ""
    """Take those of this file, which `stillage mosaic canaries` wrote with the same tokenizer, all
    of them; the other settings then decide only canaries at another temperature."""
    members: int = 100
    """Canaries that go into the documents."""
    nonmembers: int = 100
    """Canaries of the same kind that go nowhere."""
    length: int = 100
    """Tokens of a canary, in the trained model's tokenizer."""
    generator: str = ""
    """Folder or hub id of the model that writes them. Empty: the model that is trained, before."""
    revision: str = ""
    """Commit of the generator's hub id."""
    sampling_temperature: float = 1.0
    """Temperature of the sampling."""
    top_k: int = 0
    """Sample among the k likeliest tokens; 0: all. The published study left 50 unsaid."""
    top_p: float = 1.0
    """Nucleus sampling; 1: off."""
    max_jaccard: float = 0.2
    """Largest share of token ids that two canaries, members or not, have in common."""
    buckets: tuple[float, ...] = ()
    """Borders of perplexity buckets, each filled equally, in order; none: any perplexity."""
    tries: int = 100
    """Texts written for each canary that is kept, and for ten more, before giving up."""


@dataclass(frozen=True, kw_only=True)
class MosaicConfig:
    """What near-copies in training data are worth to a model."""

    experiments: tuple[str, ...] = ("exact_copies", "replacement")
    """Names from `stillage ls experiments`."""
    params: dict[str, str] = field(default_factory=dict)
    """A setting of an experiment, e.g. replacement.replaced."""
    books: str = ""
    """Documents: a folder of texts, a file of rows, a hub id."""
    books_revision: str = ""
    """Commit of the hub data set."""
    text_column: str = "text"
    """Column of the text, where documents are rows."""
    title_column: str = ""
    """Column of the title; empty: book_title or title, where there is one. A file's is its name."""
    titles: str = ""
    """Which documents hold the canaries: a file of titles. One a line; `published`: the 100 of the
    study; empty: the rows whose is_host is true, where rows have that column (a table of `stillage
    mosaic books`), else a recorded draw."""
    hosts: int = 1
    """Documents that hold the canaries, where they are drawn. Among those with text."""
    max_documents: int = 0
    """Keep the hosts and so many documents in all; 0: all."""
    copies: int = 10
    """Copies at full dose: exact, or with near-copies. N exact ones, or the canary and N - 1
    near-copies of it."""
    inject: Literal["tokens", "text"] = "tokens"
    """Whether copies are put in as tokens, or as text. As text they stand between spaces, and the
    tokens at the borders may change; the ledger says which copies survived."""
    block_tokens: int = 512
    """Tokens of the blocks that documents are cut into."""
    pretrain_epochs: float = 1.0
    """Passes over the other documents before; 0: none. Of a model from scratch."""
    pretrain_lr: float = 1e-3
    """Highest learning rate of those passes."""
    pretrain_batch_size: int = 8
    """Blocks per step of those passes."""
    pretrain_seed: int = 1
    """Decides the weights and the order of those passes, so that seeds of a sweep share them."""
    monitor_every: int = 0
    """Steps between two AUCs of the canaries. During training; 0: at the end alone."""
    keep_models: bool = False
    """Keep the weights of every condition. Otherwise only those that teach students are kept."""
    masked_model: str = ""
    """Masked language model that proposes replacements. Folder or hub id; empty: a small one,
    trained on the documents that hold no canary."""
    masked_revision: str = ""
    """Commit of the masked model's hub id."""
    attacks: tuple[str, ...] = ("loss", "reference")
    """Names from `stillage ls attacks`. The first is the report's. as_released alone: the five
    scores of the published code. The reference is audit.reference, else the model before it met a
    canary."""
    student_start: Literal["base", "own"] = "base"
    """What students start from: the weights that their teacher started from, or those of `student`,
    from scratch pre-trained like the base."""
    student_reads: Literal["others", "hosts", "all"] = "others"
    """Which documents, without any canary, students are taught on: those that hold no canary for
    the teacher, those that do, or all."""
    student_params: dict[str, str] = field(default_factory=dict)
    """A setting of a student's method, e.g. seqkd.decoding sampling; others are the defaults."""
    student_windows: int = 256
    """Pieces of text that students are taught on; an eighth as many more validate."""
    student_prompt_tokens: int = 32
    """Tokens of a piece that are the prompt."""
    student_response_tokens: int = 96
    """Tokens of a piece that are the response."""
    writer: str = ""
    """Who paraphrases: a folder, hub id or http address. Of an instruct model, or of an
    OpenAI-compatible endpoint."""
    writer_revision: str = ""
    """Commit of the writer's hub id."""
    writer_model: str = ""
    """Name of the model at the endpoint. The key is read from STILLAGE_ENDPOINT_KEY."""
    resamples: int = 1000
    """Draws of canaries for the intervals of rho."""
    canaries: CanaryConfig = field(default_factory=CanaryConfig)
