"""Errors of Python calls, in Python's names: `members=` where a flag is --members."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from stillage.errors import ConfigError, UserError
from stillage.run.flags import ALIASES, setting_kinds, setting_path

Given = ParamSpec("Given")
Made = TypeVar("Made")
FLAG = re.compile(r"(?<![\w./-])--([a-z][\w-]*(?:\.[\w-]+)*)(?![\w/])( (?=[A-Z]{2}))?")
"""A flag, no part of a path, and the space before the placeholder that it takes (FILE, FOLDER)."""


def with_python_names(
    **settings: str,
) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """Have a function's errors name its arguments, and settings as a config does.

    settings: argument -> the setting that it stands for, where neither its name nor ALIASES tells.
    """

    def decorate(function: Callable[Given, Made]) -> Callable[Given, Made]:
        names = inspect.signature(function).parameters
        arguments = {"accept_changes": "run_experiment's accept_changes"}
        arguments |= {settings.get(name) or ALIASES.get(name, name): name for name in names}

        @wraps(function)
        def call(*args: Given.args, **given: Given.kwargs) -> Made:
            try:
                return function(*args, **given)
            except UserError as error:
                lines = [FLAG.sub(partial(python_name, arguments), line) for line in error.args]
                error.what, error.values, error.fix = error.args = tuple(lines)
                raise

        return call

    return decorate


def python_name(arguments: Mapping[str, str], flag: re.Match[str]) -> str:
    """Name what a flag sets: argument or setting; what is neither stays a flag."""
    name, space = flag[1].replace("-", "_"), flag[2] or ""
    argument = arguments.get(ALIASES.get(name, name))
    if argument:
        return f"{argument}="
    try:
        return setting_path(name, setting_kinds(), "") + space
    except ConfigError:
        return flag[0]
