"""`stillage corpus overlap A B`: compare two data sets, and drop what they share."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stillage.cli.board import Board
from stillage.cli.overlap_screen import lines_of
from stillage.errors import ConfigError, Interrupted
from stillage.run.folder import atomic, list_files, write_json, write_table
from stillage.run.stop import Stop, watch_signals

if TYPE_CHECKING:
    from stillage.corpus.compared import Document
    from stillage.corpus.compared_sets import TextSet, TokenSet
    from stillage.corpus.in_common import InCommon
    from stillage.corpus.overlap_tables import DropRule
    from stillage.types import Array

NAMES = ("A", "B")
MADE = "overlap.json"
"""What marks an OUT of this command; its settings and counts."""
RECORD_COLUMNS = {"prompt", "instruction", "messages", "conversations", "instances"}
"""Columns of records: with one of them, a row's text is all of its record."""


@dataclass(frozen=True, kw_only=True)
class OverlapFlags:
    """What `corpus overlap A B` takes besides."""

    column: str = ""
    """The column that holds the text. Without it `text`, or all of a record (prompt, input and
    response, or the turns of a chat, joined by newlines)."""
    column_b: str = ""
    """The column of B, where it has another name."""
    txt: Literal["document", "lines"] = "document"
    """What a .txt file holds: one document, or one on each line."""
    piece: int = 8
    """So many words (tokens) in a row count as shared. 8: the least that makes near-duplicates;
    others take 13 or 50. The longest piece is reported whatever its length."""
    drop_from: str = ""
    """Write that side without what overlaps: A, B, or its path. Needs --out."""
    rule: tuple[str, ...] = ("near",)
    """Who is dropped: exact (copies on normal forms), near (these and near-duplicates), piece:N
    (exact copies, and who shares N words in a row); or several."""
    out: str = ""
    """Folder for the tables a.parquet and b.parquet, and for what is kept and dropped."""
    show: int = 10
    """How many documents of B to list, the longest shared piece first."""
    show_text: bool = False
    """Show the words that are shared, on the screen and in the tables."""
    json: bool = False
    """Print counts and the listed documents as JSON."""
    max_bad: int = 0
    """How many rows without text to leave out of each side (counted)."""
    revision: str = ""
    """Commit of A where it is a hub id: 40 hexadecimal digits."""
    revision_b: str = ""
    """Commit of B where it is a hub id."""
    hub_split: str = "train"
    """Split of a hub id or a saved data set (or write FOLDER:PART)."""


SETTINGS = OverlapFlags


def main(paths: list[str], chosen: OverlapFlags) -> int:
    """Compare, show, and write what is asked for."""
    from stillage.corpus.compared import Tokens, Words
    from stillage.corpus.compared_sets import TokenSet, check_comparable
    from stillage.corpus.in_common import compare_sets
    from stillage.corpus.overlap_tables import read_drop_rule

    rule, side = read_drop_rule(chosen.rule), dropped_side(paths, chosen)
    check_overlap_out(paths, chosen.out)
    if chosen.piece < 1 or chosen.show < 0 or chosen.max_bad < 0:
        values = f"piece: {chosen.piece}; show: {chosen.show}; max_bad: {chosen.max_bad}"
        raise ConfigError(
            "A count is too small.", values, "Give piece 1 or more, others 0 or more."
        )
    sets = open_both(paths, chosen)
    check_comparable(*sets)
    units = Tokens() if isinstance(sets[0], TokenSet) else Words()
    with watch_signals() as stop:
        with Board() as board, stop.deferred():  # raised in compiled code, it might be swallowed
            documents = (each.documents() for each in sets)
            counter = reading_progress(board, paths, stop)
            common = compare_sets(*documents, units=units, piece=chosen.piece, progress=counter)
        facts = facts_of(paths, sets, common, chosen)
        if chosen.out:
            with atomic(Path(chosen.out)) as folder:
                folder.mkdir()
                write_tables(folder, common, chosen.show_text)
                if side is not None:
                    facts["dropped"] = write_without(folder, sets[side], common, side, rule)
                write_json(folder / MADE, facts)
    if chosen.json:
        print(json.dumps(facts, ensure_ascii=False, indent=1))
    else:
        print("\n".join(lines_of(facts, chosen.out)))
    return 0


