"""Checks that a model really read the records, so that its scores mean something.

A model that reads texts in a wrong layout, with another tokenizer or with broken weights scores
members and nonmembers alike, which is no evidence of "no leak". Each check is a pure function of
plain inputs; one that fails makes the scores unusable.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stillage.audit.validity import NAN_TOLERANCE, UNUSABLE, Check, Value, chance_p
from stillage.functional.stats import Interval
from stillage.types import Array, TokenStats

MOST_CUT = 0.5  # share of the records that may be cut before "no leak" says too little about them
LEAST_READ = 0.5  # share of the responses' tokens that must be scored
CLEARLY = 0.05  # share of the loss that clearly tells two ways of reading, or one from a guess
SURE = 0.001  # p-value of a paired comparison of two ways of reading
WINDOW = 4  # tokens in a row whose log-probabilities do not come out equal by chance
SURPRISE = 1e-3
"""Nats; below it, log-probabilities of different texts are equal because all are nearly 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How much of the records one model read."""

    cut: int  # records that lost a part
    n: int
    response: float  # share of the responses' tokens scored
    must: bool  # the model was trained elsewhere, on an unknown part of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another way of reading some records, beside the run's on equal tokens."""

    model: str
    what: str  # the other way, in words
    fix: str  # the setting that chooses it
    used_N: Array  # nats per token of each record, in the run's way
    other_N: Array  # the same, in the other way
    is_member: Array

    @property
    def sides(self) -> list[tuple[str, Array, Array]]:
        """Name, and nats in both ways, of the members and of the nonmembers."""
        sides = (("members", self.is_member), ("nonmembers", ~self.is_member))
        return [(name, self.used_N[side], self.other_N[side]) for name, side in sides]


def check_share_read(shares: Mapping[str, Share]) -> Check:
    """Check that enough of the records was read for "no leak" to be about them.

    Fails for a model trained elsewhere where more than half of the records were cut, or less than
    half of the responses' tokens scored. A model trained in this run was trained on the same cut
    records, and kept nothing of the rest.
    """
    values: dict[str, Value] = {}
    little: list[str] = []
    for model, share in sorted(shares.items()):
        values[model] = (
            f"{share.cut} of {share.n} records cut; {share.response:.1%} of the responses' "
            "tokens scored"
        )
        if share.must and (share.cut > MOST_CUT * share.n or share.response < LEAST_READ):
            little.append(f"{model}: {values[model]}")
    least = min((share.response for share in shares.values()), default=1.0)
    most = max((share.cut / max(1, share.n) for share in shares.values()), default=0.0)
    detail = f"{least:.1%} of the responses' tokens were scored, and {most:.1%} of the records cut."
    if little:
        detail = (
            "Too little of the records was read to say what a model keeps of them "
            f"({'; '.join(little)}). Raise data.max_tokens and data.max_prompt_tokens, or give "
            "records cut to what is to be audited."
        )
    return Check(name="share_read", passed=not little, fault=UNUSABLE, detail=detail, values=values)


def check_layout(others: Sequence[Other]) -> Check:
    """Check that the records are read in the layout that the model was taught.

    With the begin of text that it was taught. Fails where another way of reading saves 5 % of the
    loss or more on the sample's members or nonmembers, with p < 0.001 (paired t test over records).
    Both sides are looked at: one that knows its members by heart may read only those well.
    """
    values: dict[str, Value] = {}
    wrong: list[str] = []
    for other in others:
        values[f"{other.model}, {other.what}"] = "; ".join(
            f"{another.mean():.2f} instead of {used.mean():.2f} nats per token on "
            f"{used.size} {name}"
            for name, used, another in other.sides
            if used.size
        )
        better = [one for one in other.sides if clearly_lower(one[2], one[1])]
        if better:
            name, used, another = better[0]
            wrong.append(
                f"{other.model} reads {name} better {other.what} "
                f"({another.mean():.2f} instead of {used.mean():.2f} nats per token): {other.fix}"
            )
    detail = f"None of {len(others)} other ways of reading the records suits a model better."
    if wrong:
        detail = f"Records are not read as the model was taught to: {'; '.join(wrong)}."
    return Check(name="layout", passed=not wrong, fault=UNUSABLE, detail=detail, values=values)


