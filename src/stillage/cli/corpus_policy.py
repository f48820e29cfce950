"""`stillage corpus policy SCAN`: try deduplication rules on the near-duplicates."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillage.cli.corpus_dedup import Rules
from stillage.cli.paths import aligned_lines
from stillage.corpus.dedup_rules import Keep, read_rules

NAMES = ("SCAN",)


@dataclass(frozen=True, kw_only=True)
class PolicyFlags:
    """What `policy SCAN` takes besides."""

    rule: Rules = ()
    """exact, ngram:N, jaccard:T[:N], as of `corpus dedup`. Several are each judged alone, on the
    corpus as it was."""
    keep: Keep = "first"
    """Which copy the rules leave: the first in document order, or none."""
    rho: str = ""
    """What a near-duplicate is worth by distance, as JSON: {"distance": [0, 0.1], "rho": [1, 0.6]},
    distances relative to the target's length. none: the published means of four models."""
    shards: str = ""
    """The corpus that was scanned, where it was moved since."""


SETTINGS = PolicyFlags


def main(paths: list[str], chosen: PolicyFlags) -> int:
    """Try rules on a finished scan."""
    rules = read_rules([text for texts in chosen.rule for text in texts])
    from stillage.cli.board import Board
    from stillage.cli.stoppable import stoppable
    from stillage.corpus.copy_worth import published_worth, read_worth
    from stillage.corpus.policy_run import FOLDER, Policy, apply_policy, scanned_corpus
    from stillage.corpus.scan_results import read_scan
    from stillage.run.stop import watch_signals

    worth = read_worth(Path(chosen.rho)) if chosen.rho else published_worth()
    scan = read_scan(Path(paths[0]))
    corpus = scanned_corpus(scan, Path(chosen.shards) if chosen.shards else None)
    policy = Policy(rules=rules, keep=chosen.keep, worth=worth)
    with watch_signals() as stop, Board() as board:
        result = apply_policy(scan, corpus, policy, stoppable(board, stop))
    print("\n".join(lines(result)))
    print(f"written: {scan.folder / FOLDER} (policy.parquet, survivors.parquet, policy.json)")
    return 0


def lines(result: Mapping[str, Any]) -> list[str]:
    """The sums as a table, and what must be known to read it."""
    from stillage.corpus.policy import TENTHS

    said = [
        f"{result['targets']:,} targets of {result['target_tokens']} tokens; keep {result['keep']}",
        f"counted: pieces up to distance {result['max_distance']} ({result['mode']} mode), exact "
        "copies and the targets' own places among them",
    ]
    if result["share_scanned"] < 1:
        said.append(
            f"counted in {100 * result['share_scanned']:.3g} % of the corpus, not scaled up"
        )
    for metric in dict.fromkeys(row["metric"] for row in result["rows"]):
        within = [f"<= {n} %" for n in TENTHS]
        table: list[tuple[str, ...]] = [
            ("rule", "reading", "0 %", *within, "all", "exact-copy equivalents")
        ]
        for row in (row for row in result["rows"] if row["metric"] == metric):
            counts = [row["exact"], *(row[f"within_{n}"] for n in TENTHS), row["near_duplicates"]]
            table.append(
                (row["rule"], row["reading"] or "-", *(f"{n:,}" for n in counts), worth(row))
            )
        said += ["", f"{metric} distance, in percent of a target's length", *aligned_lines(table)]
    return [*said, "", *notes(result)]


def worth(row: Mapping[str, Any]) -> str:
    """What the survivors are worth, with the spread over the models."""
    return f"{row['worth']:,.1f} ({row['worth_low']:,.1f} to {row['worth_high']:,.1f})"


def notes(result: Mapping[str, Any]) -> list[str]:
    """How the worth was made, and how far it may be believed."""
    rho, models = result["rho"], len(result["rho"]["rho"])
    low, high = rho["measured"]
    spread = (
        f"; the mean of {models} models, in brackets the least and the most of them: a range, no "
        "interval"
    )
    said = [
        "against the target: a near-duplicate goes where it is a duplicate of the target itself, "
        "judged within the piece found (the published what-if)",
        "in the corpus: the rule applied to all documents, what is left scanned again",
        "0 %: exact copies of a target and its own place, wherever they lie; the rule exact: "
        "documents equal to another, whole",
        f"equivalents: the sum of rho(distance / length) over what is left{spread * (models > 1)}",
        f"rho: {rho['source']}. Measured from {low:g} to {high:g}"
        f"{'; 1 at 0 by definition' * (low > 0)}"
        "; elsewhere drawn, not measured",
    ]
    most = max(row["worth_not_measured"] for row in result["rows"])
    if most > 0:
        said.append(f"of a sum, up to {most:,.1f} rests on distances where rho was not measured")
    return [line for text in said for line in textwrap.wrap(text, 100, subsequent_indent="  ")]
