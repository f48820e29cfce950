"""What `stillage corpus overlap` shows on the screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillage.cli.paths import aligned_lines


def lines_of(facts: Mapping[str, Any], out: str) -> list[str]:
    """List the lines of the screen.

    facts: as of `corpus_overlap.facts_of`. out: the folder of the files that were written, or "".
    """
    from stillage.corpus.overlap_tables import OVERLAPS, VERDICTS

    a, b = facts["a"], facts["b"]
    unit, piece = facts["unit"], facts["piece"]
    many = sum(b[verdict] for verdict in OVERLAPS)
    lines = [
        f"{many:,} of {b['documents']:,} items of B overlap with A; "
        f"{a['documents']:,} documents compared",
        *(
            f"  {name} {one['source']}: {one['documents']:,} documents, {one[unit]:,} {unit}"
            + (f"; {one['left out']:,} rows without text left out" if one["left out"] else "")
            for name, one in (("A", a), ("B", b))
        ),
        "",
    ]
    names = {verdict: verdict for verdict in VERDICTS}
    names["shares a piece"] = f"neither, but shares {piece} {unit} or more in a row"
    names["no such piece"] = "shares no such piece"
    names["too short to judge"] = f"too short to judge (under {piece} {unit})"
    rows = [["", "A", "", "B", ""]]
    if not a["empty"] and not b["empty"]:
        del names["empty"]
    for verdict, name in names.items():
        rows.append(
            [
                name,
                *count_and_share(a[verdict], a["documents"]),
                *count_and_share(b[verdict], b["documents"]),
            ]
        )
    rows.append([""] * 5)
    name = f"all that share {piece} {unit} or more in a row"
    rows.append(
        [
            name,
            *(
                text
                for one in (a, b)
                for text in count_and_share(one["with a piece"], one["documents"])
            ),
        ]
    )
    name = f"{unit} in such pieces"
    rows.append(
        [name, *count_and_share(a["covered"], a[unit]), *count_and_share(b["covered"], b[unit])]
    )
    lines += aligned_lines(rows)
    if facts["listed"]:
        lines += ["", *listed_lines(facts["listed"], unit)]
    if "dropped" in facts:
        lines += ["", *dropped_lines(facts["dropped"], out)]
    if out:
        lines += ["", f"tables: {out}/a.parquet, {out}/b.parquet"]
    return lines


def count_and_share(count: int, of: int) -> list[str]:
    """A count and its share."""
    return [f"{count:,}", f"{100 * count / of:.1f} %" if of else ""]


def listed_lines(listed: list[Mapping[str, Any]], unit: str) -> list[str]:
    """The documents of B with the longest shared pieces, one a line."""
    rows = [["item of B", f"{unit}", "longest piece", "covered", "with document of A", "verdict"]]
    for one in listed:
        other = place(one, "other_") or place(one, "copy_")
        if one["copy_source"] is not None and place(one, "copy_") != other:
            other += f" (copy of {place(one, 'copy_')})"
        numbers = [f"{one[unit]:,}", f"{one['longest']:,}", f"{one['covered']:,}"]
        rows.append([place(one, ""), *numbers, other, one["verdict"]])
    lines = aligned_lines(rows)
    if any("piece" in one for one in listed):
        texts = [one["piece"] or "" for one in listed]
        shown = [f"    {text}" for text in texts]
        lines = [lines[0], *(line for pair in zip(lines[1:], shown, strict=True) for line in pair)]
    return [line for line in lines if line.strip()]


def place(row: Mapping[str, Any], prefix: str) -> str:
    """A document's name: file:line, and its id if it has one; "" for none."""
    if row[f"{prefix}source"] is None:
        return ""
    own = row[f"{prefix}id"]
    return f"{row[f'{prefix}source']}:{row[f'{prefix}line']}" + (f" ({own})" if own else "")


def dropped_lines(counts: Mapping[str, Any], out: str) -> list[str]:
    """What was kept and dropped, and where."""
    reasons = {
        "exact": "exact copies",
        "near-duplicate": "near-duplicates",
        "shares": "by a shared piece",
    }
    by_reason = ", ".join(
        f"{count:,} {reasons[name]}" for name, count in counts["by reason"].items()
    )
    line = f"from {counts['from']} dropped {counts['dropped']:,} of {counts['documents']:,}"
    lines = [f"{line} ({by_reason or 'nothing'}); kept {counts['kept']:,}"]
    if counts["kept though too short for the piece"]:
        many = counts["kept though too short for the piece"]
        lines.append(f"{many:,} of the kept are too short for the rule's piece: not judged by it")
    return [*lines, f"kept: {out}/{counts['file']}; dropped: {out}/dropped.parquet"]
