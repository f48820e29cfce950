"""Whom the attacks on a model ask besides it, and what those say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from stillage.audit.control_models import ALONE, CLEAN, CLEAN_TEACHER, OUTSIDE, STUDENT, TEACHER
from stillage.audit.given import AuditModel, AuditModels, AuditSettings, as_scoring, scoring_model
from stillage.audit.queries import Material, Responses, ask, queries_for
from stillage.errors import ConfigError
from stillage.models.limits import weights_key
from stillage.types import Attack, Party

if TYPE_CHECKING:
    from stillage.audit.membership import Partners

COUNTERFACTUAL: Mapping[str, str] = {TEACHER: CLEAN_TEACHER, STUDENT: CLEAN}
"""The model that the counterfactual reference of each is."""


def ask_starts(
    models: AuditModels, attacks: Sequence[Attack], material: Material, settings: AuditSettings
) -> tuple[dict[str, Responses], dict[str, str]]:
    """Ask the weights that each training started from.

    Returns responses by the key of a start, and each model's key. Models of one start share its
    responses. A model that is not trained in this run has none.
    """
    from stillage.models.identity import model_hash

    transforms = queries_for(attacks, ("initial", "teacher_initial"))
    own = queries_for(attacks, ("initial",))
    said: dict[str, Responses] = {}
    keys: dict[str, str] = {}
    for model in models.audited if transforms else ():
        if model.load_start is None or not (own or model.name == TEACHER):
            continue
        start = model.load_start()
        keys[model.name] = key = f"start {model_hash(start)}"
        if key not in said:
            tokenizer, name = model.load_tokenizer(), f"the start of {model.name}"
            asked = as_scoring(start, tokenizer, key, name, settings)
            said[key] = ask(asked, transforms, material, settings.noise)
    return said, keys


def ask_self_prompted(
    models: AuditModels, attacks: Sequence[Attack], material: Material, settings: AuditSettings
) -> tuple[dict[str, Responses], dict[str, str]]:
    """Ask the models that were taught by texts of the audited ones.

    Returns responses by name, and audited model -> the name of the one that it taught.
    """
    transforms = queries_for(attacks, ("self_prompted",))
    said: dict[str, Responses] = {}
    for model in models.self_prompted.values() if transforms else ():
        settings.progress("audit", {"model": model.name})
        said[model.name] = ask(scoring_model(model, settings), transforms, material, settings.noise)
    return said, {
        audited: model.name for audited, model in models.self_prompted.items() if model.name in said
    }


def check_given_models(models: Sequence[AuditModel]) -> None:
    """Refuse a reference that is an audited model, and a student that is its teacher.

    ConfigError with both names.
    """
    outside = outside_name(models)
    given = {model.name: model.source.source for model in models if not model.is_trained}
    if not outside and len(given) < 2:
        return
    asked = [model for model in models if outside or model.name in given]
    keys = {model.name: weights_key(model.source) for model in asked}  # each hashes its files
    check_pair(keys, given)
    same = [
        name for name, key in keys.items() if outside not in ("", name) and key == keys[outside]
    ]
    if same:
        raise ConfigError(
            "The reference model is the audited model itself.",
            f"audit.reference: {given[outside]}, with the weights of: {', '.join(same)}",
            "Name a model that never met the members, or leave out audit.reference.",
        )


def check_pair(keys: Mapping[str, str], names: Mapping[str, str]) -> None:
    """Refuse a given teacher and student of the same weights (ConfigError).

    keys: what names the weights of each; names: what they are given as.
    """
    pair = (TEACHER, STUDENT)
    if all(name in names and name in keys for name in pair) and keys[TEACHER] == keys[STUDENT]:
        raise ConfigError(
            "The student is the teacher: both have the same weights.",
            f"teacher: {names[TEACHER]}; student: {names[STUDENT]}",
            "Give the model that was distilled as the student, or leave out --student to audit the "
            "teacher alone.",
        )


def outside_name(models: Sequence[AuditModel]) -> str:
    """Name the model that is given as audit.reference; empty where none is."""
    return next(
        (model.name for model in models if model.name in (OUTSIDE, ALONE) and not model.is_trained),
        "",
    )


def partners_of(
    names: Sequence[str],
    starts: Mapping[str, str],
    controls: Sequence[str],
    prompted: Mapping[str, str] = MappingProxyType({}),
    outside: str = "",
) -> dict[str, Partners]:
    """Return whom else the attacks on each audited model ask.

    A control is its own counterfactual, so it is not compared. The reference is the student without
    a teacher, or the model outside where there is none. starts, prompted: model -> the name of its
    start, and of the model trained on its texts. outside: see `outside_name`.
    """
    partners: dict[str, Partners] = {}
    for name in names:
        twin = name if name in controls else COUNTERFACTUAL.get(name)
        others: Mapping[Party, str | None] = {
            "reference": ALONE if ALONE in names else outside,
            "outside": outside,
            "counterfactual": twin if twin in names else None,
            "initial": starts.get(name),
            "teacher_initial": starts.get(TEACHER),
            "self_prompted": prompted.get(name),
        }
        partners[name] = {party: other for party, other in others.items() if other}
    return partners
