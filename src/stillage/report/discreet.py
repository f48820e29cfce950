"""A run as a report may show it: what others wrote is hidden or searched."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from stillage.data.from_config import EMBEDDED
from stillage.report.group_names import column_values, renamed, shown_names
from stillage.report.private import NAMES_FILE, Disclosure, PrivateText, run_key, write_secret
from stillage.report.record_examples import sampled_texts
from stillage.report.redact import SAFE_PARTS, redactor
from stillage.report.run_view import STAGES, RunView
from stillage.report.wording import words
from stillage.run.config import Config
from stillage.run.flags import setting_kinds
from stillage.run.folder import json_text
from stillage.run.parse import flat_values, to_plain
from stillage.run.results import COLUMNS
from stillage.types import PARTS, Result

Keys = tuple[str, ...]
"""Where a text stands in nested JSON: the keys above it, without places in lists."""
SCHEMA = (
    "data.columns",
    "data.slice_by",
    "data.group_by",
    "audit.extract",
    "audit.attacks",
    "audit.dp_attack",
    "distill.method",
    "distill.params",
)
"""Settings that name columns, attacks, methods and parameters: known words, no private texts."""
NAMED = ("run", "dataset")
"""Texts of a result that have names of their own in a report."""
KNOWN = ("run", "stage")
"""Texts of a plug-in's result that are not searched; its metric is a name of ours."""
OURS = ("model", "metric", "attack", "dataset", "part", "method")
"""Texts of our own results that are names, wherever a plug-in writes them."""
TEXTS = tuple(name for name, kind in COLUMNS.items() if kind == "str")
TYPED = ("stop_after", "path")
"""Texts in summary.json and env.json from the configuration or command line; others are ours."""


def discreet(view: RunView, title: str) -> tuple[RunView, str]:
    """Hide what tells of private text in a view and in its title.

    Makes the run's key where there is none. What the numbers of groups stand for is written beside
    the key, in NAMES_FILE.
    """
    key = run_key(view.run)
    typed = [title, *sampled_texts(view), *brought_texts(view.results)]
    collecting = Disclosure(key=key, free=lambda text: typed.append(text) or text)
    hidden(view, collecting)  # which texts have to be searched
    sight = Disclosure(key=key, free=search_of(view, typed))
    columns = view.setting("data", "slice_by", ())
    values = column_values(view.records, columns if isinstance(columns, list) else ())
    labels = (row.dataset for row in view.results)
    names = shown_names(labels, values, sight, is_known=view.records is not None)
    if names:
        groups = {shown: label for label, shown in names.items()}
        write_secret(view.run / NAMES_FILE, json_text({"groups": groups}))
    view = replace(hidden(view, sight), results=renamed(view.results, names))
    ours = our_names(view)
    results = tuple(hidden_texts(row, sight, ours) for row in view.results)
    title = sight.free(title) if view.records is not None else title
    return replace(view, results=results), title


def search_of(view: RunView, texts: Iterable[str]) -> Callable[[str], str]:
    """Make what masks these texts; without the records all of each."""
    if view.records is None:
        return lambda text: str(PrivateText(text))
    return redactor(view.records, texts)


def our_names(view: RunView) -> set[str]:
    """List the names of our models, parts, attacks, groups; and all metrics."""
    rows = [row for row in view.results if row.stage in STAGES]
    found = {getattr(row, name) for row in rows for name in OURS} | {*view.summaries, *PARTS}
    found |= {row.metric for row in view.results}
    return {*found, *map(words, found), *map(view.called, found), "model", "members"}


def brought_texts(results: Iterable[Result]) -> list[str]:
    """List the texts in the results of plug-ins that have to be searched."""
    brought = (row for row in results if row.stage not in STAGES)
    return [getattr(row, name) for row in brought for name in TEXTS if name not in KNOWN]


def searched(view: RunView, texts: Iterable[str]) -> Callable[[str], str]:
    """Make what shows a plug-in's texts: names of ours as they are, others masked."""
    ours, search = our_names(view), search_of(view, map(str, texts))
    return lambda text: text if text in ours else view.sight.digest(search(str(text)))