def check_prompts(others: Sequence[Other], without: Sequence[Other] = ()) -> Check:
    """Check that prompts were read: a response is likeliest after its own.

    others: the responses after another record's prompt; that they are as likely is said and no
    failure, for prompts may say nothing. without: where no record has a prompt, and the model's
    folder lays out prompts: the responses after what it puts around one. Fails where the bare
    responses are not clearly likelier, so that the model may not have learned from such.
    """
    values: dict[str, Value] = {}
    unused, left_out = [], []
    for other in others:
        gain = (other.other_N - other.used_N).mean()
        values[other.model] = f"{gain:.3f} nats per token less with the record's own prompt"
        if not any(lower(used, another) for _, used, another in other.sides):
            unused.append(other.model)
    for other in without:
        values[other.model] = (
            f"{other.other_N.mean():.2f} {other.what}, {other.used_N.mean():.2f} nats per "
            "token without"
        )
        if not any(clearly_lower(used, another) for _, used, another in other.sides):
            left_out.append(other.model)
    if left_out:
        detail = (
            f"None of the records has a prompt, and {', '.join(left_out)} was taught to "
            "answer some. Give them (data.columns); or say that plain text is what it learned from "
            "(--data.template raw)."
        )
    elif unused:
        detail = (
            "Responses are no likelier with their own prompt than with another record's "
            f"under {', '.join(unused)}: prompts say nothing here, or were not read."
        )
    else:
        detail = (
            "Responses are likelier with their own prompt than with another record's."
            if others
            else "No record has a prompt, and plain text is what the models read best."
        )
    return Check(
        name="prompts",
        passed=not left_out,
        fault=UNUSABLE,
        detail=detail,
        values=values,
        says_nothing=bool(unused) and not left_out,
    )


def check_repeats(stats_by_model: Mapping[str, Sequence[TokenStats]]) -> Check:
    """Check that different texts are not scored by the same numbers.

    As when one batch's scores are returned twice. A record is suspect where 4 log-probabilities in
    a row, none of them nearly 0, are exactly those of other tokens. Fails where more than 1 % of a
    model's records are.
    """
    values: dict[str, Value] = {}
    wrong: list[str] = []
    for model, stats in sorted(stats_by_model.items()):
        suspect = repeated(stats)
        values[model] = int(suspect.sum())
        if suspect.sum() > NAN_TOLERANCE * suspect.size:
            wrong.append(f"{values[model]} of {suspect.size} under {model}")
    detail = "No two different texts have the same scores, token by token."
    if wrong:
        said = ", ".join(wrong)
        detail = f"Records of different texts have the same scores, token by token: {said}."
    return Check(name="repeats", passed=not wrong, fault=UNUSABLE, detail=detail, values=values)


def check_adapters(largest_by_model: Mapping[str, float]) -> Check:
    """Check that every adapter changes its base model.

    largest_by_model: the largest weight of the factor that starts at 0.
    """
    idle = sorted(model for model, largest in largest_by_model.items() if not largest > 0)
    detail = f"Every adapter changes its model ({len(largest_by_model)} of them)."
    if idle:
        detail = (
            f"The adapter of {', '.join(idle)} changes nothing: its weights are 0. It was never "
            "trained, or saved before it was."
        )
    values = {f"{model}, largest weight": value for model, value in largest_by_model.items()}
    return Check(name="adapter", passed=not idle, fault=UNUSABLE, detail=detail, values=values)


