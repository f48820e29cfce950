"""A method's settings from text, checked before torch is loaded: names, types, ranges, presets, divergences."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields

from stillage.errors import ConfigError, did_you_mean
from stillage.run.ranges import Range, require
from stillage.types import Method

DIVERGENCE_PARAMS: dict[str, tuple[str, ...]] = {
    "fkl": (),
    "rkl": (),
    "symmetric": ("reverse_weight",),
    "jsd": ("beta",),
    "tvd": (),
    "sfkl": ("alpha",),
    "srkl": ("alpha",),
    "akl": ("head_mass",),
}
"""What each divergence of stillage.functional.divergence reads; kept here so that a wrong name is refused without torch."""


def params_from(method: Method, settings: Mapping[str, object]) -> object:
    """The method's Params from {"name": "text"}; the key `preset` names settings to start from.

    ConfigError, naming what there is, for an unknown setting or preset, or a value that does not fit.
    """
    given = dict(settings)
    values: dict[str, object] = {}
    if "preset" in given:
        name = str(given.pop("preset"))
        if name not in method.presets:
            raise unknown("preset", name, method.presets, f"of method {method.name}")
        values.update(method.presets[name])
    kinds = typing.get_type_hints(method.params)
    names = [entry.name for entry in fields(method.params)]
    for name, value in given.items():
        if name not in names:
            raise unknown("setting", name, [*names, "preset"], f"of method {method.name}")
        values[name] = _parsed(method.name, name, value, kinds[name])
    return method.params(**values)


def method_named(methods: Mapping[str, Method], name: str) -> Method:
    """The method of that name; ConfigError with the nearest one otherwise."""
    if name not in methods:
        raise unknown("method", name, methods, "")
    return methods[name]


def unknown(kind: str, name: str, known: Collection[str], owner: str) -> ConfigError:
    """The error for a name that does not exist, with the nearest that does."""
    added = kind in ("method", "divergence", "attack")
    choose = (
        "Choose one of these, or give the --plugin file that adds it."
        if added
        else "Choose one of these."
    )
    return ConfigError(
        f"There is no {kind} {name!r}{' ' + owner if owner else ''}.",
        f"known: {', '.join(known)}"
        if known
        else f"this {owner.removeprefix('of ')} has no {kind}",
        did_you_mean(name, known, choose if known else "Leave it out."),
    )


def check_divergence(params: object) -> None:
    """ConfigError unless params.divergence exists and every setting of another divergence stands at its default."""
    name = str(_value(params, "divergence"))
    if name not in DIVERGENCE_PARAMS:
        raise unknown("divergence", name, DIVERGENCE_PARAMS, "")
    readers = {setting for settings in DIVERGENCE_PARAMS.values() for setting in settings}
    for entry in fields(params):  # pyright: ignore[reportArgumentType]
        is_foreign = entry.name in readers and entry.name not in DIVERGENCE_PARAMS[name]
        if is_foreign and _value(params, entry.name) != entry.default:
            owners = [
                owner for owner, settings in DIVERGENCE_PARAMS.items() if entry.name in settings
            ]
            raise ConfigError(
                f"The divergence {name} does not read {entry.name}.",
                f"divergence = {name}, {entry.name} = {_value(params, entry.name)}",
                f"Leave {entry.name} out, or use {' or '.join(owners)}.",
            )
    for setting in DIVERGENCE_PARAMS[name]:
        check_range(params, setting, low=0, high=1, below=setting == "alpha")


def check_sampling(params: object) -> None:
    """ConfigError unless max_new_tokens, sampling_temperature, top_p and top_k can write a text."""
    check_range(params, "max_new_tokens", low=1)
    check_range(params, "sampling_temperature", low=0)
    check_range(params, "top_p", low=0, high=1, above=True)
    check_range(params, "top_k", low=0)


def divergence_params(params: object) -> dict[str, float]:
    """The settings that the chosen divergence reads, by name."""
    return {
        name: float(_value(params, name))
        for name in DIVERGENCE_PARAMS[str(_value(params, "divergence"))]
    }


def check_range(
    params: object,
    name: str,
    *,
    low: float,
    high: float = math.inf,
    above: bool = False,
    below: bool = False,
) -> None:
    """ConfigError unless low <= value <= high (low < value where `above`, value < high where `below`); NaN never passes."""
    require(name, float(_value(params, name)), Range(low=low, high=high, above=above, below=below))


def _value(params: object, name: str) -> typing.Any:  # noqa: ANN401 - a field of a method's own dataclass
    return getattr(params, name)


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


PARSERS: dict[object, Callable[[str], object]] = {bool: _bool, int: int, float: float, str: str}


def _parsed(method: str, name: str, value: object, kind: object) -> object:
    """The text as the field's type: bool, int, float, str, or one of a Literal's words."""
    choices = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
    text = str(value)
    if choices:
        if text not in choices:
            raise unknown(name, text, [str(choice) for choice in choices], f"of method {method}")
        return text
    assert kind in PARSERS, (
        f"{method}.{name}: settings are bool, int, float, str or Literal words, not {kind}"
    )
    try:
        return PARSERS[kind](text)
    except ValueError:
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]  # pyright: ignore[reportArgumentType]
        raise ConfigError(
            f"The setting {name} of method {method} must be {wanted}.",
            f"{name} = {text!r}",
            f"Give {wanted}.",
        ) from None
