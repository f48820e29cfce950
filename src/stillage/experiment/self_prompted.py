"""Models taught by an audited one: from where it started, on what it writes itself to public prompts (SPV-MIA).

Each is a stage like any other (self_prompted_student ...), trained by the method seqkd with the audited model as teacher, and
serves that model's attacks alone. Controls get theirs too: an attack that finds members of them finds no leak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stillage.audit.design import SELF_PROMPTED
from stillage.audit.draw_records import some_records
from stillage.data.tokenise import prompt_limit
from stillage.experiment.specs import INIT, ModelSpec
from stillage.run.audit_config import AuditConfig
from stillage.run.config import Config, TrainConfig
from stillage.types import Record

if TYPE_CHECKING:
    from stillage.experiment.context import Context

LESS = 5
"""The audited model is trained so many times as long: 10 epochs against 2, as published."""


def asks_self_prompted(audit: AuditConfig) -> bool:
    """Does an attack by name need such a model?"""
    from stillage.audit.attacks import ATTACKS

    chosen = [ATTACKS[name] for name in audit.attacks if name in ATTACKS]
    return any(query.party == "self_prompted" for attack in chosen for query in attack.queries)


def self_prompted_specs(specs: Sequence[ModelSpec], config: Config) -> list[ModelSpec]:
    """One for every audited model that is trained in this run; none where no attack asks for them.

    ConfigError where data.max_tokens leaves no room for a text.
    """
    if not asks_self_prompted(config.audit):
        return []
    room = config.data.max_tokens - prompt_limit(
        config.data.max_tokens, config.data.max_prompt_tokens
    )
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
    """The audited model's own training for so many epochs (0: the published share of its own), without choosing weights."""
    plain = replace(train, keep="last", keep_checkpoints=0, validate_every=0.0)
    if epochs:
        return replace(plain, epochs=epochs, max_steps=0, max_trained_tokens=0)
    return replace(
        plain,
        epochs=train.epochs / LESS,
        max_steps=math.ceil(train.max_steps / LESS),
        max_trained_tokens=math.ceil(train.max_trained_tokens / LESS),
    )


def prompts_of(context: Context, public: Sequence[Record]) -> list[Record]:
    """The public records whose prompts are answered: all, or a recorded draw of audit.self_prompt_texts."""
    most = context.config.audit.self_prompt_texts
    found = sorted(public, key=lambda record: record.id)
    return some_records(found, most, context.config.seed, "self_prompt")