def check_positive_control(
    auc_by_attack: Mapping[str, Mapping[str, Interval]], trained_here: Collection[str]
) -> Check:
    """Check that the audit sees the members in the teacher, which was trained on them.

    What cannot be seen there proves nothing. auc_by_attack: model -> attack -> AUC; the model
    "teacher" is the control. Never fails: a teacher may really keep nothing (one epoch,
    differential privacy). The detail says what a "no leak" then rests on.
    """
    from stillage.functional.multiplicity import holm

    teacher = auc_by_attack.get("teacher", {})
    if not teacher:
        detail = (
            "No teacher was audited: nothing shows that this audit would see a member that a "
            "model has learned."
        )
        return Check(name="positive_control", passed=True, fault=UNUSABLE, detail=detail)
    names = sorted(teacher)
    p_A = holm(np.array([chance_p(teacher[name]) for name in names]))
    seen = [
        name for name, p in zip(names, p_A, strict=True) if p < 0.05 and teacher[name].value > 0.5
    ]
    best = max(seen or names, key=lambda name: teacher[name].value)
    interval = teacher[best]
    said = f"{best}: AUC {interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
    values: dict[str, Value] = {"teacher": said}
    better = [
        f"{model} ({attack} {aucs[attack].value:.3f})"
        for model, aucs in sorted(auc_by_attack.items())
        if model != "teacher"
        for attack in names
        if attack in aucs and aucs[attack].low > teacher[attack].high
    ]
    swapped = ""
    if better:
        values["above the teacher"] = better
        swapped = (
            f" Members show more in {', '.join(better[:2])} than in the teacher: were the two "
            "folders swapped?"
        )
    if seen:
        detail = f"The audit sees the members in the teacher ({said}).{swapped}"
    else:
        detail = f"The audit does not see the members in the teacher either ({said}).{swapped} " + (
            "It was trained on them in this run, and keeps nothing that these attacks find."
            if "teacher" in trained_here
            else "Either it keeps nothing, or this is not the model that was trained on "
            "them, or not how it reads."
        )
    return Check(name="positive_control", passed=True, fault=UNUSABLE, detail=detail, values=values)


def clearly_lower(ours_N: Array, theirs_N: Array) -> bool:
    """Tell whether the first loss is surely lower, by 5 % of the second or more."""
    return lower(ours_N, theirs_N) and bool((theirs_N - ours_N).mean() >= CLEARLY * theirs_N.mean())


def lower(ours_N: Array, theirs_N: Array) -> bool:
    """Tell whether the first loss is lower, p < 0.001 in a paired t test over records."""
    from scipy.special import stdtr

    gain_N = (theirs_N - ours_N)[np.isfinite(theirs_N - ours_N)]
    if gain_N.size < 3 or gain_N.mean() <= 0:
        return False
    error = gain_N.std(ddof=1) / np.sqrt(gain_N.size)
    return bool(error == 0 or 2 * stdtr(gain_N.size - 1, -gain_N.mean() / error) < SURE)


def repeated(stats: Sequence[TokenStats]) -> Array:
    """Tell which records share WINDOW log-probabilities in a row with other tokens.

    bool[n]; the other tokens are another record's.
    """
    lengths = np.array([len(one.logp_T) for one in stats])
    suspect = np.zeros(lengths.size, dtype=bool)
    logp_T, ids_T = (
        np.concatenate([getattr(one, name) for one in stats]) for name in ("logp_T", "ids_T")
    )
    if logp_T.size < WINDOW:
        return suspect
    record_T = np.repeat(np.arange(lengths.size), lengths)
    logp_SW, ids_SW = (
        np.lib.stride_tricks.sliding_window_view(one, WINDOW) for one in (logp_T, ids_T)
    )
    kept = (record_T[: 1 - WINDOW] == record_T[WINDOW - 1 :]) & (logp_SW < -SURPRISE).all(1)
    record_S = record_T[: 1 - WINDOW][kept]
    if record_S.size < 2:
        return suspect
    numbers = [
        np.unique(
            np.ascontiguousarray(one[kept]).view(f"V{WINDOW * 4}")[:, 0], return_inverse=True
        )[1]
        for one in (logp_SW.astype(np.float32), ids_SW.astype(np.int32))
    ]
    order = np.lexsort((numbers[1], numbers[0]))
    scores_S, texts_S = numbers[0][order], numbers[1][order]
    first_S = np.searchsorted(scores_S, scores_S)
    last_S = np.searchsorted(scores_S, scores_S, side="right") - 1
    suspect[record_S[order][texts_S[first_S] != texts_S[last_S]]] = True
    return suspect
