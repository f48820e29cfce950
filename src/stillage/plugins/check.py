"""Check what a plug-in defines, entry by entry."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, is_dataclass
from pathlib import Path
from typing import Any

from stillage.distill.settings import DIVERGENCE_PARAMS, PARSERS, setting_fields
from stillage.errors import ConfigError
from stillage.measures.measure import Measure
from stillage.run.audit_config import AuditConfig
from stillage.types import Attack, Method, Party, Query, Transform

STAGES = (
    *("data", "tokenizer", "evaluate", "audit", "report", "cache", "shadow_design"),
    *("inputs", "aside", "store", "config", "env", "blind", "manifest", "results"),
)
"""Folders of a run that are no measure's."""


def refused(path: Path, what: str, why: str, fix: str) -> ConfigError:
    """Make the error for an entry that cannot be used."""
    return ConfigError(f"{what} in the plugin {path} cannot be used.", why, fix)


def check_divergence(path: Path, name: str, entry: object) -> None:
    """ConfigError unless it is a function of (p, q) and of settings that methods pass."""
    what = f"DIVERGENCES[{name!r}]"
    if not callable(entry):
        raise refused(
            path, what, f"it is of type {type(entry).__name__}", "Give a function (p, q) -> d."
        )
    try:
        takes = inspect.signature(entry)
    except ValueError as error:  # some functions written in C
        raise refused(path, what, str(error), "Wrap it: def name(p, q): return ...") from error
    if len(takes.parameters) < 2:
        raise refused(path, what, f"it takes {takes}", "Give a function (p, q) -> d.")
    known = sorted({setting for settings in DIVERGENCE_PARAMS.values() for setting in settings})
    strange = [setting for setting in divergence_settings(entry) if setting not in known]
    if strange:
        raise refused(
            path,
            what,
            f"it takes {', '.join(strange)}; settings that a method can pass on: "
            f"{', '.join(known)}",
            "Use one of these names (values in [0, 1]), or make it a constant of the file.",
        )


def divergence_settings(divergence: Callable[..., Any]) -> tuple[str, ...]:
    """Name what a divergence takes besides p and q."""
    return tuple(inspect.signature(divergence).parameters)[2:]


def check_method(path: Path, name: str, entry: object) -> None:
    """ConfigError unless it is that name's Method with settings readable from text."""
    what = f"METHODS[{name!r}]"
    if not isinstance(entry, Method):
        raise refused(
            path, what, f"it is of type {type(entry).__name__}", "Make it a stillage.types.Method."
        )
    if entry.name != name:
        raise refused(path, what, f"its own name is {entry.name!r}", "Use one name.")
    if not (isinstance(entry.params, type) and is_dataclass(entry.params)):
        raise refused(
            path, what, f"params is {entry.params!r}", "Make params a frozen dataclass (the class)."
        )
    for setting, (kind, default) in setting_fields(entry.params).items():
        readable = kind in PARSERS or typing.get_origin(kind) is typing.Literal
        if not readable or default is MISSING:
            shown = "none" if default is MISSING else default
            raise refused(
                path,
                what,
                f"setting {setting}: type {kind.__name__ if isinstance(kind, type) else kind}, "
                f"default {shown}",
                "Make it bool, int, float, str or a Literal of words, with a default.",
            )


def check_attack(path: Path, name: str, entry: object) -> None:
    """ConfigError unless it is an Attack of that name that asks something."""
    what = f"ATTACKS[{name!r}]"
    if not isinstance(entry, Attack):
        raise refused(
            path, what, f"it is of type {type(entry).__name__}", "Make it a stillage.types.Attack."
        )
    if entry.name != name:
        raise refused(path, what, f"its own name is {entry.name!r}", "Use one name.")
    if (
        not isinstance(entry.queries, tuple | list)
        or not entry.queries
        or not callable(entry.score)
    ):
        values = f"queries: {entry.queries}; score: {type(entry.score).__name__}"
        raise refused(
            path, what, values, "Give a tuple of queries, (Query(...),), and a score function."
        )
    for query in entry.queries:
        check_query(path, what, query)
    try:
        inspect.signature(entry.score).bind(*entry.queries)
    except TypeError as error:
        values = f"{len(entry.queries)} queries; score: {error}"
        raise refused(
            path, what, values, "Let score take one reply for each query, in their order."
        ) from error


def check_query(path: Path, what: str, query: object) -> None:
    """ConfigError for a question that nobody answers."""
    if not isinstance(query, Query):
        raise refused(path, what, f"query: {query!r}", "Make it a stillage.types.Query.")
    values = f"query: party {query.party!r}, transform {query.transform!r}"
    parties, transforms = typing.get_args(Party), typing.get_args(Transform)
    if query.party not in parties:
        raise refused(path, what, values, f"Ask one of: {', '.join(parties)}.")
    if query.transform not in transforms:
        raise refused(path, what, values, f"Ask for one of: {', '.join(transforms)}.")
    if (query.party == "record") != (query.transform == "text"):
        raise refused(
            path, what, values, "Ask the record for its text, and a model for anything else."
        )


def check_measure(path: Path, name: str, entry: object) -> None:
    """ConfigError unless it is that name's Measure with settings readable from text."""
    what = f"MEASURES[{name!r}]"
    if not isinstance(entry, Measure):
        kind = f"it is of type {type(entry).__name__}"
        raise refused(path, what, kind, "Make it a stillage.measures.measure.Measure.")
    if entry.name != name:
        raise refused(path, what, f"its own name is {entry.name!r}", "Use one name.")
    if name in STAGES or name.startswith(("teacher", "student")):
        raise refused(path, what, "a stage of a run has that name", "Give it another name.")
    if not callable(entry.run) or not callable(entry.tables):
        given = f"run: {type(entry.run).__name__}; tables: {type(entry.tables).__name__}"
        raise refused(path, what, given, "Make both functions.")
    for name_, value in (("reads", entry.reads), ("needs", entry.needs)):
        if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
            raise refused(path, what, f"{name_}: {value!r}", "Make it a tuple of names.")
    if not isinstance(entry.schema, int):
        raise refused(path, what, f"schema: {entry.schema!r}", "Make it a whole number.")
    strange = [one for one in entry.reads if one not in AuditConfig.__dataclass_fields__]
    if strange:
        raise refused(
            path, what, f"reads: {', '.join(strange)}", "Name settings of `audit`, without `audit.`"
        )
    if entry.params is not None and not (
        isinstance(entry.params, type) and is_dataclass(entry.params)
    ):
        raise refused(
            path, what, f"params is {entry.params!r}", "Make params a frozen dataclass (the class)."
        )


CHECKS: Mapping[str, Callable[[Path, str, object], None]] = {
    "DIVERGENCES": check_divergence,
    "METHODS": check_method,
    "ATTACKS": check_attack,
    "MEASURES": check_measure,
}
