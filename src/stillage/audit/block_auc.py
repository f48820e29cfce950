"""Which block carries the leak: five measures, each a score per block and record.

Higher = more likely a member. mope: the rise of the loss with noise in the block alone. gradient:
minus the norm of the loss's gradient there. lens: minus the loss of the head put after the block.
probe: a linear probe on its hidden states. revert: how much lower the loss is than the no-teacher
student's, with that student's block in place of its own; what is lost by that, it held. Each is
also measured on models that never met a member: only what is beyond those counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.blind import N_FOLDS
from stillage.audit.membership import Audited
from stillage.audit.paired_results import paired_results
from stillage.functional.stats import PairedTest, auc_interval, paired_auc_test, roc_auc
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa

MEASURES = ("mope", "gradient", "revert", "lens", "probe")
NULLS: Mapping[str, tuple[str, ...]] = {
    "student": ("student_counterfactual", "student_no_teacher"),
    "teacher": ("teacher_counterfactual",),
}
"""The models that a model's profile is held against: the first that was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One measure of one model on N records: scores of L blocks from S draws of noise."""

    model: str
    measure: str
    scores_SLN: Array
    whole_N: Array | None = None  # revert: the score of the model as it is
    null_LP: Array | None = None  # probe: AUCs on shuffled labels
    p_L: Array | None = None  # probe: the permutation p-value of each block

    @property
    def scores_LN(self) -> Array:
        """The score of each block and record: the mean over the draws."""
        return self.scores_SLN.mean(0)


def mope_profile(model: str, noisy_SLN: Array, loss_N: Array) -> Profile:
    """score = L_{theta + noise in block b}(x) - L_theta(x), in nats per token.

    Li et al. 2023, arXiv:2310.14369, by block.
    """
    return Profile(model=model, measure="mope", scores_SLN=noisy_SLN - loss_N)


def gradient_profile(model: str, norms_LN: Array) -> Profile:
    """score = -||grad_{theta_b} L(x)||."""
    return Profile(model=model, measure="gradient", scores_SLN=-norms_LN[None])


def lens_profile(model: str, loss_LN: Array) -> Profile:
    """score = -L(x) by the norm and head put after block b."""
    return Profile(model=model, measure="lens", scores_SLN=-loss_LN[None])


def revert_profile(model: str, reverted_LN: Array, loss_N: Array, reference_N: Array) -> Profile:
    """score = L_reference(x) - L_{its block b}(x); whole: all blocks the model's own."""
    return Profile(
        model=model,
        measure="revert",
        scores_SLN=(reference_N - reverted_LN)[None],
        whole_N=reference_N - loss_N,
    )


def probe_profile(
    model: str, hidden_LNH: Array, audited: Audited, seed: int, n_shuffles: int = 199
) -> Profile:
    """score = out-of-fold rank of a ridge regression on block b's mean hidden states."""
    from stillage.audit.probe import probe

    probes = [
        probe(
            hidden_NH,
            audited.is_member,
            audited.clusters,
            seed,
            n_shuffles=n_shuffles,
            names=(str(block),),
        )
        for block, hidden_NH in enumerate(hidden_LNH)
    ]
    p_L = []
    for one in probes:
        fine = np.isfinite(one.scores_N)
        p_L.append(one.p(roc_auc(one.scores_N[fine], audited.is_member[fine])))
    return Profile(
        model=model,
        measure="probe",
        scores_SLN=np.stack([one.scores_N for one in probes])[None],
        null_LP=np.stack([one.null_P for one in probes]),
        p_L=np.array(p_L),
    )


def block_table(audited: Audited, profiles: Sequence[Profile]) -> pa.Table:
    """Return blocks/scores.parquet: the score of every block and record.

    Columns: model, measure, block (-1: whole model), copy (draw of noise), id, part, group, score.
    """
    import pyarrow as pa

    text, number = pa.string(), pa.int32()
    kinds = {
        "model": text,
        "measure": text,
        "block": number,
        "copy": number,
        "id": text,
        "part": text,
        "group": text,
        "score": pa.float64(),
    }
    tables = [pa.schema(list(kinds.items())).empty_table()]
    for profile in profiles:
        whole = [] if profile.whole_N is None else [(-1, 0, profile.whole_N)]
        numbered = [
            (block, copy, scores_N)
            for copy, scores_LN in enumerate(profile.scores_SLN)
            for block, scores_N in enumerate(scores_LN)
        ]
        for block, copy, scores_N in whole + numbered:
            n = len(scores_N)
            columns = (
                [profile.model] * n,
                [profile.measure] * n,
                [block] * n,
                [copy] * n,
                audited.ids,
                audited.parts,
                audited.groups,
                scores_N.tolist(),
            )
            tables.append(
                pa.table(
                    dict(zip(kinds, columns, strict=True)), schema=pa.schema(list(kinds.items()))
                )
            )
    return pa.concat_tables(tables)


