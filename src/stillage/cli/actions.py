"""Verbs of several actions, such as `stillage corpus scan ...`.

`cli/VERB_ACTION.py` does an action. It has NAMES (the places it takes), SETTINGS (the class of its
flags) and main(paths, chosen), which returns the exit code.
"""

from __future__ import annotations

import errno
import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from stillage.cli.paths import read_paths
from stillage.errors import ConfigError, DataError, did_you_mean


def actions_help(verb: str, words: list[str], actions: Mapping[str, str], usage: str) -> str:
    """Return how the actions are called, or one action and its settings.

    actions: what each takes and does. usage: text around their list, at {actions}.
    """
    if not words or words[0] not in actions:
        lines = (f"  {action:<9} {text}" for action, text in actions.items())
        return usage.format(actions="\n".join(lines))
    from stillage.cli.help import settings_help

    module = importlib.import_module(f"stillage.cli.{verb}_{words[0]}")
    call = f"usage: stillage {verb} {words[0]} {' '.join(module.NAMES)} [settings]"
    return settings_help(call, module.SETTINGS(), words)


def do_action(verb: str, words: list[str], actions: Mapping[str, str], usage: str) -> int:
    """Do one action, and return the exit code. words: what follows the verb."""
    if not words:
        print(actions_help(verb, words, actions, usage))
        return 0
    action, rest = words[0], words[1:]
    if action not in actions:
        fix = did_you_mean(action, actions, f"Choose from: {', '.join(actions)}.")
        raise ConfigError(f"There is no such action of `{verb}`.", f"given: {action}", fix)
    module = importlib.import_module(f"stillage.cli.{verb}_{action}")
    with reachable():
        return module.main(
            *read_paths(f"stillage {verb} {action}", rest, module.NAMES, module.SETTINGS)
        )


REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
WRONG_KIND = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


@contextmanager
def reachable() -> Iterator[None]:
    """Say in three lines where the system refuses a place, e.g. a read-only one."""
    try:
        yield
    except OSError as error:
        if error.errno not in (*REFUSED, *WRONG_KIND):
            raise
        values = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
        fix = "Check the path and its permissions, or name another place."
        raise DataError("A place cannot be read or written.", values, fix) from error