def dropped_side(paths: list[str], chosen: OverlapFlags) -> int | None:
    """Return the side to write without what overlaps: 0, 1, or None.

    ConfigError where --drop-from names no side, or --out is missing.
    """
    if not chosen.drop_from:
        if chosen.rule != OverlapFlags.rule:
            values = f"--rule {' '.join(chosen.rule)}"
            fix = "Give --drop-from A or B, and --out, too."
            raise ConfigError("A rule says who is dropped, and nobody is.", values, fix)
        return None
    names = {"A": 0, "B": 1} | {str(Path(path)): number for number, path in enumerate(paths)}
    named = str(Path(chosen.drop_from))
    if named not in names:
        fix = f"Give A ({paths[0]}) or B ({paths[1]})."
        raise ConfigError("There is no such side.", f"--drop-from {chosen.drop_from}", fix)
    if not chosen.out:
        fix = "Give --out FOLDER: the kept documents are written there."
        raise ConfigError("Where shall the kept documents go?", "--out was not given", fix)
    return names[named]


def check_overlap_out(paths: list[str], out: str) -> None:
    """Refuse to compare A with itself, and an OUT that cannot be written.

    OUT may neither lie in a source nor hold one, nor hold files of something else.
    """
    from stillage.corpus.sources import folder_and_part, is_pattern

    one, two = (str(Path(path).resolve()) if Path(path).exists() else path for path in paths)
    if one == two:
        fix = "To find copies within one set, use `stillage corpus dedup`."
        raise ConfigError("A and B are the same.", f"given: {paths[0]} twice", fix)
    if not out:
        return
    folder = Path(out).resolve()
    for path in paths:
        place = folder_and_part(path)[0].resolve()
        while is_pattern(str(place)) and not place.exists():
            place = place.parent
        is_within = folder == place or (
            folder.is_relative_to(place) and ("**" in path or not is_pattern(path))
        )
        if is_within or (place.exists() and place.is_relative_to(folder)):
            values, fix = f"out: {out}; source: {path}", "Give a folder that lies elsewhere."
            raise ConfigError("OUT and a source lie in each other.", values, fix)
    if folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / MADE).is_file()
    ):
        values = f"{out} holds: {', '.join(one.name for one in sorted(folder.iterdir())[:5])}"
        values = f"{out} is a file" if folder.is_file() else values
        fix = "Give a new folder, or one that this command made: it is replaced."
        raise ConfigError("OUT holds other files.", values, fix)


def open_both(
    paths: list[str], chosen: OverlapFlags
) -> tuple[TextSet | TokenSet, TextSet | TokenSet]:
    """Open A and B, each as token shards or as texts."""
    from stillage.corpus.compared_sets import TextSet, column_text, is_shards, open_token_set
    from stillage.corpus.sources import HubPart

    def opened(path: str, column: str, revision: str) -> TextSet | TokenSet:
        if is_shards(path):
            return open_token_set(path)
        return TextSet(
            source=path,
            text=column_text(column) if column else record_text,
            hub=HubPart(revision=revision, split=chosen.hub_split),
            txt=chosen.txt,
            max_bad=chosen.max_bad,
        )

    column_b = chosen.column_b or chosen.column
    return (
        opened(paths[0], chosen.column, chosen.revision),
        opened(paths[1], column_b, chosen.revision_b),
    )


