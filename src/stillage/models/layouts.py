"""How a run lays prompts out, by its settings or else by its models' folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.data.chat_templates import AUTO, own_layout, read_chat_template, template_file
from stillage.errors import ConfigError, UserError
from stillage.models.outside import tokenizer_source
from stillage.models.source import ADAPTER, base_of

if TYPE_CHECKING:
    from stillage.run.config import Config


NO_TEMPLATE = "alpaca, it has no chat template"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a model's folder says of its layout."""

    name: str  # teacher, student, tokenizer, ...
    place: str  # its folder, as it is given
    folder: Path  # where the template is: the same, or an adapter's base
    template: str  # its chat template; empty: none

    @property
    def layout(self) -> str:
        """Alpaca, raw or chat."""
        return own_layout(self.template)

    @property
    def text(self) -> str:
        """Equal for two folders iff they lay prompts out alike."""
        return self.template if self.layout == "chat" else self.layout

    def __str__(self) -> str:
        """A few words for a message."""
        said = {"chat": "a chat template of its own"}.get(self.layout, self.layout)
        return f"{self.name} {self.place}: {said if self.template else NO_TEMPLATE}"


def stated(name: str, path: str) -> Stated | None:
    """Return what a local folder, or its base, states; None for one that is not here."""
    folder = Path(path)
    if not path or not folder.is_dir():
        return None  # a hub id, perhaps not fetched yet: each model is still read by the rule
    if (folder / ADAPTER).is_file() and not (folder / "tokenizer.json").is_file():
        try:
            folder = base_of(folder)
        except UserError:
            return None  # said where it is loaded
    return Stated(name=name, place=path, folder=folder, template=read_chat_template(folder))


def layout_notes(config: Config, used: Sequence[str], *, trains: bool) -> list[str]:
    """Say before a run which layout its prompts have, and which folder says otherwise.

    used: the models that are used as they are; trains: whether others are trained. Reads a few text
    files of the models' folders, no library. ConfigError where nobody chose and the models that are
    used as they are lay prompts out differently, or where a chat template is asked for and one of
    them has none.
    """
    asked = config.data.template
    given = {"teacher": config.teacher.source, "student": config.student.source}
    found = {name: one for name, path in given.items() if (one := stated(name, path))}
    source = tokenizer_source(config)[0]
    tokenizer = (
        stated("tokenizer", source) if config.tokenizer.path else next(iter(found.values()), None)
    )
    as_they_are = [found[name] for name in used if name in found]
    readers = [*([tokenizer] if trains and tokenizer else []), *as_they_are]
    audited = "audit" in config.stages
    reference = stated("audit.reference", config.audit.reference) if audited else None
    everyone = [*readers, *([reference] if reference else [])]
    if asked in (AUTO, "chat"):
        from stillage.data.template_syntax import check_template

        for one in everyone:
            check_template(one.template, template_file(one.folder))
    if asked == AUTO:
        return by_the_folders(readers, found, reference, fetched=not source or bool(tokenizer))
    if asked == "chat":
        without = [one for one in everyone if not one.template]
        if without:
            raise ConfigError(
                "A model has no chat template, and data.template asks for it.",
                "; ".join(map(str, without)),
                "Leave out data.template, or use alpaca or raw.",
            )
        if len({one.text for one in readers}) < 2:
            return []
        notice = "warning: each model reads its own chat template, and they differ: "
        return [notice + listed_layouts(readers)]
    other = [one for one in everyone if one.template and one.layout != asked]
    notice = f"warning: prompts are laid out as {asked}, as data.template says, and not as in "
    return [notice + listed_layouts(other)] if other else []


def by_the_folders(
    readers: Sequence[Stated], found: dict[str, Stated], reference: Stated | None, *, fetched: bool
) -> list[str]:
    """Say which layout the folders of all readers come to; refuse several."""
    if len({one.text for one in readers}) > 1:
        raise ConfigError(
            "The models lay prompts out differently, and they must read the same text.",
            listed_layouts(readers),
            "Say which layout all of them read: --data.template alpaca, raw or chat (chat: each "
            "its own).",
        )
    if not readers:
        layout = "alpaca" if fetched else "the chat template of the model, else alpaca"
        return [f"layout of prompts: {layout}"]
    first = readers[0]
    why = f"as {first.place} says" if first.template else f"{first.place} has no chat template"
    notes = [f"layout of prompts: {first.layout} ({why})"]
    others = [one for one in found.values() if one.template and one.text != first.text]
    notes += [
        f"warning: {one.name} starts from {one.place}, which has another chat template"
        for one in others
    ]
    if reference is not None and reference.text != first.text:
        notes.append(f"warning: the reference reads a layout of its own: {reference}")
    return notes


def listed_layouts(models: Sequence[Stated]) -> str:
    """List the folders and what each says."""
    return "; ".join(dict.fromkeys(map(str, models)))
