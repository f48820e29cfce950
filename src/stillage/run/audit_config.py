"""The settings of the audit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


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
    """They look at means over so many neighbouring tokens (n-grams), each token beginning one; 1:
    at single tokens."""
    neighbours: int = 25
    """Neighbours of each record, for the attack of that name (published: 25 to 100)."""
    neighbour_share: float = 0.05
    """Share of a response's tokens that a neighbour has swapped, at least one."""
    neighbour_top_k: int = 10
    """A swapped token is drawn among this many proposals of the masked model."""
    masked_model: str = ""
    """Folder or hub id of the masked language model that makes neighbours; empty: a small one,
    trained on public records."""
    masked_revision: str = ""
    """Commit of the masked model's hub id."""
    self_prompt_texts: int = 0
    """Texts that each model writes, to as many public prompts (a recorded draw), for the attacks
    that compare it with a model of the same start trained on those (published: 10,000); 0: one for
    every public record."""
    self_prompt_epochs: float = 0.0
    """Passes over these texts; 0: a fifth of what the model itself had over its own, as published
    (2 of 10, at half the learning rate): a reference that is taught for longer learns what the
    model recites of its members."""
    prefix_records: int = 10
    """Known nonmembers (ReCaLL), and known members too (Con-ReCall), before each record. They are
    not evaluated."""
    mope_copies: int = 10
    """Noisy copies of a model, for MoPe."""
    mope_sigma: float = 0.2
    """Noise on the weights: its standard deviation, relative to each tensor's own size or absolute
    (see mope_noise)."""
    mope_noise: Literal["relative", "absolute"] = "relative"
    """relative: mope_sigma times the root mean square of each tensor; absolute: as published, with
    0.005 or 0.01 (on small models as much as 0.1 or 0.2 relative)."""
    dc_pdd_cap: float = 0.01
    """No token counts for more than this in DC-PDD."""
    fprs: tuple[float, ...] = (0.1, 0.01)
    """False-positive rates to report true-positive rates at."""
    harmless_auc: float = 0.6
    """An AUC below this counts as harmless. "No leak found" is said only where the upper limits of
    all attacks lie below it. 0.6 is what 0.36-GDP allows: 2.5 % of members found at 1 % false
    alarms."""
    harmless_tpr: float = 0.05
    """A share of members below this counts as harmless. Found at the lowest of audit.fprs, or
    recited beyond what is of nonmembers; likewise."""
    counterfactual: bool = True
    """Train the counterfactual teacher and its student. A second teacher that never saw the private
    records, and a student from it: what a clean student scores."""
    no_teacher: bool = True
    """Train a student of the same size without a teacher. The control, and the reference model of
    the attacks."""
    reference: str = ""
    """Folder or hub id of a model that saw no member. In an audit without training it is the
    reference; in a run that trains, where that is the no-teacher student, the attack
    reference_outside asks it, whatever its tokenizer."""
    reference_revision: str = ""
    """Commit of the reference model's hub id."""
    extract: str = ""
    """Column to recite, e.g. badge; none: the first tokens. Its value, at the place it has in the
    response, must be recited."""
    extract_tokens: int = 32
    """Longest suffix to recite where no column is named."""
    extract_temperature: float = 1.0
    """Temperature of the attacker who samples many times (probabilistic extraction); 0: greedy."""
    extract_top_k: int = 0
    """That attacker draws among the k likeliest tokens; 0: all."""
    extract_top_p: float = 1.0
    """That attacker draws among the likeliest tokens that have this probability together; 1:
    all."""
    exposure_records: int = 0
    """Members, and nonmembers, to rank by exposure; 0: none. At most; their value of `extract` is
    ranked among nonmembers' values put in its place (canary exposure; a recorded draw); each costs
    exposure_candidates + 1 passes."""
    exposure_candidates: int = 256
    """How many nonmembers' values each is ranked among. More than log2 of this number + 1 bits
    cannot be counted."""
    max_records: int = 0
    """Members, and nonmembers, to audit at most; 0: all. Each by a recorded draw, near-duplicates
    together."""
    level: float = 0.95
    """Confidence level of every interval."""
    shadows: int = 0
    """Shadow pipelines, an even number; 0: none. So many teachers, each trained on a random half of
    members and nonmembers together, and a student of each, by the recipe of this run. For LiRA,
    RMIA and counterfactual memorization; all attacks that need them are run unless `attacks` names
    some. Asking for more later reuses the first ones."""
    blocks: bool = False
    """Also ask which blocks carry the leak. By noise, gradient, reverting, logit lens and a probe,
    block by block."""
    block_records: int = 200
    """Members, and nonmembers, whose blocks are examined; 0: all. At most, each (a recorded draw);
    all are those that are audited."""
    signal_records: int = 200
    """Records of each kind for the teacher divergence; 0: none. On them the teacher is compared
    with the one that never saw the members (a recorded draw)."""
    dp: bool = False
    """Also bound the epsilon of differential privacy. From below, from this one run; needs
    data.inclusion bernoulli."""
    dp_attack: str = ""
    """The attack that guesses, fixed in advance; empty: the first of `attacks`."""
    dp_guesses: tuple[int, ...] = (100, 100)
    """How many records are guessed to be members and how many not, fixed in advance; about the
    others nothing is said."""
    dp_delta: float = 1e-5
    """delta of (epsilon, delta)-differential privacy."""
    measures: tuple[str, ...] = ()
    """Measures of a plug-in to make besides."""
    params: dict[str, str] = field(default_factory=dict)
    """Settings of such a measure. MEASURE.SETTING: value."""
    batch_tokens: int = 16384
    """Tokens in one forward pass, padding included. Halved by itself when memory runs out."""
    strict: bool = False
    """Exit with 2 where a validity check fails."""
