"""One measured number: a row of results.parquet."""

from __future__ import annotations

from dataclasses import dataclass

NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One number with its interval, what it is about, and where it comes from.

    A column that does not apply is "" for text, NaN for floats, 0 for counts. `note` is for people:
    no table, sentence or test of the program reads it.
    """

    run: str
    """Hash of the settings and inputs of the run."""
    stage: str
    """Stage that measured it: evaluate, audit, blocks, signal, exposure, dp, mosaic, compare,
    matrix."""
    model: str
    """Model it is about: teacher, student, student_no_teacher, ...; blind: none."""
    metric: str
    """What was measured: auc, tpr_at_fpr, rouge_l, extraction_rate, ..."""
    value: float
    """The number; NaN where there is none (see reason)."""
    low: float = NAN
    """Lower limit of its interval."""
    high: float = NAN
    """Upper limit of its interval."""
    level: float = 0.95
    """Confidence level of the interval."""
    n: int = 0
    """Records behind the number (of an AUC: members and nonmembers); means over seeds: seeds."""
    seed: int = 0
    """Seed of the run, or of the sampling."""
    method: str = ""
    """Distillation method; in a comparison of runs: the variant."""
    attack: str = ""
    """Membership attack; in the blocks stage: the measure."""
    dataset: str = ""
    """Part, file or group ("column: value") of the records."""
    unit: str = ""
    """Unit of the value, where it has one."""
    fpr: float = NAN
    """False-positive rate that was asked for, 0 to 1."""
    quantile: float = NAN
    """Quantile over the records, 0 to 1."""
    threshold: float = NAN
    """Least value of the teacher's among the records that were taken, 0 to 1."""
    block: int | None = None
    """Block of the model, from 0; -1: the whole model as it is; null: not by block."""
    draws: int = 0
    """Texts that the attacker samples of each record."""
    probability: float = NAN
    """Chance with which they must hold the target, 0 to 1."""
    tokens: int = 0
    """Length of text that was measured, in tokens."""
    delta: float = NAN
    """delta of (epsilon, delta)-differential privacy."""
    against: str = ""
    """What was subtracted or compared with: a model, a control, a variant."""
    part: str = ""
    """Part of the records, where dataset names a group: private, nonmembers."""
    decoding: str = ""
    """How texts were decoded, where there are several ways."""
    over: str = ""
    """What a mean over seeds was drawn over: seeds, or records."""
    p: float = NAN
    """p-value of no effect (of an AUC: 0.5; of a difference: 0)."""
    p_adjusted: float = NAN
    """p allowing for all `tests`: Holm; of AUCs by group Benjamini and Hochberg."""
    tests: int = 0
    """Tests, attacks or groups that were allowed for together."""
    n_members: int = 0
    """Members behind the number; of a bound on epsilon: records guessed to be members."""
    n_nonmembers: int = 0
    """Nonmembers behind the number; of a bound on epsilon: records guessed to be none."""
    missing: int = 0
    """Records left out because they have no value."""
    needed: int = 0
    """Records of each side (of a refused rate: nonmembers) that would do; 0: not known, or none."""
    seeds: int = 0
    """Seeds behind a number that pools several runs."""
    shadows: int = 0
    """Shadow pipelines behind the number."""
    coins: int = 0
    """Records whose membership was decided by a coin of their own."""
    ceiling: float = NAN
    """Largest exposure that counting can show, in bits."""
    at_ceiling: int = 0
    """Records whose exposure is at the ceiling."""
    signature: str = ""
    """How sacrebleu computed the metric, in its own words."""
    missing_reason: str = ""
    """Why the missing records have no value."""
    reason: str = ""
    """Why there is no value, or no interval."""
    note: str = ""
    """Anything else, for people."""
