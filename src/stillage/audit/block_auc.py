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
from stillage.functional.stats import Interval, PairedTest, auc_interval, paired_auc_test, roc_auc
from stillage.run.results import measured_row
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa

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

    member, clusters = audited.is_member, audited.clusters
    probes = [
        probe(hidden_NH, member, clusters, seed, n_shuffles=n_shuffles, names=(str(block),))
        for block, hidden_NH in enumerate(hidden_LNH)
    ]
    p_L = []
    for one in probes:
        fine = np.isfinite(one.scores_N)
        p_L.append(one.p(roc_auc(one.scores_N[fine], member[fine])))
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

    names = ("model", "measure", "block", "copy", "id", "part", "group")
    kinds = dict.fromkeys(names, pa.string()) | dict.fromkeys(("block", "copy"), pa.int32())
    schema = pa.schema(list((kinds | {"score": pa.float64()}).items()))
    tables = [schema.empty_table()]
    records = [audited.ids, audited.parts, audited.groups]
    for profile in profiles:
        scored = [] if profile.whole_N is None else [(-1, 0, profile.whole_N)]
        scored += [
            (block, copy, scores_N)
            for copy, scores_LN in enumerate(profile.scores_SLN)
            for block, scores_N in enumerate(scores_LN)
        ]
        for block, copy, scores_N in scored:
            said = (profile.model, profile.measure, block, copy)
            columns = [*([one] * len(scores_N) for one in said), *records, scores_N]
            tables.append(pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema))
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
        named = replace(row, model=profile.model, attack=profile.measure)
        results += auc_rows(audited, profile, named)
    return results + excess_rows(audited, profiles, row) + revert_rows(audited, profiles, row)


def auc_rows(audited: Audited, profile: Profile, row: Result) -> list[Result]:
    """Return each block's AUC; also noise's sd over draws and the AUCs of shuffles."""
    results = []
    for block, scores_N in enumerate(profile.scores_LN):
        one = replace(row, block=block)
        if len(profile.scores_SLN) > 1:
            each = [auc_of(audited, copy_LN[block], row).value for copy_LN in profile.scores_SLN]
            note = f"sd over {len(each)} draws of noise {np.std(each, ddof=1):.2g}"
            one = replace(one, note=note)
        if profile.p_L is not None and profile.null_LP is not None and profile.null_LP.shape[1]:
            null_P = profile.null_LP[block]
            low, high = np.quantile(null_P, [(1 - row.level) / 2, (1 + row.level) / 2])
            null = Interval(value=float(null_P.mean()), low=float(low), high=float(high))
            shuffled = replace(one, note=f"labels shuffled {null_P.size} times")
            results.append(measured_row(shuffled, "block_probe_null", null, n=len(scores_N)))
            one = replace(one, p=float(profile.p_L[block]), note=f"p by {null_P.size} shuffles")
        results.append(auc_of(audited, scores_N, one))
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
    clusters = audited.clusters[fine]
    auc = auc_interval(scores_N[fine], member, row.level, clusters=clusters, n_folds=folds)
    return measured_row(row, "block_auc", auc)


def excess_rows(audited: Audited, profiles: Sequence[Profile], row: Result) -> list[Result]:
    """Return block_excess: AUC of a block minus that of a null model's same block.

    A null model never met the members. Not for the probe, whose folds a paired test does not know:
    its null is block_probe_null.
    """
    by_name = {(profile.model, profile.measure): profile for profile in profiles}
    pairs: list[tuple[Result, Array, Array]] = []
    for (model, measure), profile in by_name.items():
        nulls = [by_name.get((name, measure)) for name in NULLS.get(model, ())]
        null = next((one for one in nulls if one is not None), None)
        if null is None or measure == "probe" or len(null.scores_LN) != len(profile.scores_LN):
            continue
        both = zip(profile.scores_LN, null.scores_LN, strict=True)
        named = replace(row, model=model, attack=measure, metric="block_excess", against=null.model)
        pairs += [(replace(named, block=block), *scores) for block, scores in enumerate(both)]
    return paired_rows(audited, pairs)


def revert_rows(audited: Audited, profiles: Sequence[Profile], row: Result) -> list[Result]:
    """Return block_revert: AUC lost with the no-teacher student's block."""
    row = replace(row, attack="revert", metric="block_revert", against="reverted")
    pairs = [
        (replace(row, model=profile.model, block=block), profile.whole_N, scores_N)
        for profile in profiles
        if profile.whole_N is not None
        for block, scores_N in enumerate(profile.scores_LN)
    ]
    return paired_rows(audited, pairs)


def paired_rows(audited: Audited, pairs: Sequence[tuple[Result, Array, Array]]) -> list[Result]:
    """Compare the AUCs of each pair of scores float64[N]; p by Holm over all.

    On the records with both; no row where those are of one kind.
    """
    rows: list[Result] = []
    tests: list[PairedTest] = []
    for row, a_N, b_N in pairs:
        fine = np.isfinite(a_N) & np.isfinite(b_N)
        member, clusters = audited.is_member[fine], audited.clusters[fine]
        if member.any() and not member.all():
            rows.append(replace(row, n=int(fine.sum())))
            tests.append(
                paired_auc_test(a_N[fine], b_N[fine], member, row.level, clusters=clusters)
            )
    return paired_results(rows, tests)