def block_results(
    audited: Audited, profiles: Sequence[Profile], *, level: float, base: Result
) -> list[Result]:
    """Return the rows of all metrics of blocks, for every model and measure.

    block_auc of every block; block_excess over a null model; block_revert; block_probe_null. block
    -1 (block_auc of revert): the model as it is.
    """
    row = replace(base, level=level, dataset="private vs nonmembers")
    results: list[Result] = []
    for profile in profiles:
        results += auc_rows(
            audited, profile, replace(row, model=profile.model, attack=profile.measure)
        )
    return results + excess_rows(audited, profiles, row) + revert_rows(audited, profiles, row)


def auc_rows(audited: Audited, profile: Profile, row: Result) -> list[Result]:
    """Return each block's AUC; also noise's sd over draws and the AUCs of shuffles."""
    results = []
    for block, scores_N in enumerate(profile.scores_LN):
        note = ""
        one = replace(row, block=block)
        if len(profile.scores_SLN) > 1:
            each = [auc_of(audited, copy_LN[block], row).value for copy_LN in profile.scores_SLN]
            note = f"sd over {len(each)} draws of noise {np.std(each, ddof=1):.2g}"
        if profile.p_L is not None and profile.null_LP is not None and profile.null_LP.shape[1]:
            null_P, p = profile.null_LP[block], profile.p_L[block]
            one, note = replace(one, p=float(p)), f"p by {null_P.size} shuffles"
            low, high = np.quantile(null_P, [(1 - row.level) / 2, (1 + row.level) / 2])
            results.append(
                replace(
                    row,
                    block=block,
                    metric="block_probe_null",
                    value=float(null_P.mean()),
                    low=float(low),
                    high=float(high),
                    n=len(scores_N),
                    note=f"labels shuffled {null_P.size} times",
                )
            )
        results.append(auc_of(audited, scores_N, replace(one, note=note)))
    if profile.whole_N is not None:
        results.append(auc_of(audited, profile.whole_N, replace(row, block=-1)))
    return results


def auc_of(audited: Audited, scores_N: Array, row: Result) -> Result:
    """Return the AUC of some scores as a row; records without one are only counted."""
    fine = np.isfinite(scores_N)
    member, dropped = audited.is_member[fine], int((~fine).sum())
    row = replace(row, metric="block_auc", n=int(fine.sum()), missing=dropped)
    if not member.any() or member.all():
        return replace(row, value=math.nan, reason="one kind only has scores")
    folds = N_FOLDS if row.attack == "probe" else 0
    auc = auc_interval(
        scores_N[fine], member, row.level, clusters=audited.clusters[fine], n_folds=folds
    )
    return replace(row, value=auc.value, low=auc.low, high=auc.high)


def compared(
    audited: Audited, a_N: Array, b_N: Array, level: float
) -> tuple[PairedTest, int] | None:
    """Test two scores, paired, on the n records with both; None without both kinds."""
    fine = np.isfinite(a_N) & np.isfinite(b_N)
    member = audited.is_member[fine]
    if not member.any() or member.all():
        return None
    clusters = audited.clusters[fine]
    return paired_auc_test(a_N[fine], b_N[fine], member, level, clusters=clusters), int(fine.sum())


def excess_rows(audited: Audited, profiles: Sequence[Profile], row: Result) -> list[Result]:
    """Return block_excess: AUC of a block minus that of a null model's same block.

    A null model never met the members. p by Holm. Not for the probe, whose folds a paired test does
    not know: its null is block_probe_null.
    """
    by_name = {(profile.model, profile.measure): profile for profile in profiles}
    rows: list[Result] = []
    tests: list[PairedTest] = []
    for (model, measure), profile in by_name.items():
        null = next(
            (by_name[name, measure] for name in NULLS.get(model, ()) if (name, measure) in by_name),
            None,
        )
        if null is None or measure == "probe" or len(null.scores_LN) != len(profile.scores_LN):
            continue
        for block, (ours_N, theirs_N) in enumerate(
            zip(profile.scores_LN, null.scores_LN, strict=True)
        ):
            tested = compared(audited, ours_N, theirs_N, row.level)
            if tested is not None:
                rows.append(
                    replace(
                        row,
                        model=model,
                        attack=measure,
                        metric="block_excess",
                        n=tested[1],
                        block=block,
                        against=null.model,
                    )
                )
                tests.append(tested[0])
    return paired_results(rows, tests)


def revert_rows(audited: Audited, profiles: Sequence[Profile], row: Result) -> list[Result]:
    """Return block_revert: AUC lost with the no-teacher student's block; p by Holm."""
    rows: list[Result] = []
    tests: list[PairedTest] = []
    for profile in profiles:
        if profile.whole_N is None:
            continue
        for block, scores_N in enumerate(profile.scores_LN):
            tested = compared(audited, profile.whole_N, scores_N, row.level)
            if tested is not None:
                rows.append(
                    replace(
                        row,
                        model=profile.model,
                        attack="revert",
                        metric="block_revert",
                        n=tested[1],
                        block=block,
                        against="reverted",
                    )
                )
                tests.append(tested[0])
    return paired_results(rows, tests)
