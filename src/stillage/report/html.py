"""The page: every part of the report in the template, escaped; no script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillage.report.block_tables import beyond_table, blocks_table
from stillage.report.canvas import Picture
from stillage.report.cells import Table, without_dashes
from stillage.report.claims import subject
from stillage.report.exposure_table import exposure_table
from stillage.report.figure_tables import digests
from stillage.report.gain_tables import gain_words, halves_table, minimal_words
from stillage.report.group_tables import rates_table, slices_table
from stillage.report.inheritance_tables import curve_table, inheritance_table, sets_table
from stillage.report.key_numbers import key_numbers
from stillage.report.left_out_table import left_out_table
from stillage.report.memorized_table import memorized_table
from stillage.report.record_examples import exposed_table, generations, recited_table
from stillage.report.run_view import RunView
from stillage.report.section import Section, shown_sections
from stillage.report.signal_tables import divergence_table
from stillage.report.tables import (
    auc_table,
    blind_attacker_table,
    models_table,
    recital_table,
    tpr_table,
)
from stillage.report.verdict import Verdict
from stillage.report.wording import sentence, words
from stillage.report.worst_group import group_words
from stillage.run.config import ReportConfig

HERE = Path(__file__).parent
TOO_FEW = "too few records to tell"
ORDER = ("failed", TOO_FEW, "open", "passed")
"""What a check may come to: only the first and the last count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """One validity check as shown; state: one of ORDER."""

    name: str
    state: str
    detail: str


def rendered(template: str, parts: Mapping[str, Any]) -> str:
    """Fill a template of this folder, escaped; its style is allowed by its hash."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    css = (HERE / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = {"css": Markup(css), "style_hash": digest}
    return environment.get_template(template).render({**parts, **style})


def page(
    view: RunView,
    judged: Verdict,
    drawn: Mapping[str, Picture],
    options: ReportConfig,
    *,
    title: str,
    sections: Sequence[Section] = (),
) -> str:
    """Write the report as one HTML document: no script, no request, style by hash."""
    from markupsafe import Markup

    parts = {
        "title": title,
        "verdict": replace(
            judged, headline=typeset(judged.headline), detail=typeset(judged.detail)
        ),
        "halves": tuple(
            typeset(said)
            for said in (group_words(view), gain_words(view), minimal_words(view))
            if said
        ),
        "keys": tuple(replace(key, note=typeset(key.note)) for key in key_numbers(view)),
        "checks": checks(view),
        "validity": view.validity,
        "measured": {
            words(str(c.get("name", ""))): tuple(flatten(c["values"]))
            for c in _checks(view)
            if c.get("values")
        },
        "split": split_words(view),
        "figures": {name: Markup(picture.svg) for name, picture in drawn.items()},
        "data": {
            name: table and (without_dashes(table) or table)
            for name, table in digests(view, drawn).items()
        },
        "tables": tables(view, options),
        "sections": shown_sections(view, sections),
        "generations": generations(view),
        "samples_hidden": view.samples is not None
        and view.records is None
        and not options.show_text,
        "primary": words(view.primary_attack),
        "subject": view.called(subject(view)),
        "show_text": options.show_text,
        "level": f"{100 * view.level:g} %",
        **facts(view),
    }
    return rendered("report.html.j2", parts)


def typeset(text: str) -> str:
    """Print apostrophes curved, and keep a number's unit and interval on its line."""
    text = re.sub(r"\[([-\d.]+), ([-\d.]+)\]", "[\\1,\u00a0\\2]", text.replace("'", "’"))
    text = re.sub(r"\bp = (?=\d)", "p\u00a0=\u00a0", text)
    return re.sub(r"(\d) (\[|%)", "\\1\u00a0\\2", text)


def tables(view: RunView, options: ReportConfig) -> dict[str, Table | None]:
    """Make every table of the page by name; None where the run has no numbers for it."""
    first, rest = view.attacks[:1], view.attacks[1:]
    at_few = f"Members found at few false alarms, {words(view.primary_attack)} attack"
    found = {
        "models": models_table(view),
        "halves": halves_table(view),
        "auc": auc_table(view) if first else None,
        "left_out": left_out_table(view),
        "tpr": tpr_table(view, first, at_few) if first else None,
        "tpr_rest": tpr_table(view, rest, "The same for every other attack") if rest else None,
        "extraction": recital_table(view),
        "exposure": exposure_table(view),
        "inheritance": inheritance_table(view),
        "sets": sets_table(view),
        "curve": curve_table(view),
        "signal": divergence_table(view),
        "memorized": memorized_table(view),
        "slices": slices_table(view),
        "rates": rates_table(view),
        "blocks": blocks_table(view),
        "beyond": beyond_table(view),
        "recited": recited_table(view, options),
        "exposed": exposed_table(view, options),
        "blind": blind_attacker_table(view),
    }
    return {name: table and without_dashes(table) for name, table in found.items()}


def checks(view: RunView) -> tuple[CheckRow, ...]:
    """List the validity checks: failed, could not tell, open, passed."""
    found = [
        CheckRow(
            name=words(str(check.get("name", ""))),
            state=state_of(check),
            detail=str(check.get("detail", "")),
        )
        for check in _checks(view)
    ]
    return tuple(sorted(found, key=lambda check: ORDER.index(check.state)))


def state_of(check: Mapping[str, Any]) -> str:
    """Tell which of ORDER a check came to."""
    if check.get("undecided"):
        return TOO_FEW
    if check.get("says_nothing"):
        return "open"
    return "passed" if check.get("passed") else "failed"


def _checks(view: RunView) -> list[Mapping[str, Any]]:
    return [check for check in view.validity.get("checks", ()) if isinstance(check, Mapping)]


def split_words(view: RunView) -> str:
    """Say who drew the split, and which checks could not be made."""
    drawn = view.validity.get("drawn_by_us", view.split.get("drawn_by_us"))
    if drawn is None:
        return "This run folder has no record of how the split was drawn."
    said = (
        "Members and nonmembers were drawn at random from one pool by this run, and the draw is "
        "recorded."
        if drawn
        else "The split was given, not drawn by this run: that members and nonmembers differ only "
        "in having been trained on rests on whoever made the files."
    )
    if view.split.get("copies"):
        said = f"{said} {sentence(str(view.split['copies']))}"
    unchecked = [
        f"{words(name)} ({why})" for name, why in view.validity.get("unchecked", {}).items()
    ]
    return f"{said} Not checked: {'; '.join(unchecked)}." if unchecked else said


def facts(view: RunView) -> dict[str, Any]:
    """List configuration, counts, training, versions and hashes."""
    kind = "sha256" if view.sight.shows_all else "sha256 under a key of the run folder"
    groups = {
        "Split": {key: value for key, value in view.split.items() if key != "sources"},
        f"Sources ({kind})": view.split.get("sources", {}),
        "Training": view.summaries,
        "Environment": view.env,
        f"Files this report was made from ({kind})": view.hashes,
    }
    flat = {name: tuple(flatten(group)) for name, group in groups.items()}
    return {
        "config": view.config_text.strip(),
        "facts": {name: pairs for name, pairs in flat.items() if pairs},
    }


def flatten(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested JSON to (dotted path, text); of long lists only the count stays."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from flatten(entry, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and len(value) > 8:
        yield prefix, f"{len(value)} entries"
    elif isinstance(value, float):
        yield prefix, f"{value:.6g}"
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
