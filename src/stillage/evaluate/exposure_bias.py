"""Exposure bias: how much faster a student errs on its own text.

With d_t = KL(p(. | y_<t) || q(. | y_<t)) in nats, p the teacher, q the student, t = 1, 2, ... over
written tokens: R(t) = E_{y ~ q} sum_{s<=t} d_s, on the student's own rollouts; eps(t) = E_{y ~ p}
sum_{s<=t} d_s, on the teacher's; ExAccErr(t) = (R(t) - eps(t)) / eps(t) * 100 % (Arora et al. 2022,
arXiv 2204.01171; Gu et al. 2024, MiniLLM, section 3.3). The first written token counts (there d is
the same for both), and after its end-of-text token a text errs no more (d = 0), so that eps(t) is
the divergence of the two models over whole texts of at most t tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.errors import ConfigError
from stillage.evaluate.datasets import EvalSet
from stillage.evaluate.matrix import base_row, measure_once
from stillage.evaluate.matrix_cells import (
    EvaluatedModel,
    MatrixTask,
    digest,
    encode_set,
    kept,
    set_folder,
)
from stillage.functional.binomial import Interval
from stillage.functional.means import ratio_interval
from stillage.run.folder import read_table
from stillage.run.progress import Doing, Done, unheard
from stillage.run.results import measured_row
from stillage.types import Array, Example, Result

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel

    from stillage.models.prompts import Prompts, TextRules

SCHEMA = 2  # raise it when curves are measured differently


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposurePlan:
    """How exposure bias is measured: texts per prompt and model, and their length."""

    max_new_tokens: int = 256
    rollouts: int = 10
    batch_tokens: int = 16384


def exposure_curve(
    student_NT: Array, teacher_NT: Array, *, level: float = 0.95
) -> dict[str, Array]:
    """Compute the excess accumulated error at every length, with limits.

    Columns [T] of a table, row t - 1 for t tokens: R(t) and eps(t) in nats, ExAccErr(t) and its
    limits in percent. student_NT, teacher_NT: KL(p||q) at token t of prompt n, averaged over that
    prompt's rollouts by the student and by the teacher; 0 after a text's end. Limits:
    ratio_interval's, NaN for fewer than two prompts, and where nothing scatters. Raises ConfigError
    without prompts.
    """
    assert student_NT.shape == teacher_NT.shape
    count, length = student_NT.shape
    if not count or not length:
        values = f"prompts: {count}; tokens: {length}"
        raise ConfigError("There is nothing to measure exposure bias on.", values)
    sums = [np.cumsum(np.asarray(x, np.float64), axis=1) for x in (student_NT, teacher_NT)]
    limits = [ratio_interval(*pair, level) for pair in zip(sums[0].T, sums[1].T, strict=True)]
    student_T, teacher_T = (sum_NT.mean(0) for sum_NT in sums)
    return {
        "tokens": np.arange(1, length + 1),
        "accumulated_on_student_text": student_T,
        "accumulated_on_teacher_text": teacher_T,
        "excess_percent": excess_percent(student_T, teacher_T),
        "low": np.array([100 * one.low - 100 for one in limits]),
        "high": np.array([100 * one.high - 100 for one in limits]),
        "prompts": np.full(length, count),
    }


def excess_percent(student: Array, teacher: Array) -> Array:
    """Compute (R - eps) / eps * 100; 0 / 0 is 0 (two equal models), R / 0 is inf."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (student - teacher) / teacher * 100
    return np.where((student == 0) & (teacher == 0), 0.0, ratio)


def mean_by_prompt(kl: Sequence[Array], rollouts: int, length: int) -> Array:
    """Average over rollouts, [N, length]; kl[n * rollouts + r] is one of prompt n."""
    padded = np.zeros((len(kl), length))
    for row, kl_T in enumerate(kl):
        padded[row, : len(kl_T)] = kl_T
    return padded.reshape(-1, rollouts, length).mean(1)