def record_text(row: Mapping[str, Any]) -> str:
    """The column `text`, or all of a record: its parts joined by newlines."""
    from stillage.corpus.rows import utf8_text
    from stillage.data.columns import RecordColumns, to_records
    from stillage.data.grouping import whole_text

    if "text" in row and not RECORD_COLUMNS & row.keys():
        return utf8_text(row["text"], "text")
    records = to_records(row, RecordColumns(need_response=False), "", Counter())
    return "\n".join(map(whole_text, records))


def reading_progress(board: Board, paths: list[str], stop: Stop) -> Callable[[Document], None]:
    """Show how many documents were read, and about how much time is left.

    The time left goes by the size of text files.
    Stops between two of them where a signal has come.
    """
    files = [file for path in map(Path, paths) for file in source_files(path)]
    is_text = files and all(file.suffix != ".parquet" for file in files)
    total = sum(file.stat().st_size for file in files) if is_text else 0
    started, documents, size = time.monotonic(), 0, 0

    def count(document: Document) -> None:
        nonlocal documents, size
        if stop():
            raise Interrupted("Stopped: nothing was written.", fix="Run the same command again.")
        documents += 1
        size += len(document.content)
        if documents % 256:
            return
        spent = time.monotonic() - started
        speed = f"{size / max(spent, 1e-9):,.0f}"
        unit = "characters" if isinstance(document.content, str) else "tokens"
        facts: dict[str, object] = {"doing": f"{{}} documents read, {speed} {unit}/s"}
        facts["done"] = documents
        if total and unit == "characters":
            facts["eta_s"] = round(spent * max(0, total - size) / size, 1) if size else 0
            facts["doing"] = f"{facts['doing']}, {min(100, 100 * size // total)} %"
        board.show("overlap", facts)

    return count


def source_files(path: Path) -> list[Path]:
    """The files of a source on this disk."""
    return [path] if path.is_file() else list_files(path) if path.is_dir() else []


def facts_of(
    paths: list[str],
    sets: tuple[TextSet | TokenSet, TextSet | TokenSet],
    common: InCommon,
    chosen: OverlapFlags,
) -> dict[str, Any]:
    """Counts of both sides, and the documents of B that are listed."""
    from stillage.corpus.compared_sets import TextSet
    from stillage.corpus.overlap_tables import by_overlap, overlap_table, side_counts

    facts: dict[str, Any] = {"piece": common.piece, "unit": common.unit}
    for number, side in enumerate("ab"):
        one = sets[number]
        bad = len(one.bad) if isinstance(one, TextSet) else 0
        facts[side] = {"source": paths[number], **side_counts(common, number), "left out": bad}
    first = by_overlap(common.sides[1])[: chosen.show]
    table = overlap_table(common, 1, show_text=chosen.show_text)
    return facts | {"listed": table.take(first).to_pylist()}


def write_tables(folder: Path, common: InCommon, show_text: bool) -> None:
    """Write a row for each document of A and of B."""
    from stillage.corpus.overlap_tables import overlap_table

    for number, side in enumerate("ab"):
        table = overlap_table(common, number, show_text=show_text)
        write_table(folder / f"{side}.parquet", table)


def write_without(
    folder: Path, one: TextSet | TokenSet, common: InCommon, side: int, rule: DropRule
) -> dict[str, Any]:
    """Write a side without what a rule drops, and the list of that; the counts."""
    from stillage.corpus.overlap_tables import dropped, dropped_table

    found = common.sides[side]
    why, other_D = dropped(found, rule, common.unit)
    table = dropped_table(common, side, why, other_D)
    write_table(folder / "dropped.parquet", table)
    shorter: Array = (found.words_D < rule.piece) & ~found.is_empty_D & (np.array(why) == "")
    return {
        "from": "AB"[side],
        "file": one.write_kept(folder, [not reason for reason in why]),
        "documents": len(why),
        "kept": len(why) - table.num_rows,
        "dropped": table.num_rows,
        "by reason": Counter(one.split(" ")[0] for one in why if one),
        "kept though too short for the piece": int(shorter.sum()),
    }
