"""The plan of a scan: settings, targets and shards, compared at a restart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from stillage.corpus.distance_kinds import Metric, Mode
from stillage.corpus.shards import ShardSet
from stillage.errors import ConfigError, DataError, listed
from stillage.run.folder import json_text, read_json, sha256_text
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "stillage scan 1"
SCHEMA = 1  # raised when the same settings find other rows
PLAN, TARGETS = "plan.json", "targets.parquet"
SHARD = ("name", "documents", "tokens", "sha256")
"""What a plan holds of each shard."""
ELSEWHERE = "Choose another --out, or remove that folder and start again."


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSettings:
    """Settings that decide what a scan finds. ConfigError for impossible values."""

    max_distance: int
    metric: Metric = "levenshtein"
    mode: Mode = "window"
    suppress_overlaps: bool = True
    tokens_per_part: int = 0  # 0: by the size of the corpus
    sample: float = 1.0  # share of the documents that is drawn and scanned
    seed: int = 0  # of the sample

    def __post_init__(self) -> None:
        """Check each setting."""
        kinds: Mapping[str, tuple[str, ...]] = {"metric": get_args(Metric), "mode": get_args(Mode)}
        for name, known in kinds.items():
            if getattr(self, name) not in known:
                values = f"{name}: {getattr(self, name)}"
                raise ConfigError(f"There is no such {name}.", values, f"Give {' or '.join(known)}")
        if self.max_distance < 0:
            values = f"max_distance: {self.max_distance}"
            raise ConfigError("No distance is below 0.", values, "Give 0 or more.")
        if not 0 < self.sample <= 1:
            values, fix = f"sample: {self.sample}", "Give a share above 0, up to 1."
            raise ConfigError("Such a share of the documents cannot be scanned.", values, fix)
        if self.tokens_per_part < 0:
            values = f"tokens_per_part: {self.tokens_per_part}"
            raise ConfigError("A part has a token at least.", values, "Give 1 or more; 0: by size.")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics to scan with, one after the other."""
        return ("levenshtein", "hamming") if self.metric == "both" else (self.metric,)


@dataclass(frozen=True)
class ScanPlan:
    """Everything that decides what is found; `hash` names it in every part."""

    settings: ScanSettings
    vocab_size: int
    tokenizer: str  # sha256 of its rules; "" where the ids came without one
    shards: tuple[Mapping[str, Any], ...]  # name, documents, tokens, sha256 of each
    targets: Mapping[str, Any]  # count, length, sha256
    corpus: str  # where the shards lie; no part of the hash

    @cached_property
    def decides(self) -> dict[str, Any]:
        """All but the place of the shards, as in plan.json."""
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            "settings": asdict(self.settings),
            "vocab_size": self.vocab_size,
            "tokenizer": self.tokenizer,
            "shards": [dict(shard) for shard in self.shards],
            "targets": dict(self.targets),
        }

    @cached_property
    def hash(self) -> str:
        """The sha256 of what decides."""
        return sha256_text(json_text(self.decides))

    @property
    def first_documents(self) -> list[int]:
        """The number, through all shards, of each shard's first document."""
        before = [0]
        for shard in self.shards:
            before.append(before[-1] + shard["documents"])
        return before[:-1]


def make_plan(
    corpus: ShardSet, tokens_Nm: Array, targets: pa.Table, settings: ScanSettings
) -> ScanPlan:
    """Plan a scan of a corpus. settings.tokens_per_part is above 0.

    tokens_Nm, targets: what `targets.read_targets` gives.
    """
    assert settings.tokens_per_part > 0
    return ScanPlan(
        settings=settings,
        vocab_size=corpus.vocab_size,
        tokenizer=corpus.tokenizer,
        shards=tuple({key: entry[key] for key in SHARD} for entry in corpus.manifest["shards"]),
        targets={
            "count": tokens_Nm.shape[0],
            "length": tokens_Nm.shape[1],
            "sha256": targets_hash(targets),
        },
        corpus=str(corpus.folder.resolve()),
    )


def read_plan(folder: Path) -> ScanPlan:
    """Read a scan's plan. DataError where there is none, or another version's."""
    path = folder / PLAN
    if not path.is_file():
        fix = "Give the --out of `stillage corpus scan`."
        raise DataError("The folder holds no scan.", f"looked for: {path}", fix)
    try:
        facts = read_json(path)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError("The plan of the scan is damaged.", f"{path}: {error}", ELSEWHERE) from None
    known = facts.get("format") if isinstance(facts, dict) else type(facts).__name__
    if known != FORMAT or facts.get("schema") != SCHEMA:
        values = f"{path}: format {known}; this version: {FORMAT}, schema {SCHEMA}"
        raise DataError("Another version of Stillage wrote the scan.", values, ELSEWHERE)
    try:
        plan = ScanPlan(
            settings=ScanSettings(**facts["settings"]),
            vocab_size=int(facts["vocab_size"]),
            tokenizer=str(facts["tokenizer"]),
            shards=tuple({key: one[key] for key in SHARD} for one in facts["shards"]),
            targets={key: facts["targets"][key] for key in ("count", "length", "sha256")},
            corpus=str(facts["corpus"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        values = f"{path}: {type(error).__name__}: {error}"
        raise DataError("The plan of the scan is damaged.", values, ELSEWHERE) from error
    return plan


def refuse_other_plan(found: ScanPlan, asked: ScanPlan, folder: Path) -> None:
    """Refuse to continue a scan under another plan. ConfigError lists what differs."""
    if found.hash == asked.hash:
        return
    old, new = asdict(found.settings), asdict(asked.settings)
    differs = [f"{name}: {old[name]}, now {new[name]}" for name in old if old[name] != new[name]]
    for name in ("count", "length", "sha256"):
        if found.targets[name] != asked.targets[name]:
            differs.append(f"targets ({name}): {found.targets[name]}, now {asked.targets[name]}")
            break
    names = [[(shard["name"], shard["sha256"]) for shard in plan.shards] for plan in (found, asked)]
    if names[0] != names[1]:
        changed = [name for name, _ in sorted(set(names[0]) ^ set(names[1]))]
        differs.append(f"shards: {listed(list(dict.fromkeys(changed))) or 'their order'}")
    for name in ("vocab_size", "tokenizer"):
        if found.decides[name] != asked.decides[name]:
            differs.append(f"{name}: {found.decides[name]}, now {asked.decides[name]}")
    raise ConfigError(f"{folder} holds another scan.", "; ".join(differs), ELSEWHERE)


def targets_hash(targets: pa.Table) -> str:
    """The sha256 of a table of targets, all its columns, whatever file it came from."""
    return sha256_text(json.dumps(targets.to_pydict(), sort_keys=True))


def shortest_match(settings: ScanSettings, length: int) -> int:
    """The fewest tokens that a near-duplicate of a target of so many can have."""
    return max(1, length - settings.max_distance) if settings.mode == "substring" else length
