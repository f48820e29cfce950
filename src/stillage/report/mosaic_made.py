"""How a mosaic run was made, in sentences, and the words of its page explained."""

from __future__ import annotations

from collections.abc import Sequence

from stillage.functional.equivalence import FLAGS
from stillage.report.corpus_words import several
from stillage.report.mosaic_view import USUAL_CURVE, MosaicView, Shown
from stillage.report.mosaic_words import flag_name, level_percent

SCANNED_CANARIES = "canaries_scan"  # folder of the canaries that a scan named


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


def other_canaries_words(view: MosaicView) -> list[str]:
    """Say which canaries stand in for the usual ones in some trainings."""
    said = []
    for name, other in view.others.items():
        members, nonmembers = (
            len(other.perplexity.get(role, ())) for role in ("member", "nonmember")
        )
        least, most = other.lengths
        length = f"{least} tokens" if least == most else f"{least} to {most} tokens"
        is_scan = name == SCANNED_CANARIES
        kind = "targets of a corpus scan, which no model wrote" if is_scan else "texts"
        said.append(
            f"Some trainings have canaries of their own ({name}): {members:,} members and "
            f"{nonmembers:,} nonmembers, {kind}, of {length}. What is said of perplexity is not "
            "of these."
        )
    return said


def injection_words(view: MosaicView) -> str:
    """Say how copies were injected, and how many of them are there token for token."""
    found = sum(kept for kept, _ in view.survived.values())
    total = sum(of for _, of in view.survived.values())
    how = {"tokens": "As tokens", "text": "As text between spaces"}.get(
        str(view.about.get("inject", "")), ""
    )
    if not total:
        return f"{how}: how many copies survived is not recorded." if how else ""
    said = f"{found:,} of {total:,} injected pieces ({100 * found / total:.4g} %) were found again "
    said += f"token for token{range_of_lost(view)}"
    return f"{how}, {said}." if how else f"{said}."


def range_of_lost(view: MosaicView) -> str:
    """Say how shares of pieces found again differ by training; empty for alike."""
    shares = [100 * kept / of for kept, of in view.survived.values() if of]
    least, most = (f"{end(shares):.4g}" for end in (min, max))
    return f", {least} % to {most} % by training" if least != most else ""


def training_words(view: MosaicView) -> str:
    """Say how many trainings there were, and how their numbers were drawn again."""
    trainings = set(view.trainings) or {row["condition"] for row in view.points} - {""}
    if not trainings:
        return ""
    count = several(f"{len(trainings):,}", "training was", "trainings were")
    draws = view.about.get("resamples")
    again = f" Intervals: {draws:,} draws of canaries." if isinstance(draws, int) else ""
    model = view.about.get("model")
    of = f" The usual model: {model}." if isinstance(model, str) and model else ""
    apart = sum(curve != USUAL_CURVE for curve in view.curves.values())
    other = f"; {apart:,} of them of other models, settings, canaries or students" if apart else ""
    return f"{count} compared{other}.{of}{again}"


def dose_words(view: MosaicView, one: Shown) -> str:
    """Say what N is in a section, where sections differ; empty where all have one N."""
    doses = {other.copies or view.copies for other in view.experiments if other.shows != "auc"}
    n = one.copies or view.copies
    if len(doses) < 2 or one.shows == "auc" or n < 2:
        return ""
    near = several(str(n - 1), "near-copy", "near-copies")
    read_off = "" if one.shows == "recital" else f", read off 1 to {n} exact copies"
    return f"Here N = {n}: the canary with {near}{read_off}."


def guide(view: MosaicView) -> list[tuple[str, str]]:
    """Explain the words of the page."""
    doses = {one.copies or view.copies for one in view.experiments if one.shows != "auc"}
    dose = doses.pop() if len(doses) == 1 else 0
    full, near = (dose, dose - 1) if dose else ("N", "N − 1")
    scanned = ", or a target of a corpus scan" if SCANNED_CANARIES in view.others else ""
    divisor = near if dose else "(N − 1)"
    each = "" if dose else " N is named in each section."
    copies = "near-copy" if near == 1 else "near-copies"
    return [
        (
            "Canary",
            f"A text that a model wrote for this test{scanned}. Members stand in the training "
            "documents, nonmembers nowhere.",
        ),
        (
            "Near-copy",
            f"A canary changed in some way. A training holds the canary once and {near} "
            f"{copies} of it; it is compared with trainings on 1 to {full} exact copies.{each}",
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
            f"The worth of one near-copy: (worth in exact copies − 1) / {divisor}. 1: as good as "
            "an exact copy; 0: as if it were not there.",
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
