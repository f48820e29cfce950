"""`stillage corpus report SCAN`: write a page on a scan's near-duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import ConfigError, DataError

if TYPE_CHECKING:
    from stillage.report.corpus_view import CorpusView

NAMES = ("DIR",)


@dataclass(frozen=True, kw_only=True)
class ReportFlags:
    """What `report DIR` takes besides; DIR is the --out of `corpus scan`."""

    level: float = 0.95
    """Of all intervals."""
    tokenizer: str = ""
    """A tokenizer.json, or the model whose tokenizer made the shards (a folder or a hub id):
    decodes the targets; needs --show-text."""
    revision: str = ""
    """Commit of a hub id: 40 hexadecimal digits."""
    show_text: bool = False
    """Show the targets' texts in the page. They are pieces of the corpus."""


SETTINGS = ReportFlags


def main(paths: list[str], chosen: ReportFlags) -> int:
    """Write DIR/report.html, and its numbers into DIR/report/."""
    if not 0 < chosen.level < 1:
        values, fix = f"level: {chosen.level}", "Give a share between 0 and 1, such as 0.95."
        raise ConfigError("No interval has such a level.", values, fix)
    if bool(chosen.tokenizer) != chosen.show_text:
        given = "--tokenizer" if chosen.tokenizer else "--show-text"
        fix = "Give both to show the targets' texts, or neither."
        raise ConfigError("Texts need a tokenizer and your word.", f"given: {given} alone", fix)
    from stillage.report.corpus_page import PAGE, write_corpus_report
    from stillage.report.corpus_view import read_corpus_view

    view = read_corpus_view(Path(paths[0]), chosen.level)
    if chosen.show_text:
        view = replace(view, texts=decoded_targets(view, chosen.tokenizer, chosen.revision))
    for line in write_corpus_report(view):
        print(line)
    print(f"written: {view.scan.folder / PAGE}")
    return 0


def decoded_targets(view: CorpusView, place: str, revision: str) -> Mapping[int, str]:
    """Decode every target. DataError for another tokenizer than that of the scan."""
    from stillage.cli.corpus_tokenize import hashed_tokenizer

    (tokenizer, digest), plan = hashed_tokenizer(place, revision), view.scan.plan
    if plan.tokenizer and plan.tokenizer != digest:
        values = f"{place}: {digest[:12]}; the scan's: {plan.tokenizer[:12]}"
        fix = "Give the tokenizer that made the shards."
        raise DataError("The shards were made with another tokenizer.", values, fix)
    ids = view.scan.tokens_Nm.tolist()
    return dict(enumerate(tokenizer.decode_batch(ids, skip_special_tokens=False)))
