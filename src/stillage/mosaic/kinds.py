"""How a near-copy differs from its canary: one dataclass for each way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """Some tokens replaced by others, all else in its place (A_replace)."""

    replaced: int  # tokens
    candidates: Literal["masked", "vocabulary", "random"] = "masked"
    """masked: a masked model's top_k for the place; vocabulary: any token of the masked model;
    random: any token of the trained model's tokenizer."""
    top_k: int = 10
    places: Literal["different", "same"] = "different"
    """same: the near-copies of one canary are changed at the same places."""
    spread: bool = False
    """One place in each of `replaced` equal segments, instead of any places."""
    single_token_only: bool = True
    """Only candidates that are one token of the trained model's tokenizer, so that the Hamming
    distance is `replaced`; otherwise a candidate may be several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Insertion:
    """Random tokens between all pieces of `piece` tokens (A_insert)."""

    piece: int  # n, tokens
    inserted: int  # X, random tokens in each gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """The pieces of `piece` tokens each at a place of its own: X without end."""

    piece: int  # n, tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Shuffle:
    """Pieces of `piece` tokens in another order, tau away by Kendall's distance."""

    piece: int  # n, tokens
    tau: float  # share of token pairs in the other order


@dataclass(frozen=True, slots=True, kw_only=True)
class Paraphrase:
    """Rephrasings by an instruct model (A_paraphrase)."""

    writer: str  # folder, hub id, or http address
    writer_revision: str = ""  # commit of the hub id
    writer_model: str = ""
    sampling_temperature: float = 0.6
    top_p: float = 0.9
    canaries: int = 0  # so many alone, the first; 0: all


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """Near-duplicates that a `corpus scan` found of its targets."""

    scan: str  # folder of the scan
    min_distance: int = 1
    max_distance: int = 50


Kind = Replacement | Insertion | Scatter | Shuffle | Paraphrase | Scanned
