"""How a mosaic run was made, in sentences, and the words of its page explained."""

from __future__ import annotations

from collections.abc import Sequence

from stillage.functional.equivalence import FLAGS
from stillage.report.mosaic_view import MosaicView
from stillage.report.mosaic_words import flag_name, level_percent


def flag_sentences(view: MosaicView) -> list[tuple[str, str]]:
    """Each flag that a point has, and what it means."""
    seen = dict.fromkeys(flag for row in view.points for flag in row["flags"])
    return [(flag_name(flag), FLAGS.get(flag, "No explanation is known.")) for flag in seen]


def titles_words(titles: Sequence[str], most: int = 6) -> str:
    """Name a few titles, and count the others."""
    more = len(titles) - most
    return ", ".join(f"“{title}”" for title in titles[:most]) + (
        f" and {more} more" if more > 0 else ""
    )


def document_words(view: MosaicView, most: int) -> str:
    """Say which documents hold the canaries, and how they came to."""
    if not view.documents:
        return ""
    count = len(view.hosts)
    said = f"{count:,} of {view.documents:,} documents {'holds' if count == 1 else 'hold'} canaries"
    named = f": {titles_words(view.hosts, most)}" if view.hosts else ""
    draw = view.about.get("titles")
    how = f" They were named in a list ({draw})." if draw else ""
    return f"{said}{named}.{how}"


def canary_words(view: MosaicView) -> str:
    """Say how many canaries there are, how long, and who wrote them."""
    members, others = (
        len(view.canaries.perplexity.get(role, ())) for role in ("member", "nonmember")
    )
    if not members and not others:
        return ""
    length = f" of {view.length} tokens" if view.length else ""
    rejected = view.canaries.made.get("rejected")
    counted = isinstance(rejected, dict) and all(isinstance(n, int) for n in rejected.values())
    lost = f"; {sum(rejected.values()):,} other texts were not kept" if counted and rejected else ""
    filled = len(view.canaries.buckets)
    buckets = f", in {filled} buckets of perplexity" if filled else ""
    return (
        f"{members:,} canaries{length} went into the documents, {others:,} of the same kind went "
        f"nowhere{buckets}{lost}."
    )


def injection_words(view: MosaicView) -> str:
    """Say how copies were injected, and how many of them are there token for token."""
    found, total = view.survived
    how = {"tokens": "As tokens", "text": "As text between spaces"}.get(
        str(view.about.get("inject", "")), ""
    )
    if not total:
        return f"{how}: how many copies survived is not recorded." if how else ""
    share = f"{100 * found / total:.4g} %"
    said = f"{found:,} of {total:,} injected pieces ({share}) were found again token for token"
    return f"{how}, {said}." if how else f"{said}."


def training_words(view: MosaicView) -> str:
    """Say how many trainings there were, and how their numbers were drawn again."""
    conditions = {row["condition"] for row in view.points if row["condition"]}
    trainings = f"{len(conditions)} training{'s' * (len(conditions) != 1)}"
    draws = view.about.get("resamples")
    again = f" Intervals: {draws:,} draws of canaries." if isinstance(draws, int) else ""
    model = view.about.get("model")
    of = f" of {model}" if isinstance(model, str) and model else ""
    return f"{trainings}{of} were compared.{again}" if conditions else ""


def guide(view: MosaicView) -> list[tuple[str, str]]:
    """Explain the words of the page."""
    full = view.copies or "N"
    near = view.copies - 1 if view.copies else "N − 1"
    return [
        (
            "Canary",
            "A text that a model wrote for this test. Members stand in the training documents, "
            "nonmembers nowhere.",
        ),
        (
            "Near-copy",
            f"A canary changed in some way. A training holds the canary once and {near} "
            f"near-copies of it; it is compared with trainings on 1 to {full} exact copies.",
        ),
        (
            "Membership AUC",
            "How often an attack on the trained model tells a member from a nonmember: 0.5 is "
            "guessing, 1 is certainty.",
        ),
        (
            "Worth, in exact copies",
            "The number of exact copies that gives the same AUC as the canary with its "
            "near-copies.",
        ),
        (
            "rho",
            f"The worth of one near-copy: (worth in exact copies − 1) / {near}. 1: as good as an "
            "exact copy; 0: as if it were not there.",
        ),
        (
            "As published, isotonic",
            "Two ways to read the exact curve: the published moving average of three, and the "
            "nearest curve that never falls; both extended as a line where an AUC lies above them.",
        ),
        (
            "Intervals",
            f"In brackets, the range that other canaries of the same kind would cover with "
            f"{level_percent(view)} confidence, all of the computation done again on each draw.",
        ),
    ]
