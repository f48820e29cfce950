"""Check what a plug-in defines, entry by entry."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
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


Faults = Iterator[tuple[str, str]]
"""What is wrong with an entry, and what to do; after the first, nothing more is asked."""


def refused(path: Path, what: str, why: str, fix: str) -> ConfigError:
    """Make the error for an entry that cannot be used."""
    return ConfigError(f"{what} in the plugin {path} cannot be used.", why, fix)


def check_entry(path: Path, table: str, name: str, entry: object) -> None:
    """ConfigError for the first fault of the entry of that name in a table."""
    for why, fix in FAULTS[table](name, entry):
        raise refused(path, f"{table}[{name!r}]", why, fix)


def divergence_faults(name: str, entry: Any) -> Faults:  # noqa: ANN401 - the first line looks
    """Find why it is no function of (p, q) and of settings that methods pass."""
    if not callable(entry):
        yield f"it is of type {type(entry).__name__}", "Give a function (p, q) -> d."
    try:
        takes = inspect.signature(entry)
    except ValueError as error:  # some functions written in C
        yield str(error), "Wrap it: def name(p, q): return ..."
        return
    if len(takes.parameters) < 2:
        yield f"it takes {takes}", "Give a function (p, q) -> d."
    known = sorted({setting for settings in DIVERGENCE_PARAMS.values() for setting in settings})
    strange = [setting for setting in divergence_settings(entry) if setting not in known]
    if strange:
        passed = f"settings that a method can pass on: {', '.join(known)}"
        fix = "Use one of these names (values in [0, 1]), or make it a constant of the file."
        yield f"it takes {', '.join(strange)}; {passed}", fix


def divergence_settings(divergence: Callable[..., Any]) -> tuple[str, ...]:
    """Name what a divergence takes besides p and q."""
    return tuple(inspect.signature(divergence).parameters)[2:]


def kind_faults(name: str, entry: Any, kind: type) -> Faults:  # noqa: ANN401 - so it does
    """Find whether it is of another kind than its table's, or has a name of its own."""
    if not isinstance(entry, kind):
        path = f"{kind.__module__}.{kind.__qualname__}"
        yield f"it is of type {type(entry).__name__}", f"Make it a {path}."
    elif entry.name != name:
        yield f"its own name is {entry.name!r}", "Use one name."


def params_faults(params: object) -> Faults:
    """Find whether settings are no dataclass."""
    if not (isinstance(params, type) and is_dataclass(params)):
        yield f"params is {params!r}", "Make params a frozen dataclass (the class)."


def method_faults(name: str, entry: Any) -> Faults:  # noqa: ANN401 - the first line looks
    """Find what keeps it from being a Method with settings that can be read from text."""
    yield from kind_faults(name, entry, Method)
    yield from params_faults(entry.params)
    for setting, (kind, default) in setting_fields(entry.params).items():
        readable = kind in PARSERS or typing.get_origin(kind) is typing.Literal
        if not readable or default is MISSING:
            shown = "none" if default is MISSING else default
            named = kind.__name__ if isinstance(kind, type) else kind
            fix = "Make it bool, int, float, str or a Literal of words, with a default."
            yield f"setting {setting}: type {named}, default {shown}", fix


def attack_faults(name: str, entry: Any) -> Faults:  # noqa: ANN401 - the first line looks
    """Find what keeps it from being an Attack that asks, and scores each reply."""
    yield from kind_faults(name, entry, Attack)
    queries, score = entry.queries, entry.score
    if not isinstance(queries, tuple | list) or not queries or not callable(score):
        given = f"queries: {queries}; score: {type(score).__name__}"
        yield given, "Give a tuple of queries, (Query(...),), and a score function."
    for query in queries:
        yield from query_faults(query)
    try:
        inspect.signature(score).bind(*queries)
    except TypeError as error:
        fix = "Let score take one reply for each query, in their order."
        yield f"{len(queries)} queries; score: {error}", fix


def query_faults(query: object) -> Faults:
    """Find whether nobody answers a question."""
    if not isinstance(query, Query):
        yield f"query: {query!r}", "Make it a stillage.types.Query."
        return
    values = f"query: party {query.party!r}, transform {query.transform!r}"
    parties, transforms = typing.get_args(Party), typing.get_args(Transform)
    if query.party not in parties:
        yield values, f"Ask one of: {', '.join(parties)}."
    if query.transform not in transforms:
        yield values, f"Ask for one of: {', '.join(transforms)}."
    if (query.party == "record") != (query.transform == "text"):
        yield values, "Ask the record for its text, and a model for anything else."


def measure_faults(name: str, entry: Any) -> Faults:  # noqa: ANN401 - the first line looks
    """Find what keeps it from being a Measure that a run can make and keep."""
    yield from kind_faults(name, entry, Measure)
    if name in STAGES or name.startswith(("teacher", "student")):
        yield "a stage of a run has that name", "Give it another name."
    if not callable(entry.run) or not callable(entry.tables):
        given = f"run: {type(entry.run).__name__}; tables: {type(entry.tables).__name__}"
        yield given, "Make both functions."
    for field, value in (("reads", entry.reads), ("needs", entry.needs)):
        if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
            yield f"{field}: {value!r}", "Make it a tuple of names."
    if not isinstance(entry.schema, int):
        yield f"schema: {entry.schema!r}", "Make it a whole number."
    strange = [one for one in entry.reads if one not in AuditConfig.__dataclass_fields__]
    if strange:
        yield f"reads: {', '.join(strange)}", "Name settings of `audit`, without `audit.`"
    if entry.params is not None:
        yield from params_faults(entry.params)


FAULTS: Mapping[str, Callable[[str, Any], Faults]] = {
    "DIVERGENCES": divergence_faults,
    "METHODS": method_faults,
    "ATTACKS": attack_faults,
    "MEASURES": measure_faults,
}
