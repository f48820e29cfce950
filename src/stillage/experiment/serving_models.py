"""Models that serve attacks alone: shadow pipelines, self-prompted ones (SPV-MIA).

A self-prompted model is taught by an audited one, from its start, on texts that it writes to public
prompts: a stage (self_prompted_student ...), trained by seqkd with the audited model as teacher.
Controls get theirs too: an attack that finds members of them finds no leak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from stillage.audit.attack_settings import attacks_of
from stillage.audit.design import SELF_PROMPTED, check_count, shadow_name
from stillage.audit.queries import queries_for
from stillage.data.tokenise import prompt_limit
from stillage.errors import ConfigError
from stillage.experiment.specs import INIT, ModelSpec
from stillage.run.audit_config import AuditConfig
from stillage.run.config import Config, TrainConfig

LESS = 5
"""The audited model is trained so many times as long: 10 epochs against 2, as published."""


def shadow_specs(specs: Sequence[ModelSpec], n_shadows: int) -> list[ModelSpec]:
    """Copy the run's teacher and student for each shadow; records and seed differ.

    specs: the run's own. Where the student does not learn from its teacher, there are shadow
    teachers alone. ConfigError for an odd number, or a teacher that is not trained here.
    """
    check_count(n_shadows)
    by_name = {spec.name: spec for spec in specs}
    teacher, student = by_name.get("teacher"), by_name.get("student")
    if not n_shadows:
        return []
    if teacher is None or not teacher.is_trained:
        raise ConfigError(
            "Shadow pipelines retrain the teacher, and this run does not train one.",
            f"audit.shadows: {n_shadows}; teacher: {'given' if teacher else 'none'}",
            "Train the teacher on private records (teacher_train.epochs), or leave out "
            "audit.shadows.",
        )
    shadows: list[ModelSpec] = []
    for number in range(1, n_shadows + 1):
        name = shadow_name("teacher", number)
        shadows.append(replace(teacher, name=name, shadow=number))
        if student is not None and "teacher" in (student.teacher, student.pruned_from):
            copy = replace(student, name=shadow_name("student", number), shadow=number)
            own = {"teacher": student.teacher and name, "pruned_from": student.pruned_from and name}
            shadows.append(replace(copy, **own))
    return shadows


def asks_self_prompted(audit: AuditConfig) -> bool:
    """Tell whether a named attack needs such a model."""
    return bool(queries_for(attacks_of(audit), ("self_prompted",)))


def self_prompted_specs(specs: Sequence[ModelSpec], config: Config) -> list[ModelSpec]:
    """Copy each audited model that is trained in this run, if an attack asks for them.

    ConfigError where data.max_tokens leaves no room for a text.
    """
    if not asks_self_prompted(config.audit):
        return []
    data = config.data
    room = data.max_tokens - prompt_limit(data.max_tokens, data.max_prompt_tokens)
    params = (("decoding", "sampling"), ("max_new_tokens", str(room)))
    return [
        replace(
            spec,
            name=f"{SELF_PROMPTED}{spec.name}",
            imitates=spec.name,
            teacher=spec.name,
            trained_on="public",
            method="seqkd",
            params=params,
            train=training_of(spec.train, config.audit.self_prompt_epochs),
        )
        for spec in specs
        if spec.train is not None and spec.name != INIT and not spec.shadow
    ]


def training_of(train: TrainConfig, epochs: float) -> TrainConfig:
    """Return the training for so many epochs (0: by LESS), without choosing weights."""
    plain = replace(train, keep="last", keep_checkpoints=0, validate_every=0.0)
    if epochs:
        return replace(plain, epochs=epochs, max_steps=0, max_trained_tokens=0)
    return replace(
        plain,
        epochs=train.epochs / LESS,
        max_steps=math.ceil(train.max_steps / LESS),
        max_trained_tokens=math.ceil(train.max_trained_tokens / LESS),
    )
