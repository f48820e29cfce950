"""The sentences of a mosaic run: what a near-copy is worth, and what is open."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from stillage.report.corpus_words import several
from stillage.report.key_numbers import KeyNumber
from stillage.report.mosaic_axis import axis_number
from stillage.report.mosaic_reading import TO_WHOLE, ZERO, PointReading, is_judged, reading
from stillage.report.mosaic_view import MosaicView, Row, Shown
from stillage.report.wording import CHANCE, interval, joined, sentence, words
from stillage.types import Result

USUAL = 0.1  # share of a canary's tokens that is replaced in the headline
MOST_KEYS = 3  # points of the header, besides the ends of the exact curve
LONG = 32  # characters of a head that no column has room for
NOT_NAMED = "no attack"
LEVEL_CURVE = "the exact curve cannot be told from a level one"


def fixed_amount(number: float, digits: int = 2) -> str:
    """Write a number; no value where it is none, and no minus before zero."""
    if not math.isfinite(number):
        return "no value"
    return f"{number + 0.0:.{digits}f}".replace("-0.00", "0.00")


def with_limits(row: Result) -> str:
    """Write a number with its limits in a sentence: "0.64 (0.55 to 0.72)"."""
    said = fixed_amount(row.value)
    if math.isnan(row.low) or math.isnan(row.value):
        return said
    return f"{said} ({limits(row)})"


def limits(row: Result) -> str:
    """Write the limits of a number: "0.55 to 0.72", or "0.55 or more"."""
    if math.isnan(row.high):
        return f"{fixed_amount(row.low)} or more"
    return f"{fixed_amount(row.low)} to {fixed_amount(row.high)}"


def at_place(row: Row) -> str:
    """Name a place on an axis: its label, or its number."""
    return row["label"] or axis_number(row["x"])


def attack_words(name: str) -> str:
    """Name an attack: "loss attack"."""
    return f"{words(name)} attack" if name else NOT_NAMED


def canaries_words(row: Row) -> str:
    """Count the canaries behind a point: "100 + 100 canaries"."""
    return f"{row['members']:,} + {row['nonmembers']:,} canaries"


def level_percent(view: MosaicView) -> str:
    """The level of the intervals: "95 %"."""
    return f"{100 * view.level:g} %"


def flag_name(name: str) -> str:
    """Name a flag in a table."""
    return name.replace("_", " ")


def column_head(axis: str) -> str:
    """The name of an axis over a column: of a long one its beginning, or its end."""
    if len(axis) <= LONG:
        return axis or "point"
    first = re.split(r",| \(", axis)[0]
    last = re.search(r"\(([^()]+)\)$", axis)
    return last[1] if last and len(first) > LONG else first


def exact_copies_words(number: float) -> str:
    """1 exact copy, 10 exact copies."""
    return "1 exact copy" if number == 1 else f"{number:g} exact copies"


def weighed(view: MosaicView) -> list[Row]:
    """The points of near-copies that have a rho."""
    shown = {one.name for one in view.experiments if one.shows in ("rho", "distance")}
    rows = (row for row in view.points if row["experiment"] in shown)
    return [row for row in rows if not math.isnan(row["rho"])]


def judged_curve(view: MosaicView, attack: str) -> list[Row]:
    """The points of exact copies that have an AUC, by their number."""
    return [row for row in view.curve(attack) if not math.isnan(row["auc"])]


def curve_flaw(view: MosaicView, attack: str) -> str:
    """Say why the usual exact curve carries no judgement; empty where it does.

    Empty too where the run has no such curve: `open_questions` says so.
    """
    rows = judged_curve(view, attack)
    near = [row for row in weighed(view) if row["attack"] == attack and view.is_usual(row)]
    none_judged = bool(near) and not any(map(is_judged, near))
    if not rows and view.curve(attack):
        return "exact copies have no AUC"
    if not rows:
        return "more exact copies leave no more trace" if none_judged else ""
    first, last = rows[0], rows[-1]
    if not any(row["auc_low"] > CHANCE for row in rows):
        return "exact copies themselves cannot be told from chance"
    if len(rows) == 1:
        return "one number of exact copies makes no curve"
    if not last["auc"] > first["auc"]:
        return f"{exact_copies_words(last['x'])} leave no more trace than {first['x']:g}"
    if none_judged:
        top = exact_copies_words(last["x"])
        return f"the trace of {top} cannot be told from that of {first['x']:g}"
    return ""


def point_flaw(view: MosaicView, row: Row) -> str:
    """Say why a point says nothing, by its own curve; empty where it does."""
    flaw = curve_flaw(view, row["attack"]) if view.is_usual(row) else ""
    return flaw or ("" if is_judged(row) else LEVEL_CURVE)


def flaws_note(view: MosaicView, rows: Sequence[Row]) -> str:
    """Say which of some points say nothing, and why; empty where all do."""
    read = [row for row in rows if not math.isnan(row["rho"])]
    flaws = Counter(flaw for row in read if (flaw := point_flaw(view, row)))
    if not flaws:
        return ""
    why = f"{'; '.join(flaws)} ({attack_words(read[0]['attack'])})"
    if flaws.total() == len(read):
        return f"These numbers say nothing: {why}."
    some = "of these points says" if flaws.total() == 1 else "of these points say"
    return f"{flaws.total()} {some} nothing: {why}. The others have another curve."


def headline_point(view: MosaicView) -> tuple[Shown, Row] | None:
    """The point of the headline: a tenth of the tokens replaced, if measured."""
    for one in sorted(view.experiments, key=lambda one: one.name != "replacement"):
        rows = [row for row in view.of(one.name, view.attack) if not math.isnan(row["rho"])]
        rows = [row for row in rows if not point_flaw(view, row)]
        if one.shows == "rho" and rows:
            own = [row for row in rows if row["series"] == rows[0]["series"]]
            usual = USUAL * (view.length or 100)
            return one, min(own, key=lambda row: abs(row["x"] - usual) if row["x"] else math.inf)
    return None


def near_copy(view: MosaicView, one: Shown, row: Row) -> str:
    """Name the near-copies of a point."""
    if one.name == "replacement" and not row["label"]:
        of = f" of {view.length}" if view.length else ""
        return f"a near-copy with {row['x']:g}{of} tokens replaced"
    place = row["label"] or f"{column_head(one.axis)} {at_place(row)}"
    named = ", ".join(filter(None, [row["series"], place]))
    return f"a near-copy ({one.title}: {named})"


def mosaic_headline(view: MosaicView) -> str:
    """Say what a near-copy is worth, with its power, or why nothing can be said."""
    if not any(math.isfinite(row["auc"]) for row in view.points):
        return "Nothing can be judged: no AUC was measured"
    found = headline_point(view)
    if found is None and (flaw := curve_flaw(view, view.attack)):
        return f"What near-copies are worth cannot be judged: {flaw}"
    if found is None:
        asked = any(one.shows == "rho" for one in view.experiments)
        return "No near-copy has a worth" if asked else exact_headline(view)
    one, row = found
    named = sentence(near_copy(view, one, row))[:-1]
    by = f"{attack_words(view.attack)}, {canaries_words(row)}"
    return f"{named} is worth {worth_words(view, reading(view, row), by)}"


def worth_words(view: MosaicView, read: PointReading, by: str) -> str:
    """Say what a near-copy is worth, with its limits and what they leave open."""
    rho, level = read.rho, level_percent(view)
    why = f": {read.why}" if read.why else ""
    if read.below:
        most = f"{level}: up to {fixed_amount(rho.high)}; " if rho.high >= ZERO else ""
        most = f"{level}: no upper limit; " if math.isnan(rho.high) > math.isnan(rho.low) else most
        doubt = TO_WHOLE if read.doubt == TO_WHOLE else ""
        return (
            "less than can be measured: a canary with its near-copies leaves "
            f"{read.below} than one exact copy, and the {read.by} stops at 0{doubt} ({most}{by})"
            f"{why}"
        )
    worth = f"{fixed_amount(rho.value)} of an exact copy{' or more' * read.is_least}"
    said = f"{worth}{' by the isotonic curve' * bool(why)}"
    if math.isnan(rho.low):
        return f"{said}; how far off that may be is not known ({by}){why}"
    return f"{said}{read.doubt} ({level}: {limits(rho)}; {by}){why}"


def exact_headline(view: MosaicView) -> str:
    """Say what exact copies leave, where no near-copies were trained on."""
    rows = judged_curve(view, view.attack)
    if not rows:
        return "No exact copies and no near-copies were compared"
    last = rows[-1]
    auc = interval(view.result(last, "auc"))
    by = f"{attack_words(view.attack)}, {canaries_words(last)}"
    return f"{exact_copies_words(last['x'])} of a canary give an AUC of {auc} ({by})"


def mosaic_detail(view: MosaicView) -> list[str]:
    """Say what stands beside the headline: range, other curve, other attacks."""
    return [said for said in (range_words(view), *(headline_readings(view) or ())) if said]


def range_words(view: MosaicView) -> str:
    """Say between which AUCs a near-copy is weighed."""
    rows = judged_curve(view, view.attack)
    if not rows:
        return ""
    ends = rows[:1] if len(rows) == 1 else [rows[0], rows[-1]]
    said = [
        f"{interval(view.result(row, 'auc'), 3)} of {exact_copies_words(row['x'])}" for row in ends
    ]
    flaw = curve_flaw(view, view.attack)
    able = [name for name in view.attacks if flaw and not curve_flaw(view, name)]
    others = any(not view.is_usual(row) for row in weighed(view))
    own = " Other models, settings and students have a curve of their own." if others else ""
    return joined(
        f"Membership AUC ({attack_words(view.attack)}): {' and '.join(said)}; 0.5 is chance.",
        f"No number of near-copies that is read off this curve says more than that.{own}"
        if flaw
        else "",
        f"Other attacks can tell: {', '.join(map(words, able))}." if able else "",
    )


def headline_readings(view: MosaicView) -> list[str]:
    """Say what the point of the headline is worth by other ways of reading it."""
    found = headline_point(view)
    if found is None:
        return []
    one, row = found
    read = reading(view, row)
    name, metric = (
        ("As published", "rho") if read.why else ("By the isotonic curve", "rho_isotonic")
    )
    said = [f"{name}: {with_limits(view.result(row, metric))}."]
    others = [
        f"{words(name)} {with_limits(reading(view, other).rho)}"
        for name in view.attacks[1:]
        for other in view.of(one.name, name)
        if same_place(row, other) and not math.isnan(other["rho"])
        if not point_flaw(view, other)
    ]
    said.append(f"Other attacks: {', '.join(others)}." if others else "")
    if row["flags"]:
        said.append(f"Flagged: {', '.join(map(flag_name, row['flags']))} (see below).")
    copies = f"{fixed_amount(row['copies'], 1)} exact copies"
    near = (one.copies or view.copies) - 1
    dose = f"The canary and its {several(str(near), 'near-copy', 'near-copies')}"
    is_told = not (math.isnan(row["copies"]) or read.why or read.below)
    traced = f"{dose if near > 0 else 'Together they'} leave the trace of {copies}."
    return [joined(traced if is_told else "", *said)]


def same_place(row: Row, other: Row) -> bool:
    """Whether two points are one, under two attacks."""
    return all(row[name] == other[name] for name in ("series", "x", "label", "condition"))


def header_keys(view: MosaicView) -> list[KeyNumber]:
    """The numbers of the header: the ends of the exact curve, and some near-copies."""
    rows = judged_curve(view, view.attack)
    ends = rows[:1] if len(rows) == 1 else [rows[0], rows[-1]] if rows else []
    keys = [
        key_number(
            exact_copies_words(row["x"]), view.result(row, "auc"), "membership AUC", digits=3
        )
        for row in ends
    ]
    found = headline_point(view)
    if found is None:
        return keys
    one, row = found
    line = [
        other
        for other in view.of(one.name, view.attack)
        if other["series"] == row["series"] and not math.isnan(other["rho"])
        if not point_flaw(view, other)
    ]
    spread = [line[round(at * (len(line) - 1) / max(1, MOST_KEYS - 1))] for at in range(MOST_KEYS)]
    spread[1] = row if row is not line[0] and row is not line[-1] else spread[1]
    is_replaced = one.name == "replacement"
    for other in {id(other): other for other in spread}.values():
        tokens = "token" if other["x"] == 1 else "tokens"
        is_number = is_replaced and not other["label"]
        label = f"{at_place(other)} {tokens} replaced" if is_number else at_place(other)
        read = reading(view, other)
        note = (
            f"of an exact copy{', isotonic' * bool(read.why)}{' (stops at 0)' * bool(read.below)}"
        )
        keys.append(key_number(label, read.rho, note))
    return keys


def key_number(label: str, row: Result, note: str, *, digits: int = 2) -> KeyNumber:
    """Show a number in the header."""
    value, _, rest = interval(row, digits).partition(" [")
    return KeyNumber(label=label, value=value, small=f"[{rest}" if rest else "", note=note)


def lost_words(view: MosaicView) -> str:
    """Say what share of the injected pieces was lost; empty for none."""
    found = sum(kept for kept, _ in view.survived.values())
    total = sum(of for _, of in view.survived.values())
    if found == total:
        return ""
    shares = [100 * (1 - kept / of) for kept, of in view.survived.values() if of]
    least, most = (f"{end(shares):.3g}" for end in (min, max))
    by = f", from {least} % to {most} % by training" if least != most else ""
    return (
        f"{total - found:,} of {total:,} injected pieces ({100 * (1 - found / total):.3g} %{by}) "
        "are not there token for token"
    )


def open_questions(view: MosaicView) -> list[str]:
    """List what cannot be judged from this run."""
    said = []
    if flaw := curve_flaw(view, view.attack):
        said.append(
            f"What near-copies are worth under the {attack_words(view.attack)}: {flaw}. "
            "More canaries, more copies or more training would give the power to tell."
        )
    if not view.curve(view.attack):
        said.append(
            "Whether exact copies can be told from chance: no experiment of this run shows their "
            "curve."
        )
    if bare := sum("no_curve" in row["flags"] for row in view.points):
        points = several(f"{bare}", "point", "points")
        said.append(f"The worth of {points} of near-copies: an exact curve was not trained for it.")
    if empty := [
        f"“{one.title}”" for one in view.experiments if not view.of(one.name, view.attack)
    ]:
        said.append(f"Nothing was measured for: {', '.join(empty)}.")
    flags = Counter(flag_name(flag) for row in view.points for flag in row["flags"])
    if flags and view.attacks:
        counted = ", ".join(f"{name} {count}" for name, count in flags.most_common())
        said.append(f"Points with a flag, under all attacks: {counted} (explained below).")
    if lost := lost_words(view):
        said.append(
            f"What was lost on the way into the documents: {lost}. Points with “copies lost” "
            "compare other doses than they name."
        )
    said.append(
        "Intervals speak of other canaries of the same kind, in the same documents and trainings. "
        "Another seed, model or corpus may differ by more; several seeds say by how much."
    )
    if any(one.published for one in view.experiments):
        said.append(
            "Published values are of another model, attack and corpus: for orientation, not a test."
        )
    return said
