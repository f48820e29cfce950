"""`stillage corpus repeats SHARDS --length L`: find all that occurs twice or more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.cli.board import Board
from stillage.cli.paths import aligned_lines
from stillage.cli.stoppable import stoppable
from stillage.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa
    from tokenizers import Tokenizer

    from stillage.corpus.merge import Joined
    from stillage.corpus.shards import ShardSet
    from stillage.corpus.similar import Similar
    from stillage.run.progress import Progress

NAMES = ("SHARDS",)
NAMED = 3  # documents of a repeat that are named
PLACES = 64  # occurrences that are looked at for them
SHOWN = 60  # characters of a repeat on the screen
SHOWN_TOKENS = 50  # of a repeat in JSON
LOOKED_AT = 10_000  # rows among which those that do not overlap are searched for


@dataclass(frozen=True, kw_only=True)
class RepeatsFlags:
    """What `repeats SHARDS` takes besides."""

    length: int = 0
    """Least tokens of a repeat: what counts as one. Must be given; 50 to 100 is usual. Documents
    shorter than this hold none; `corpus dedup --rule ngram:N` compares them whole, so that its
    numbers differ a little."""
    min_count: int = 2
    """Leave out repeats that occur less often; the share of repeated tokens counts all."""
    top: int = 5
    """How many of the longest and of the most frequent to print; none that overlaps another."""
    out: str = ""
    """A .parquet file for all repeats: document, start, length, count, documents."""
    with_tokens: bool = False
    """Write the ids of each repeat into the file, too."""
    similar: bool = False
    """Print how many sequences of --length tokens occur 2 times, 3 to 4, 5 to 8, and so on."""
    tokenizer: str = ""
    """The tokenizer of the corpus, to show texts: a tokenizer.json, a folder or a hub id."""
    revision: str = ""
    """Commit of a hub id: 40 hexadecimal digits."""
    json: bool = False
    """Print one JSON object instead."""


SETTINGS = RepeatsFlags


def main(paths: list[str], chosen: RepeatsFlags) -> int:
    """Find the repeats, print the most telling ones, write all of them."""
    from stillage.cli.corpus_count import own_tokenizer
    from stillage.corpus.indexed_parts import indexed_parts
    from stillage.corpus.shards import check_content, open_shards
    from stillage.run.stop import watch_signals

    check_repeats_flags(chosen)
    corpus = open_shards(Path(paths[0]))
    tokenizer = None
    if chosen.tokenizer:
        tokenizer = own_tokenizer(corpus, chosen.tokenizer, chosen.revision)
    joined = indexed_parts(corpus)
    with watch_signals() as stop, Board() as board:
        check_content(corpus, board.show)
        table, similar = search(joined, chosen, stoppable(board, stop))
        if chosen.out:
            write_repeats(table, joined, chosen)
    facts = repeat_facts(corpus, table, similar, chosen)
    for name, order in (("longest", ("length", "count")), ("most_frequent", ("count", "length"))):
        rows = first_rows(table, order, chosen.top)
        facts[name] = [told_repeat(corpus, joined, row, tokenizer) for row in rows]
    print(
        json.dumps(facts, ensure_ascii=False) if chosen.json else "\n".join(repeats_in_words(facts))
    )
    return 0


def check_repeats_flags(chosen: RepeatsFlags) -> None:
    """Refuse settings before anything is read."""
    from stillage.corpus.repeats import check_limits

    if not chosen.length:
        fix = "Give --length, e.g. --length 50."
        raise ConfigError("How long is a repeat at least?", "--length was not given", fix)
    check_limits(chosen.length, chosen.min_count, chosen.top)
    if chosen.out and not chosen.out.endswith(".parquet"):
        fix = "Give a name that ends in .parquet."
        raise ConfigError("The repeats are written as Parquet.", f"--out {chosen.out}", fix)
    if chosen.with_tokens and not chosen.out:
        values, fix = "--with-tokens without --out", "Give --out F.parquet."
        raise ConfigError("There is no file to write the ids into.", values, fix)


def search(joined: Joined, chosen: RepeatsFlags, progress: Progress) -> tuple[pa.Table, Similar]:
    """All repeats, and what lies in them, in one pass over the merged suffixes."""
    from stillage.corpus.merge import merged_suffixes
    from stillage.corpus.pace import paced
    from stillage.corpus.repeats import RepeatSearch
    from stillage.corpus.similar import ClusterCount

    repeats = RepeatSearch(joined, chosen.length, chosen.min_count)
    clusters = ClusterCount(joined, chosen.length)
    progress("repeats", {"doing": "compiling the comparison"})  # most of the time of a small corpus
    nothing = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    repeats.feed(nothing)
    clusters.feed(nothing)
    tell = paced(progress, "repeats", "{} tokens compared", joined.tokens)
    for block in merged_suffixes(joined):
        repeats.feed(block)
        clusters.feed(block)
        tell(len(block[0]))
    return repeats.finish(), clusters.finish()


def write_repeats(table: pa.Table, joined: Joined, chosen: RepeatsFlags) -> None:
    """Write the table of repeats atomically, with the settings in its metadata."""
    from stillage.corpus.repeats import add_tokens
    from stillage.run.folder import write_table

    written = add_tokens(table, joined) if chosen.with_tokens else table
    about = {"min_length": str(chosen.length), "min_count": str(chosen.min_count)}
    write_table(Path(chosen.out), written, about)


def repeat_facts(
    corpus: ShardSet, table: pa.Table, similar: Similar, chosen: RepeatsFlags
) -> dict[str, Any]:
    """The numbers of the whole corpus."""
    facts: dict[str, Any] = {
        "corpus": str(corpus.folder),
        "tokens": similar.tokens,
        "documents": similar.documents,
        "length": chosen.length,
        "min_count": chosen.min_count,
        "repeats": table.num_rows,
        "repeated_tokens": similar.repeated_tokens,
        "repeated_share": similar.share,
        "repeated_documents": similar.repeated_documents,
    }
    if chosen.out:
        facts["out"] = chosen.out
    if chosen.similar:
        facts["similar"] = {
            "clusters": similar.clusters,
            "positions": similar.positions,
            "sizes": [list(pair) for pair in similar.sizes.items()],
        }
    return facts


def first_rows(table: pa.Table, order: Sequence[str], top: int) -> list[dict[str, int]]:
    """The rows with the largest values; of equals the first in the corpus.

    A row whose first occurrence overlaps that of one before it is left out: a repeat of 40 tokens
    may hold another of 39 that is as telling.
    """
    values = [-table[name].to_numpy() for name in reversed(order)]
    rows: list[dict[str, int]] = []
    for row in table.take(np.lexsort(values)[:LOOKED_AT]).to_pylist():
        if len(rows) == top:
            break
        if not any(repeats_overlap(row, other) for other in rows):
            rows.append(row)
    return rows


def repeats_overlap(row: Mapping[str, int], other: Mapping[str, int]) -> bool:
    """Whether two repeats share a token where each occurs first."""
    return row["document"] == other["document"] and (
        row["start"] < other["start"] + other["length"]
        and other["start"] < row["start"] + row["length"]
    )


def told_repeat(
    corpus: ShardSet,
    joined: Joined,
    row: Mapping[str, int],
    tokenizer: Tokenizer | None,
) -> dict[str, Any]:
    """A repeat with its first ids, some of its documents, and its text."""
    from stillage.cli.corpus_count import name_documents
    from stillage.corpus.counts import find_sequence

    first = int(joined.offsets_D[row["document"]]) + row["start"]
    part = int(np.searchsorted(joined.firsts_K, first, side="right")) - 1
    at = first - int(joined.firsts_K[part])
    ids = joined.parts[part].tokens_T[at : at + row["length"]].tolist()
    places = find_sequence(corpus, ids, PLACES)["document"].to_pylist()
    some = list(dict.fromkeys(places))[:NAMED]
    facts: dict[str, Any] = dict(row) | {"tokens": ids[:SHOWN_TOKENS]}
    facts["in"] = [named["id"] for named in name_documents(corpus, some)]
    if tokenizer is not None:
        facts["text"] = tokenizer.decode(ids[:SHOWN_TOKENS], skip_special_tokens=False)
    return facts


def repeats_in_words(facts: Mapping[str, Any]) -> list[str]:
    """List the lines of the screen: a summary, then the most telling repeats."""
    share, documents = facts["repeated_share"], facts["documents"]
    held = f"{facts['repeated_documents']:,} of {documents:,} documents"
    at_least = f"at least {facts['length']:,} tokens"
    often = f" {facts['min_count']:,} times and more" if facts["min_count"] > 2 else ""
    repeated = f"{facts['repeated_tokens']:,} tokens ({share:.2%}) in {held}"
    lines = [
        f"{facts['corpus']}: {facts['tokens']:,} tokens in {documents:,} documents",
        f"{repeated} lie in a repeat of {at_least}",
        f"{facts['repeats']:,} maximal repeats of {at_least}{often}",
    ]
    for name, title in (("longest", "the longest"), ("most_frequent", "the most frequent")):
        if facts[name]:
            lines += ["", *repeat_lines(title, facts[name])]
    if "similar" in facts:
        lines += ["", *size_lines(facts["similar"], facts["length"])]
    if "out" in facts:
        lines += ["", f"all of them: {facts['out']}"]
    return lines


def repeat_lines(title: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of repeats; below each the beginning of its text."""
    cells = [["tokens", "times", "documents", f"{title}: first at, and where else"]]
    for row in rows:
        others = row["in"][1:]
        more = row["documents"] - len(row["in"])
        place = f"{row['in'][0]}, token {row['start']:,}"
        place += f"; {', '.join(others)}" if others else ""
        place += f" and {more:,} more" if more else ""
        cells.append([f"{row[name]:,}" for name in ("length", "count", "documents")] + [place])
    lines = aligned_lines(cells)
    shown = lines[:1]
    for line, row in zip(lines[1:], rows, strict=True):
        shown.append(line)
        if "text" in row:
            more = "..." if len(row["text"]) > SHOWN or row["length"] > SHOWN_TOKENS else ""
            shown.append(f"    {json.dumps(row['text'][:SHOWN], ensure_ascii=False)}{more}")
    return shown


def size_lines(similar: Mapping[str, Any], length: int) -> list[str]:
    """How many sequences occur how often, by powers of two."""
    bins: dict[int, list[int]] = {}
    for size, clusters in similar["sizes"]:
        counted = bins.setdefault((size - 1).bit_length(), [0, 0])
        counted[0] += clusters
        counted[1] += size * clusters
    title = f"sequences of {length:,} tokens that are repeated, each shift of one by itself:"
    cells = [["times", "sequences", "positions"]]
    for power, (clusters, positions) in sorted(bins.items()):
        low, high = (1 << (power - 1)) + 1, 1 << power
        times = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        cells.append([times, f"{clusters:,}", f"{positions:,}"])
    cells.append(["all", f"{similar['clusters']:,}", f"{similar['positions']:,}"])
    return [title, *aligned_lines(cells)]
