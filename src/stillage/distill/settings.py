"""A method's settings from text, checked before torch is loaded."""

from __future__ import annotations

import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, fields

from stillage.errors import ConfigError, did_you_mean
from stillage.run.ranges import ANY, BELOW_ONE, PART, SHARE, SOME, check_group
from stillage.types import DataRollout, Decoding, Method, Source, StudentRollout

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
        check_group(self, {"max_new_tokens": SOME, "sampling_temperature": ANY})
        check_group(self, {"top_p": PART, "top_k": ANY})

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

    ConfigError, naming what there is, for what is unknown, or a value that does not fit.
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


def needs_answers(method: Method, settings: Mapping[str, object]) -> bool:
    """Whether the records' own answers are trained: not where models write every text."""
    rollout = method.rollout(params_from(method, settings))
    return isinstance(rollout, DataRollout | StudentRollout)


def by_student(capacity: int) -> Source:
    """The student's new texts, or, where there is a buffer, a draw from it."""
    return "student_then_replay" if capacity else "student"


def method_named(methods: Mapping[str, Method], name: str) -> Method:
    """The method of that name; ConfigError with the nearest one otherwise."""
    if name not in methods:
        raise unknown("method", name, methods, "")
    return methods[name]


def unknown(kind: str, name: str, known: Collection[str], owner: str) -> ConfigError:
    """The error for a name that does not exist, with the nearest that does."""
    added = kind in ("method", "divergence", "attack")
    what = f"There is no {kind} {name!r}{' ' + owner if owner else ''}."
    if not known:
        return ConfigError(what, f"this {owner.removeprefix('of ')} has no {kind}", "Leave it out.")
    choose = f"Choose one of these{', or give the --plugin file that adds it' * added}."
    return ConfigError(what, f"known: {', '.join(known)}", did_you_mean(name, known, choose))


def check_divergence_settings(params: typing.Any) -> None:  # noqa: ANN401 - of any method
    """ConfigError for an unknown `params.divergence`, or what only another one reads."""
    name = params.divergence
    if name not in DIVERGENCE_PARAMS:
        raise unknown("divergence", name, DIVERGENCE_PARAMS, "")
    readers = {setting for settings in DIVERGENCE_PARAMS.values() for setting in settings}
    for entry in fields(params):
        value, setting = getattr(params, entry.name), entry.name
        if setting in readers - {*DIVERGENCE_PARAMS[name]} and value != entry.default:
            owners = [owner for owner, read in DIVERGENCE_PARAMS.items() if setting in read]
            what = f"The divergence {name} does not read {setting}."
            fix = f"Leave {setting} out, or use {' or '.join(owners)}."
            raise ConfigError(what, f"divergence = {name}, {setting} = {value}", fix)
    ranges = {name: BELOW_ONE if name == "alpha" else SHARE for name in DIVERGENCE_PARAMS[name]}
    check_group(params, ranges)


def divergence_params(params: typing.Any) -> dict[str, float]:  # noqa: ANN401 - of any method
    """The settings that the chosen divergence reads, by name."""
    return {name: float(getattr(params, name)) for name in DIVERGENCE_PARAMS[params.divergence]}


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
        what = f"The setting {name} of method {method} must be {wanted}."
        raise ConfigError(what, f"{name} = {text!r}", f"Give {wanted}.") from None
