"""Load a user's divergences, methods, attacks and measures from --plugin's file.

The file defines ordinary dictionaries, name -> entry, like those of the package: DIVERGENCES
(functions (p, q) -> d), METHODS (types.Method), ATTACKS (types.Attack), MEASURES
(measures.Measure). While a command runs they stand beside the package's own. A config never names
such a file.
"""

from __future__ import annotations

import difflib
import hashlib
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import stillage
from stillage.audit.attacks import ATTACKS
from stillage.distill.methods import METHODS
from stillage.distill.settings import DIVERGENCE_PARAMS
from stillage.errors import ConfigError, UserError
from stillage.measures import MEASURES
from stillage.plugins.check import FAULTS, check_entry, divergence_settings, refused

TABLES = tuple(FAULTS)
PACKAGE = Path(stillage.__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """What one file adds, and the hash of the very bytes that were run."""

    path: Path
    sha256: str
    tables: Mapping[str, Mapping[str, Any]]  # DIVERGENCES, METHODS, ... -> name -> entry

    @property
    def names(self) -> tuple[str, ...]:
        """Everything it adds, by name."""
        return tuple(name for entries in self.tables.values() for name in entries)


def load(path: Path) -> Plugin:
    """Run the file as a module and check its tables; the package's are left alone.

    ConfigError, with the place, where the file is missing, is no Python, raises, or defines
    something of another type.
    """
    if not path.is_file():
        raise ConfigError(
            "There is no such plugin.", f"--plugin {path}", "Give the path of a Python file."
        )
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    tables = tables_of(path, vars(run_module(path, content, digest)))
    return Plugin(path=path.resolve(), sha256=digest, tables=tables)


def run_module(path: Path, content: bytes, digest: str) -> ModuleType:
    """Run the file as a module; dataclasses and type hints find it in sys.modules."""
    module = ModuleType(f"stillage_plugin_{path.stem}_{digest[:8]}")
    module.__file__ = str(path.resolve())
    sys.modules[module.__name__] = module
    try:
        exec(compile(content, str(path.resolve()), "exec"), vars(module))
    except SyntaxError as error:
        what = f"The plugin {path} is not valid Python: {error.msg}."
        line = f"line {error.lineno}: {(error.text or '').strip()}"
        raise ConfigError(what, line, "Mend that line.") from error
    except UserError:
        raise
    except Exception as error:  # the file is the user's: whatever it raises is theirs to mend
        what = f"The plugin {path} could not be read to its end."
        line = f"line {line_in(error, path)}: {type(error).__name__}: {error}"
        raise ConfigError(what, line, "Mend that line.") from error
    return module


def line_in(error: BaseException, path: Path) -> int:
    """The last line of the file that an error went through."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return next((one.lineno or 0 for one in frames if one.filename == str(path.resolve())), 0)


def tables_of(path: Path, defined: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the dictionaries that the file defines, checked entry by entry."""
    given = [name for name in TABLES if name in defined]
    if not given:
        near = [
            name for name in defined if difflib.get_close_matches(name, TABLES, n=1, cutoff=0.7)
        ]
        public = [name for name in defined if not name.startswith("_")]
        raise ConfigError(
            f"The plugin {path} adds nothing.",
            f"defined: {', '.join(near or public[:8]) or 'nothing'}",
            f"Define {', '.join(TABLES[:-1])} or {TABLES[-1]}: a dictionary from names to entries.",
        )
    for table in given:
        entries = defined[table]
        if not isinstance(entries, dict):
            kind = f"it is of type {type(entries).__name__}"
            raise refused(path, table, kind, "Make it a dictionary: {name: entry}.")
        for name, entry in entries.items():
            if not isinstance(name, str) or not name.replace("-", "_").isidentifier():
                what, fix = f"{table}[{name!r}]", "Use letters, digits and underscores."
                raise refused(path, what, "the key is no name", fix)
            check_entry(path, table, name, entry)
    return {table: dict(defined[table]) for table in given}


@contextmanager
def beside(table: dict[str, Any], new: Mapping[str, Any], path: Path, kind: str) -> Iterator[None]:
    """Put entries into a table while the body runs; ConfigError for a known name."""
    for name in new:
        if name in table:
            what, values = (
                f"The {kind} {name!r} exists already.",
                f"defined again in the plugin {path}",
            )
            raise ConfigError(what, values, "Give it another name.")
    table.update(new)
    try:
        yield
    finally:
        for name in new:
            del table[name]


@contextmanager
def plugged_in(plugin: Plugin) -> Iterator[None]:
    """Let all that a plugin adds be named like the package's own while the body runs."""
    ours: dict[str, dict[str, Any]] = {"METHODS": METHODS, "ATTACKS": ATTACKS, "MEASURES": MEASURES}
    with ExitStack() as stack:
        if new := plugin.tables.get("DIVERGENCES"):
            # loads torch, as the plugin's functions do
            from stillage.functional.divergence import DIVERGENCES

            read = {name: divergence_settings(entry) for name, entry in new.items()}
            stack.enter_context(beside(DIVERGENCE_PARAMS, read, plugin.path, "divergence"))
            ours["DIVERGENCES"] = DIVERGENCES
        for name, new in plugin.tables.items():
            kind = name.lower().removesuffix("s")
            stack.enter_context(beside(ours[name], new, plugin.path, kind))
        yield


@contextmanager
def plugged(paths: Sequence[Path]) -> Iterator[tuple[Plugin, ...]]:
    """Load the files, and let what they add be named while the body runs.

    ConfigError as `load`, for a name that exists, and for an error that a plugin's own code raises
    later on.
    """
    with ExitStack() as stack:
        plugins = []
        for path in paths:
            plugins.append(load(path))
            stack.enter_context(plugged_in(plugins[-1]))
        try:
            yield tuple(plugins)
        except UserError:
            raise
        except Exception as error:
            ours = [
                frame
                for frame in traceback.extract_tb(error.__traceback__)
                if Path(frame.filename).is_relative_to(PACKAGE)
                or Path(frame.filename) in [p.path for p in plugins]
            ]
            if not plugins or not ours or Path(ours[-1].filename).is_relative_to(PACKAGE):
                raise
            raise ConfigError(
                f"The plugin {ours[-1].filename} failed.",
                f"line {ours[-1].lineno}, {ours[-1].name}: {type(error).__name__}: {error}",
                "Mend it; --debug shows the whole traceback.",
            ) from error


def deciding(plugins: Sequence[Plugin], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return {"plugins": {file name: sha256}} for a stage that uses one of the names.

    {} where none is a plugin's; else all plugins, since one may use what another defines.
    """
    if not any(name in plugin.names for plugin in plugins for name in names):
        return {}
    files: dict[str, str] = {}
    for plugin in sorted(plugins, key=lambda one: (one.path.name, one.sha256)):
        files[plugin.path.name] = f"{files.get(plugin.path.name, '')} {plugin.sha256}".strip()
    return {"plugins": files}
