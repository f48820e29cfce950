"""A method's settings from text, checked before torch is loaded."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, fields

from stillage.errors import ConfigError, did_you_mean
from stillage.run.ranges import Range, require
from stillage.types import Decoding, Method

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
"""What each divergence of functional.divergence reads; here, so that no torch is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a model draws the texts that a method trains on: `Params.sampling`."""

    max_new_tokens: int = 256
    """Longest response, in tokens."""
    sampling_temperature: float = 1.0
    """Temperature of the model that writes; 0: greedy."""
    top_p: float = 1.0
    """Nucleus sampling; 1: off."""
    top_k: int = 0
    """Sample among the k best; 0: off."""

    def __post_init__(self) -> None:
        """ConfigError for settings that write no text."""
        check_range(self, "max_new_tokens", low=1)
        check_range(self, "sampling_temperature", low=0)
        check_range(self, "top_p", low=0, high=1, above=True)
        check_range(self, "top_k", low=0)

    @property
    def decoding(self) -> Decoding:
        """The same, for who writes."""
        return Decoding(**asdict(self))


def setting_fields(params: type) -> dict[str, tuple[typing.Any, typing.Any]]:
    """Type and default of every setting by name, `Params.sampling` spread out."""
    kinds = typing.get_type_hints(params)
    settings: dict[str, tuple[typing.Any, typing.Any]] = {}
    for entry in fields(params):
        if kinds[entry.name] is Sampling:
            settings |= setting_fields(Sampling)
        else:
            settings[entry.name] = (kinds[entry.name], entry.default)
    return settings


def params_from(method: Method, settings: Mapping[str, object]) -> object:
    """The method's Params from {"name": "text"}, and a `preset` to start from.

    ConfigError, naming what there is, for an unknown setting or preset, or a value that does not
    fit.
    """
    given = dict(settings)
    values: dict[str, object] = {}
    if "preset" in given:
        name = str(given.pop("preset"))
        if name not in method.presets:
            raise unknown("preset", name, method.presets, f"of method {method.name}")
        values.update(method.presets[name])
    known = setting_fields(method.params)
    for name, value in given.items():
        if name not in known:
            raise unknown("setting", name, [*known, "preset"], f"of method {method.name}")
        values[name] = _parsed(method.name, name, value, known[name][0])
    own = {entry.name for entry in fields(method.params)}
    if "sampling" in own:
        drawn: dict[str, typing.Any] = {name: values.pop(name) for name in {*values} - own}
        values["sampling"] = Sampling(**drawn)
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


def check_divergence_settings(params: object) -> None:
    """Refuse an unknown divergence, and a setting that only another one reads.

    Raises ConfigError.
    """
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
    """Refuse a value outside low <= value <= high, or NaN (ConfigError).

    above: low < value; below: value < high.
    """
    require(name, float(_value(params, name)), Range(low=low, high=high, above=above, below=below))


def _value(params: object, name: str) -> typing.Any:  # noqa: ANN401 - of any type
    return getattr(params, name)


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


PARSERS: dict[object, Callable[[str], object]] = {bool: _bool, int: int, float: float, str: str}
WANTED: dict[object, str] = {bool: "true or false", int: "a whole number", float: "a number"}


def _parsed(method: str, name: str, value: object, kind: object) -> object:
    """The text as the type: bool, int, float, str, or one of a Literal's words."""
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
        wanted = WANTED[kind]
        raise ConfigError(
            f"The setting {name} of method {method} must be {wanted}.",
            f"{name} = {text!r}",
            f"Give {wanted}.",
        ) from None
