"""The sentences of a scan's report: what was found, what was read, what is open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillage.corpus.near_counts import ordered_buckets
from stillage.report.corpus_view import IN_CORPUS, CorpusView, Rest, worth_by_target

NAMES = {"levenshtein": "Levenshtein", "hamming": "Hamming"}
EDITS = {
    "levenshtein": "tokens changed, left out or put in",
    "hamming": "tokens changed",
}
"""Metric -> what its distance counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A bucket's headline numbers under the first metric."""

    bucket: str
    exact: Mapping[str, Any]  # rows of near_counts
    near: Mapping[str, Any]
    worth: tuple[float, float, float]  # mean, least and most of the models


def amount(number: float) -> str:
    """Write a number with as many digits as can matter: 0.25, 12.3, 1,240."""
    if math.isnan(number):
        return "no value"
    if number == round(number) or abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def ranged(row: Mapping[str, Any]) -> str:
    """A mean with its limits, where it has them."""
    if math.isnan(row["low"]):
        return amount(row["mean"])
    return f"{amount(row['mean'])} [{amount(row['low'])} to {amount(row['high'])}]"


def occurring(bucket: str) -> str:
    """Name the sequences of a bucket."""
    if bucket.isdecimal():
        return f"a sequence that occurs {int(bucket):,} times"
    return {"random": "a random sequence"}.get(bucket, f"a {bucket} sequence")


def in_short(bucket: str) -> str:
    """Name a bucket in a table or a legend."""
    return occurring(bucket).removeprefix("a sequence that ").removeprefix("a ")


def buckets_said(view: CorpusView, rest: Rest) -> list[Said]:
    """The headline numbers of each bucket, under the first metric."""
    metric, names = view.metrics[0], view.buckets
    worth_MT = worth_by_target(view, rest, metric)
    said = []
    for bucket in ordered_buckets(names):
        by_model = worth_MT[:, [name == bucket for name in names]].mean(axis=1)
        said.append(
            Said(
                bucket=bucket,
                exact=view.counts(rest, metric, bucket)[0],
                near=view.apart(rest, metric, bucket),
                worth=(float(by_model.mean()), float(by_model.min()), float(by_model.max())),
            )
        )
    return said


def speaking(view: CorpusView) -> Said:
    """The bucket of the headline: the most frequent one with near-duplicates."""
    said = buckets_said(view, view.before)
    repeated = [one for one in said if one.bucket.isdecimal()] or said
    return next((one for one in reversed(repeated) if one.near["near_duplicates"]), repeated[-1])


def headline(view: CorpusView) -> str:
    """Say how many near-duplicates there are."""
    one = speaking(view)
    if not one.near["near_duplicates"]:
        return f"No near-duplicate was found within a distance of {view.most}"
    many = occurring(one.bucket)
    return (
        f"{many[0].upper()}{many[1:]} has {ranged(one.near)} near-duplicates besides: pieces with "
        f"at most {view.most} of {view.length} {EDITS[view.metrics[0]]}"
    )


def detail(view: CorpusView) -> str:
    """Say what they are worth, and what of them a rule leaves."""
    one = speaking(view)
    if not one.near["near_duplicates"]:
        return ""
    mean, low, high = one.worth
    said = (
        f"With the {amount(one.exact['mean'])} exact copies elsewhere they are worth "
        f"{amount(mean)} copies to a model that is trained on them ({amount(low)} to "
        f"{amount(high)} by model)."
    )
    return " ".join(filter(None, [said, rests_words(view, one)]))


def rests_words(view: CorpusView, before: Said) -> str:
    """Say what share of a bucket's near-duplicates each rule leaves in the corpus."""
    had, shares = before.near["near_duplicates"], list[str]()
    for rest in view.rests[1:]:
        left = view.apart(rest, view.metrics[0], before.bucket)["near_duplicates"]
        if rest.reading == IN_CORPUS:
            shares.append(f"{rest.rule} {100 * left / had:.0f} %")
    if not shares:
        return ""
    return f"Share of the near-duplicates that deduplication leaves: {', '.join(shares)}."


def coverage(view: CorpusView) -> str:
    """Say how much of the corpus was read."""
    read, of = view.scanned.documents, view.scanned.of
    tokens = view.scan.manifest["scanned"]["tokens"]
    if read == of:
        return f"{read:,} of {of:,} documents scanned ({tokens:,} tokens), none missed."
    return (
        f"{read:,} of {of:,} documents scanned ({tokens:,} tokens), drawn at random, none of them "
        f"missed; numbers are multiplied by {view.scanned.scale:.4g} to speak of the whole corpus."
    )


def own_words(view: CorpusView) -> str:
    """Say whether the targets were found where they were taken from."""
    placed = len(view.found_T) - view.scan.targets["document"].null_count
    found = int(view.found_T.sum())
    if not placed:
        return (
            "Where the targets were taken from is not known, so their own places count as copies."
        )
    if found == placed:
        return (
            f"Each of the {placed:,} targets was found at the place it was taken from; that place "
            "is never counted."
        )
    why = (
        "the others' documents were not drawn"
        if view.scanned.documents < view.scanned.of
        else "the others are of another corpus"
    )
    return (
        f"{found:,} of {placed:,} targets were found at the place they were taken from, which is "
        f"never counted; {why}."
    )


def unjudged(view: CorpusView) -> str:
    """Say on the first screen what matters most of what is not known."""
    said = buckets_said(view, view.before)
    reasons = [one.near["reason"] for one in said if one.near["reason"]]
    if not reasons:
        return "Not judged: what copies are worth to other models than those that were measured."
    which = "these numbers" if len(reasons) == len(said) else "some of these numbers"
    return f"Not judged: how far off {which} may be ({max(reasons)})."


def unknowns(view: CorpusView) -> list[str]:
    """List what cannot be judged from this scan."""
    found = dict[str, list[str]]()
    for one in buckets_said(view, view.before):
        if one.near["reason"]:
            found.setdefault(one.near["reason"], []).append(occurring(one.bucket))
    said = [f"No interval for {', '.join(which)}: {reason}." for reason, which in found.items()]
    low, high = (100 * end for end in (view.worth.lowest, view.worth.highest))
    said.append(
        f"What a near-duplicate is worth was measured from {low:g} to {high:g} % of tokens changed "
        f"({view.worth.source}); elsewhere, for other models and for tokens left out or put in it "
        "is a guess."
    )
    if view.scan.plan.settings.mode == "window":
        said.append(
            "Pieces as long as the target were compared: a copy with tokens put in or left out "
            "counts as farther away than it is, or not at all (substring mode finds it)."
        )
    if view.level and view.scanned.documents == view.scanned.of:
        said.append(
            "Intervals speak of other targets and other documents of the same source. What these "
            "targets have in this corpus was counted, all of it."
        )
    return said
