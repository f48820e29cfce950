"""Settings as help and reference pages show them: path, type, default, text."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import re
import textwrap
import typing
from dataclasses import dataclass

from stillage.run.config import Config
from stillage.run.flags import ALIASES


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of a dataclass, as text."""

    path: str  # dotted, e.g. data.max_tokens
    kind: str
    default: str
    text: str

    @property
    def flag(self) -> str:
        """The shortest flag that sets it."""
        short = next((name for name, path in ALIASES.items() if path == self.path), self.path)
        return "--" + short.replace("_", "-")

    @property
    def section(self) -> str:
        """The section of the help that shows it: run, data, teacher, student, ..."""
        group, dot, _ = self.path.partition(".")
        return group.removesuffix("_train") if dot else "run"

    @property
    def first_sentence(self) -> str:
        """The text up to the first full stop."""
        return re.split(r"(?<!e\.g)\. ", self.text)[0].rstrip(".")


def setting_rows(values: object, prefix: str = "") -> list[Setting]:
    """Describe every field of a dataclass in order, those of its groups included."""
    kinds = typing.get_type_hints(type(values))
    texts = field_texts(type(values))
    rows: list[Setting] = []
    for name, kind in kinds.items():
        value, path = getattr(values, name), f"{prefix}{name}"
        if dataclasses.is_dataclass(kind):
            rows += setting_rows(value, f"{path}.")
        else:
            rows.append(
                Setting(path=path, kind=kind_word(kind), default=word(value), text=texts[name])
            )
    return rows


@functools.cache
def field_texts(cls: type) -> dict[str, str]:
    """Read the string below each field of a dataclass from its source."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for entry, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name):
            texts[entry.target.id] = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                texts[entry.target.id] = " ".join(str(after.value.value).split())
    return texts


def group_texts() -> dict[str, str]:
    """Name each group of settings and say what it is, in the order of Config."""
    kinds = typing.get_type_hints(Config)
    return {
        name: str(inspect.getdoc(kind)).split("\n\n")[0].replace("\n", " ")
        for name, kind in kinds.items()
        if dataclasses.is_dataclass(kind)
    }


def kind_word(kind: object) -> str:
    """Name a setting's type by what is typed for it."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " | ".join(map(str, inner))
    if origin is dict:
        return f"NAME {kind_word(inner[1])} ..."
    if origin is tuple:
        return f"{kind_word(inner[0])} ..."
    if type(None) in inner:
        return kind_word(inner[1 - inner.index(type(None))])
    plain = {int: "N", float: "X", bool: "true | false", str: "TEXT"}
    return plain.get(kind, "PATH")  # pyright: ignore[reportArgumentType, reportCallIssue]


def word(value: object) -> str:
    """Write a default as it would be typed; none where there is nothing to type."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return " ".join(f"{key} {word(item)}" for key, item in value.items()) or "none"
    if isinstance(value, tuple):
        return " ".join(map(word, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None or value == "" else str(value).replace("\n", "\\n")
