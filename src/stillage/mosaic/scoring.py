"""Scores of canaries by any attack of the audit, on exactly the injected tokens."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.audit.attack_settings import attacks_of
from stillage.audit.attacks import ATTACKS, FITTED_ATTACKS, SHADOW_ATTACKS
from stillage.audit.membership import ABSENT, Audited, score_table
from stillage.audit.prefix import draw_prefixes
from stillage.audit.queries import Material, Responses, ScoringModel, ask, queries_for
from stillage.errors import ConfigError, did_you_mean
from stillage.mosaic.canary_reading import (
    ModelReader,
    canary_encoder,
    canary_names,
    canary_records,
    members,
)
from stillage.mosaic.table_columns import SCORES, table_schema
from stillage.run.audit_config import AuditConfig
from stillage.types import Attack, Noise, Party, Record, Transform

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.models.masked import Masked

PREFIXES: frozenset[Transform] = frozenset(("nonmember_prefix", "member_prefix"))
NO_TRAINING: Mapping[Party, str] = {
    "counterfactual": "a condition has no counterfactual: its curve is what it is compared with",
    "self_prompted": "no model is trained on the texts of a condition's model",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSettings:
    """What the attacks ask with, besides the models."""

    audit: AuditConfig = field(default_factory=AuditConfig)
    """Settings of the attacks (min_k_fraction, mope_copies, ...) and batch_tokens."""
    seed: int = 0
    masked: Masked | None = None  # writes neighbours
    public: tuple[str, ...] = ()  # texts without canaries, in which dc_pdd counts tokens
    cache: Path | None = None
    """Folder where neighbours, and what models other than the target say, are kept by content: all
    conditions of a run ask the same reference."""

    @property
    def lacking(self) -> set[Transform]:
        """What cannot be asked for want of something."""
        return {
            *({"neighbours"} if self.masked is None else ()),
            *({"frequency"} if not self.public else ()),
        }


def check_attacks(
    names: Sequence[str], parties: Collection[Party], lacking: Collection[Transform] = ()
) -> None:
    """Refuse attacks that cannot score canaries, each by its name; loads no torch.

    parties: whom the attacks may ask besides the target. lacking: of neighbours and frequency, what
    there is nothing for. ConfigError for the first attack that is unknown, or cannot be had here.
    """
    for name in names:
        if why := canary_obstacle(name, parties, lacking):
            fix = "Leave it out of mosaic.attacks."
            raise ConfigError(f"The attack {name} cannot score canaries.", why, fix)
    if not names:
        what = "There is no attack to score the canaries by."
        raise ConfigError(what, "mosaic.attacks: none", "Name one, e.g. loss.")


def canary_obstacle(name: str, parties: Collection[Party], lacking: Collection[Transform]) -> str:
    """Say why an attack cannot score canaries; empty where it can."""
    if name in SHADOW_ATTACKS:
        return "it needs shadow models; a condition is trained once"
    if name in FITTED_ATTACKS:
        return "it learns from records whose membership it knows"
    if name not in ATTACKS:
        raise ConfigError(
            f"There is no attack {name!r}.",
            f"known: {', '.join(ATTACKS)}",
            did_you_mean(name, ATTACKS, "Choose one of these."),
        )
    for query in ATTACKS[name].queries:
        if query.party not in ("target", "record", *parties):
            return NO_TRAINING.get(query.party, ABSENT.get(query.party, query.party))
        if query.transform == "needed":
            return "a canary has no needed part"
        if query.transform in lacking:
            what = {"neighbours": "no masked model", "frequency": "no text without canaries"}
            return f"there is {what[query.transform]} here"
    return ""


def score_canaries(
    target: ModelReader,
    canaries: pa.Table,
    names: Sequence[str],
    settings: ScoreSettings,
    others: Mapping[Party, ModelReader],
) -> pa.Table:
    """Score every canary by attacks of the audit, as rows of SCORES.

    Higher = more likely a member. The target reads exactly the ids of the table; its first token is
    not scored, and there is no BOS or EOS (`canary_reading`). others: whom else the attacks may
    ask, e.g. reference (also as outside) and initial; one with the target's tokenizer reads the
    same ids, any other the text. Canaries that an attack gives away as prefix have no score by it
    (null), nor where it cannot say. ConfigError as `check_attacks`.
    """
    check_attacks(names, list(others), settings.lacking)
    attacks = attacks_of(replace(settings.audit, attacks=tuple(names)))
    return scores_of(target, canaries, attacks, settings, others)


def scores_of(
    target: ModelReader,
    canaries: pa.Table,
    attacks: Sequence[Attack],
    settings: ScoreSettings,
    others: Mapping[Party, ModelReader],
    *,
    spans: bool = True,
) -> pa.Table:
    """Score every canary by some attacks; spans: see `canary_reading.canary_encoder`."""
    records = canary_records(canaries)
    parts = tuple("private" if inside else "nonmembers" for inside in members(canaries))
    groups = ("",) * len(records)
    asked = queries_for(attacks, ("target", *others))
    material, given = gather_asked(records, parts, asked, settings)
    readers: dict[Party, ModelReader] = {"target": target, **others}
    said: dict[str, Responses] = {}
    for party, reader in readers.items():
        transforms = queries_for(attacks, (party,))
        if transforms:
            model = asked_model(reader, target, canaries, settings, spans=spans)
            said[party] = ask(model, transforms, material, noise_of(settings))
    audited = Audited(
        ids=tuple(canary_names(canaries)),
        parts=parts,
        texts=tuple(record.response for record in records),
        groups=groups,
    )
    partners: dict[Party, str] = {party: party for party in others if party in said}
    found, left_out = score_table(audited, said, attacks, {"target": partners})
    for one in left_out:
        what = f"The attack {one.attack} cannot score these canaries."
        raise ConfigError(what, one.why, "Leave it out of mosaic.attacks.")
    away = {
        attack.name: {name for query in attack.queries for name in given.get(query.transform, ())}
        for attack in attacks
    }
    return as_scores(found, canaries, away)


def as_scores(found: pa.Table, canaries: pa.Table, away: Mapping[str, Collection[str]]) -> pa.Table:
    """Rows of an audit's scores as rows of SCORES; null where there is none.

    away: attack -> record ids of the canaries that it gave away.
    """
    import pyarrow as pa

    rows = {
        name: row for name, row in zip(canary_names(canaries), canaries.to_pylist(), strict=True)
    }
    scores = [
        {
            "canary": rows[one["id"]]["canary"],
            "role": rows[one["id"]]["role"],
            "attack": one["attack"],
            "score": None
            if math.isnan(one["score"]) or one["id"] in away[one["attack"]]
            else one["score"],
        }
        for one in found.to_pylist()
    ]
    return pa.Table.from_pylist(scores, table_schema(SCORES))


def gather_asked(
    records: Sequence[Record],
    parts: Sequence[str],
    asked: Collection[Transform],
    settings: ScoreSettings,
) -> tuple[Material, Mapping[Transform, set[str]]]:
    """Gather what the attacks ask with, and the ids of canaries given away for it."""
    from stillage.audit.neighbours import neighbours, swaps_of

    audit = settings.audit
    near: list[tuple[str, ...]] = []
    if "neighbours" in asked and settings.masked is not None:
        near = neighbours(
            settings.masked,
            records,
            swaps_of(audit, settings.seed),
            cache=settings.cache,
            batch_tokens=audit.batch_tokens,
        )
    prefixes = draw_prefixes(
        records,
        parts,
        [""] * len(records),
        nonmembers=audit.prefix_records if PREFIXES & {*asked} else 0,
        members=audit.prefix_records if "member_prefix" in asked else 0,
        seed=settings.seed,
    )
    material = Material(
        records=tuple(records),
        neighbours=tuple(near),
        nonmembers=prefixes.nonmembers,
        members=prefixes.members,
        public=tuple(
            Record(id=f"public-{number}", prompt="", response=text)
            for number, text in enumerate(settings.public)
        ),
    )
    return material, {
        "nonmember_prefix": {record.id for record in prefixes.nonmembers},
        "member_prefix": {record.id for record in prefixes.members},
    }


def asked_model(
    reader: ModelReader,
    target: ModelReader,
    canaries: pa.Table,
    settings: ScoreSettings,
    *,
    spans: bool,
) -> ScoringModel:
    """Prepare a model to be asked: by the canaries' ids where its tokenizer is theirs."""
    from stillage.corpus.tokenizers import rules_hash
    from stillage.models.identity import model_hash

    cache = None if reader is target else settings.cache
    same = rules_hash(reader.tokenizer) == rules_hash(target.tokenizer)
    return ScoringModel(
        model=reader.model,
        tokenizer=reader.tokenizer,
        encode=canary_encoder(canaries if same else None, reader.tokenizer, spans=spans),
        key="" if cache is None else model_hash(reader.model),
        cache=cache,
        batch_tokens=settings.audit.batch_tokens,
    )


def noise_of(settings: ScoreSettings) -> Noise:
    """The noise that MoPe puts on the weights."""
    return Noise(
        sigma=settings.audit.mope_sigma,
        copies=settings.audit.mope_copies,
        relative=settings.audit.mope_noise == "relative",
        seed=settings.seed,
    )
