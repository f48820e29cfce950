"""The sentences of a scan's report: what was found, what was read, what is open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillage.corpus.near_counts import LEAST_DOCUMENTS, LEAST_TARGETS, ordered_buckets
from stillage.report.corpus_view import IN_CORPUS, CorpusView, Rest, worth_by_target

DIFFERS = 10  # points of percent between the readings from which on both are said

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


def several(shown: str, one: str, more: str) -> str:
    """Write a number with its noun: 1 copy, 2 copies.

    shown: the number as it is written, limits included.
    """
    return f"{shown} {one if shown == '1' else more}"


def labelled(bucket: str) -> str:
    """Name a bucket in few words: 50 times, random."""
    if not bucket.isdecimal():
        return bucket
    return several(f"{int(bucket):,}", "time", "times")


def occurring(bucket: str) -> str:
    """Name the sequences of a bucket."""
    if bucket.isdecimal():
        return f"a sequence that occurs {labelled(bucket)}"
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
    return next((one for one in reversed(repeated) if one.near["found"]), repeated[-1])


def headline(view: CorpusView) -> str:
    """Say how many near-duplicates there are."""
    one = speaking(view)
    if not view.most:
        return "Exact copies alone were looked for (distance 0)"
    if not one.near["found"]:
        return f"No near-duplicate was found within a distance of {view.most}"
    many = occurring(one.bucket)
    return (
        f"{many[0].upper()}{many[1:]} has "
        f"{several(ranged(one.near), 'near-duplicate', 'near-duplicates')} besides: pieces with "
        f"at most {view.most} of {view.length} {EDITS[view.metrics[0]]}"
    )


def detail(view: CorpusView) -> str:
    """Say what they are worth, and what of them a rule leaves."""
    one = speaking(view)
    if not one.near["found"]:
        return ""
    mean, low, high = one.worth
    said = (
        f"With the {exact_copies(one)} they are worth "
        f"{several(amount(mean), 'copy', 'copies')} to a model that is trained on them "
        f"({amount(low)} to {amount(high)} by model)."
    )
    return " ".join(filter(None, [said, rests_words(view, one)]))


def exact_copies(one: Said) -> str:
    """The exact copies of a bucket's target: 49 exact copies elsewhere."""
    return f"{several(amount(one.exact['mean']), 'exact copy', 'exact copies')} elsewhere"


def rests_words(view: CorpusView, before: Said) -> str:
    """Say what share of a bucket's near-duplicates each rule leaves in the corpus.

    And what against the target alone, where that differs by DIFFERS points.
    """
    had, shares = before.near["found"], dict[str, dict[bool, float]]()
    for rest in view.rests[1:]:
        left = view.apart(rest, view.metrics[0], before.bucket)["found"]
        shares.setdefault(rest.rule, {})[rest.reading == IN_CORPUS] = 100 * left / had
    if not shares:
        return ""
    said = [
        f"{rule} {share[True]:.0f} %"
        + f" (against the target alone {share[False]:.0f} %)"
        * (abs(share[True] - share[False]) >= DIFFERS)
        for rule, share in shares.items()
    ]
    return f"Share of the near-duplicates that deduplication leaves {IN_CORPUS}: {', '.join(said)}."


def coverage(view: CorpusView) -> str:
    """Say how much of the corpus was read."""
    read, of = view.scanned.documents, view.scanned.of
    tokens = view.scan.manifest["scanned"]["tokens"]
    if read == of:
        documents = several(f"{of:,}", "document", "documents")
        return f"{read:,} of {documents} scanned ({tokens:,} tokens), none missed."
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
        which = "The target was" if placed == 1 else f"Each of the {placed:,} targets was"
        return f"{which} found at the place it was taken from; that place is never counted."
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
    bare = [one for one in buckets_said(view, view.before) if one.near["reason"]]
    if not bare:
        return "Not judged: what copies are worth to other models than those that were measured."
    named = [f"“{labelled(one.bucket)}”" for one in bare]
    least = min(bare, key=lambda one: number_lacking(one.near)).near["reason"]
    if len(bare) == 1:
        return f"Not judged: how far off the number of {named[0]} may be ({least})."
    which = f"{', '.join(named[:-1])} and {named[-1]}"
    return f"Not judged: how far off the numbers of {which} may be (at the least {least})."


def number_lacking(row: Mapping[str, Any]) -> float:
    """The number that is too small for limits; infinite where none is."""
    if row["targets"] < LEAST_TARGETS:
        return row["targets"]
    return row["documents"] if row["documents"] < LEAST_DOCUMENTS else math.inf


def unknowns(view: CorpusView) -> list[str]:
    """List what cannot be judged from this scan."""
    found = dict[str, list[str]]()
    for one in buckets_said(view, view.before):
        if one.near["reason"]:
            found.setdefault(one.near["reason"], []).append(occurring(one.bucket))
    said = [f"No interval for {', '.join(which)}: {reason}." for reason, which in found.items()]
    said.append(
        "Exact copies have no interval: a bucket's targets were chosen by their number, so that "
        "others would have as many. Those of other targets are counted, and no more."
    )
    if view.scanned.documents < view.scanned.of:
        said[-1] += (
            " In a sample they are multiplied as near-duplicates are, and are off by chance."
        )
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
