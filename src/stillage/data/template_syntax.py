"""Whether a model's chat template parses, before a record is laid out with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, TemplateSyntaxError
from jinja2.ext import Extension

from stillage.errors import ModelError

if TYPE_CHECKING:
    from jinja2.nodes import Node
    from jinja2.parser import Parser


class Marked(Extension):
    """transformers' tag around the assistant's words: {% generation %}."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 wants it

    def parse(self, parser: Parser) -> list[Node]:
        """The statements inside the tag."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def check_template(text: str, place: object) -> None:
    """Refuse a template that does not parse (ModelError); place: its file or folder."""
    try:
        Environment(extensions=["jinja2.ext.loopcontrols", Marked]).parse(text)
    except TemplateSyntaxError as error:
        raise broken(place, error) from error


def broken(place: object, error: TemplateSyntaxError) -> ModelError:
    """The error for a template that does not parse, which no record can mend."""
    what = "The model's chat template does not parse."
    fix = "Mend the template, or lay prompts out without it: --data.template alpaca or raw."
    return ModelError(what, f"{place}, line {error.lineno}: {error.message}", fix)