def hidden(view: RunView, sight: Disclosure) -> RunView:
    """Hide what may not be shown of checks, split, training and settings."""

    def fact(keys: Keys, text: str) -> str:
        return sight.free(text) if keys[-1] in TYPED else sight.digest(text)

    def check(keys: Keys, text: str) -> str:
        return sight.id(text) if re.search(r"\bids$", keys[-1]) else sight.digest(text)

    hub = bool(view.setting("data", "revision", ""))

    def setting(keys: Keys, text: str) -> str:
        return shown_setting(".".join(keys), text, sight, from_hub=hub)

    return replace(
        view,
        sight=sight,
        validity=walked(view.validity, check),
        split=hidden_split(view.split, sight),
        summaries=walked(view.summaries, fact),
        env=walked(view.env, fact),
        config=walked(view.config, setting),
        config_text=hidden_yaml(view.config_text, setting),
        hashes={name: sight.digest(digest) for name, digest in view.hashes.items()},
    )


def hidden_texts(row: Result, sight: Disclosure, ours: Collection[str]) -> Result:
    """Replace plain hashes in a result's texts, and search those that a plug-in wrote."""
    if row.stage in STAGES:
        shown = {name: sight.digest(getattr(row, name)) for name in TEXTS if name not in NAMED}
        return replace(row, **shown)
    found = {name: getattr(row, name) for name in TEXTS if name not in KNOWN}
    shown = {name: text if text in ours else sight.free(text) for name, text in found.items()}
    return replace(row, **{name: sight.digest(text) for name, text in shown.items()})


def walked(value: Any, change: Callable[[Keys, str], str], keys: Keys = ()) -> Any:  # noqa: ANN401
    """Change every text of nested JSON that is no key, by its place."""
    if isinstance(value, str):
        return change(keys, value)
    if isinstance(value, Mapping):
        return {key: walked(entry, change, (*keys, str(key))) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [walked(entry, change, keys) for entry in value]
    return value


def hidden_split(split: Mapping[str, Any], sight: Disclosure) -> dict[str, Any]:
    """Hide broken lines, and names and hashes of files of protected records."""
    found = dict(split)
    sources = split.get("sources", {})
    number = 0
    shown: dict[str, str] = {}
    for name, digest in sorted(sources.items(), key=lambda entry: sight.keyed("file", entry[0])):
        part = next((part for part in PARTS if name.startswith(f"{part}: ")), "")
        is_made_up = sight.digest(digest) == digest  # here, or it is of the hub
        if is_made_up or part in SAFE_PARTS:
            shown[name if digest.startswith("seed ") else sight.free(name)] = digest
        else:
            number += 1
            shown[f"{part}: file {number}" if part else f"file {number}"] = sight.digest(digest)
    if sources:
        found["sources"] = shown
    if split.get("bad_lines"):
        found["bad_lines"] = f"{len(split['bad_lines'])} lines left out"
    return found


def shown_setting(path: str, text: str, sight: Disclosure, *, from_hub: bool) -> str:
    """Show what may be shown of a setting; path: "data.files.private"."""
    known, usual = settings_known()
    name = next((name for name in known if path == name or path.startswith(f"{name}.")), "")
    if name in SCHEMA or text in ("", usual.get(path)) or (name and not takes_text(known[name])):
        return text
    if path == "data.source" and text in EMBEDDED:
        return text
    part = path.removeprefix("data.files.")
    if (path == "data.source" and not from_hub) or (part != path and part not in SAFE_PARTS):
        return sight.text(PrivateText(text))
    return sight.free(text)


@cache
def settings_known() -> tuple[Mapping[str, object], Mapping[str, str]]:
    """Look up the type of every setting, and its usual value as text."""
    usual = flat_values(to_plain(Config()))
    return setting_kinds(), {path: str(value) for path, value in usual.items()}


def takes_text(kind: object) -> bool:
    """Tell whether a setting may be any text, or have such texts in it."""
    return kind in (str, Path) or any(part in (str, Path) for part in typing.get_args(kind))


def hidden_yaml(text: str, change: Callable[[Keys, str], str]) -> str:
    """Change every text of a config.yaml, without comments; empty if unreadable."""
    import yaml

    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError:
        return ""
    if not tree:
        return ""
    return yaml.safe_dump(walked(tree, change), sort_keys=False, allow_unicode=True, width=100)
