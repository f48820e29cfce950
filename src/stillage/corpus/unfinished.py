"""What a tokenising that was stopped leaves behind, so that it goes on there.

OUT/unfinished/plan.json says what is made of what; for each finished shard, shard-00000.json (last)
says where the next one begins, and shard-00000.bad.parquet holds the rows that were put aside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stillage.corpus.shards import MANIFEST
from stillage.corpus.token_file import read_header
from stillage.errors import ConfigError, DataError, listed
from stillage.run.folder import read_json, remove, write_json

UNFINISHED = "unfinished"
PLAN = "plan.json"
Plan = Mapping[str, Any]
"""What decides a corpus: format, tokenizer, vocab_size, settings, source_names, sources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where in the sources something begins."""

    source: int  # number of the source, from 0
    line: int  # from 1


START = Position(source=0, line=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardDone:
    """A finished shard."""

    name: str
    documents: int
    tokens: int
    empty: int  # documents without a token
    bad: int  # rows put aside
    sha256: str
    after: Position  # where the next shard begins


def shard_name(number: int) -> str:
    """The name of a shard's files, without their endings."""
    return f"shard-{number:05d}"


def write_done(out: Path, shard: ShardDone) -> None:
    """Say that a shard is finished: its files are whole."""
    write_json(out / UNFINISHED / f"{shard.name}.json", asdict(shard))


def finished_shards(out: Path) -> list[ShardDone]:
    """The shards that need not be made again: from the first to one that is not whole."""
    found: list[ShardDone] = []
    while True:
        name = shard_name(len(found))
        path = out / UNFINISHED / f"{name}.json"
        if not path.is_file():
            return found
        content = read_json(path)
        shard = ShardDone(**{**content, "after": Position(**content["after"])})
        try:
            read_header(out / f"{name}.safetensors", "The shard")
        except DataError:  # removed or cut since; it is made again
            return found
        if not (out / f"{name}.documents.parquet").is_file():
            return found
        found.append(shard)


def check_out(out: Path, sources: list[Path]) -> None:
    """Refuse a folder that cannot take a corpus; nothing is written.

    sources: the local files and folders that are read.
    """
    if out.exists() and not out.is_dir():
        fix = "Name a folder that does not exist yet."
        raise DataError("OUT is a file, and shards are a folder.", f"OUT: {out}", fix)
    place = out.resolve()
    for source in sources:
        if source.is_dir() and place.is_relative_to(source.resolve()):
            fix = "Name a folder elsewhere."
            what = "OUT lies inside a source: the shards would be read as data the next time."
            raise ConfigError(what, f"OUT: {out}; source: {source}", fix)
    held = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    is_ours = (out / UNFINISHED).is_dir() or (out / MANIFEST).is_file()
    if held and not is_ours:
        fix = "Name a folder that is empty, or does not exist yet."
        raise DataError("OUT holds other files.", f"{out} holds: {listed(held)}", fix)


def check_same(out: Path, found: Plan, plan: Plan) -> None:
    """Refuse to go on in a folder that was begun with other settings or sources."""
    if clash := plan_differences(found, plan):
        what = "OUT was begun with other settings or sources."
        fix = "Give the same again, or another OUT (or remove this one)."
        raise ConfigError(what, f"{out}: {listed(clash)}", fix)


def plan_differences(found: Plan, plan: Plan) -> list[str]:
    """What differs between two plans, in words: name: found -> asked for now."""
    old, new = flat(found), flat(plan)
    clash = [
        f"{name}: {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    orders = (found.get("source_names", []), plan["source_names"])
    if orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]):
        clash.append("the order of the sources")
    return clash


def flat(plan: Plan) -> dict[str, str]:
    """A plan's values by name; hashes shortened for the eye."""
    hashes = {f"source {name}": digest[:12] for name, digest in plan.get("sources", {}).items()}
    settings = {name: str(value) for name, value in plan.get("settings", {}).items()}
    tokenizer = {"tokenizer": plan["tokenizer"][:12] or "none"}
    about = {name: str(plan[name]) for name in ("format", "vocab_size")}
    return {**tokenizer, **about, **settings, **hashes}


def give_up(out: Path) -> None:
    """Remove what was begun where no shard is finished: nothing half-written stays."""
    if finished_shards(out):
        return
    remove(out / UNFINISHED)
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()


def remove_leftovers(out: Path) -> None:
    """Remove what writes that were killed left behind."""
    for folder in (out, out / UNFINISHED):
        for path in [*folder.glob(".tmp-*"), *folder.glob(".old-*")]:
            remove(path)