def exposure_bias(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    prompts: Prompts,
    rules: TextRules,
    *,
    plan: ExposurePlan,
    doing: Doing = unheard,
) -> dict[str, Array]:
    """Let both models continue every prompt, and measure the student's error.

    The columns of `exposure_curve`. Both kinds of text are plain samples (temperature 1, nothing
    cut off). Both models draw with the
    same noise, which makes the curve steadier and moves it nowhere. The models must share a
    tokenizer; where one pads its vocabulary further, the shared ids count, and no text is longer
    than what both can read. Raises ConfigError for no rollouts, DataError for a prompt that one of
    them cannot continue.
    """
    from stillage.models.decoder import embedding_rows
    from stillage.models.generate import Decoding, generate
    from stillage.models.limits import shortest_context
    from stillage.models.prompts import Prompts

    rollouts = plan.rollouts
    if rollouts < 1:
        fix = "Give at least 1 (10 published)."
        raise ConfigError("Exposure bias needs rollouts.", f"rollouts: {rollouts}", fix)
    decoding = Decoding(max_new_tokens=plan.max_new_tokens, sampling_temperature=1.0)
    repeated = Prompts(
        [prompt for prompt in prompts.ids for _ in range(rollouts)],
        [f"{name}/rollout {k}" for name in prompts.names for k in range(rollouts)],
        prompts.seed,
    )
    models, means = {"student": student, "teacher": teacher}, []
    for model in models.values():  # both read what either writes
        prompts.check(model)
    shared = replace(
        rules,
        most_tokens=shortest_context(*models.values()),
        known_ids=min(map(embedding_rows, models.values())),
    )
    for name, writer in models.items():
        tokens, progress = plan.batch_tokens, doing(f"the {name} writing {{}} texts")
        written = generate(
            writer, repeated, decoding, shared, batch_tokens=tokens, progress=progress
        )
        progress = doing(f"reading {{}} texts of the {name}")
        kl = forward_kl_along(
            teacher, student, repeated.ids, written, batch_tokens=tokens, progress=progress
        )
        means.append(mean_by_prompt(kl, rollouts, plan.max_new_tokens))
    return exposure_curve(means[0], means[1])


def forward_kl_along(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    prompts: Sequence[Array],
    written: Sequence[Array],
    *,
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> list[Array]:
    """Compute KL(p || q) in nats where each written token is predicted, float64."""
    from stillage.models.pairwise_kl import token_kl

    texts = [
        Example(
            record_id="",
            ids_T=np.concatenate([prompt, ids]),
            response_T=np.arange(len(prompt) + len(ids)) >= len(prompt),
        )
        for prompt, ids in zip(prompts, written, strict=True)
    ]
    return token_kl(
        teacher,
        student,
        texts,
        batch_tokens=batch_tokens,
        elements=2**22,
        first_alone=True,
        progress=progress,
    )


def exposure_cell(
    task: MatrixTask, teacher: EvaluatedModel, chosen: EvalSet, *, seed: int, plan: ExposurePlan
) -> pa.Table:
    """Return the curve of a student on one data set, as a table of `exposure_curve`.

    Kept beside the student's other cells, in exposure-KEY.parquet, and measured once. The results
    have the lengths 1, 2, 4, ... and the last.
    """
    import pyarrow as pa

    from stillage.models.prompts import Prompts, TextRules

    student, encoded = task.subject, encode_set(task.subject, chosen, task.layout)
    folder = set_folder(task, encoded)
    last, rollouts = plan.max_new_tokens, plan.rollouts
    key = digest([SCHEMA, teacher.key, seed, last, rollouts])[:8]

    def curve() -> pa.Table:
        prompts = Prompts(encoded.prompts, [record.id for record in chosen.records], seed)
        rules = TextRules(student.eos_id, student.pad_id)
        models = student.model, teacher.model
        return pa.table(exposure_bias(*models, prompts, rules, plan=plan, doing=task.doing))

    def results_of(table: pa.Table) -> list[Result]:
        base = replace(base_row(student, chosen, folder), against=teacher.name, seed=seed)
        base = replace(base, draws=rollouts, note=f"key={key}")
        rows, found = table.to_pylist(), []
        for t in sorted({last, *(2**k for k in range(last.bit_length()))}):
            low, high = rows[t - 1]["low"], rows[t - 1]["high"]
            excess = Interval(value=rows[t - 1]["excess_percent"], low=low, high=high)
            row = replace(base, tokens=t, n=rows[t - 1]["prompts"])
            found.append(measured_row(row, "excess_accumulated_error", excess, unit="%"))
        return found

    path = folder / f"exposure-{key}.parquet"
    measure_once(path, curve, results_of)
    return kept(path, read_table)
