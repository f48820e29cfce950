"""Canaries: texts that a model samples, unlike each other.

They come from one stream of texts; those kept are given their roles by a random permutation
afterwards (within each bucket of perplexity), so that before training nothing tells a member from a
nonmember. The published study drew the two with seeds of their own, compared neither set with the
other, and sampled with a hidden top-k of 50 (Shilov et al. 2024, arXiv 2405.15523); buckets of
perplexity are those of copyright traps (Meeus et al. 2024, arXiv 2402.09363).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from stillage.corpus.tokenizers import rules_hash
from stillage.errors import ConfigError, DataError, listed
from stillage.mosaic.canary_choice import KeptCanary, Selection
from stillage.mosaic.canary_texts import (
    CanaryWriter,
    WrittenText,
    canary_writer,
    perplexities,
    write_candidates,
)
from stillage.mosaic.table_columns import CANARIES, table_schema
from stillage.rng import generator
from stillage.run.folder import read_table

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

    from stillage.run.mosaic_config import CanaryConfig
    from stillage.run.progress import Done
    from stillage.types import Array

Role = Literal["member", "nonmember"]
ROLES: tuple[Role, Role] = get_args(Role)


def make_canaries(
    generator: PreTrainedModel,
    generator_tokenizer: PreTrainedTokenizerFast,
    tokenizer: PreTrainedTokenizerFast,
    options: CanaryConfig,
    *,
    seed: int,
    progress: Done | None = None,
) -> pa.Table:
    """Sample canaries: a table of CANARIES, members first.

    Each role is in the order of writing. Every text begins with nothing but what the generator puts
    before a text. It is kept where all of this holds: no end of text and no special token in it; at
    least `length` tokens of `tokenizer`, cut to that many; these decode to a text that encodes to
    them again; perplexity in a bucket that is not full; Jaccard |A & B| / |A | B| of token ids <=
    max_jaccard with every other one kept. Rejected texts are counted by reason in the metadata
    "canaries" (JSON), with all settings and the numbers of the texts kept. Independent of batches.
    progress hears how many are kept.

    Raises ConfigError for settings without meaning, ModelError where the generator cannot write
    them at all, or where fewer than one text in `tries` is kept.
    """
    check_canary_options(options)
    writer = canary_writer(generator, generator_tokenizer, tokenizer, options, seed)
    selection = Selection(options=options)
    while not selection.is_full:
        first, many = selection.written, selection.to_write()
        numbers = range(first, first + many)
        candidates = write_candidates(writer, numbers, selection.telling(progress, many))
        scored = perplexities_of(writer, candidates) if options.buckets else {}
        for candidate in candidates:
            selection.take(candidate, scored.get(candidate.number))
            if selection.is_full:
                break
    chosen = assigned(selection.kept, options, seed)
    unscored = [kept.candidate for _, kept in chosen if kept.perplexity is None]
    found = perplexities_of(writer, unscored)
    about = {
        "tokenizer": rules_hash(tokenizer),
        "seed": seed,
        "length": options.length,
        "max_jaccard": options.max_jaccard,
        "buckets": list(options.buckets),
        "tries": options.tries,
        "written": selection.written,
        "rejected": dict(sorted(selection.rejected.items())),
        "texts": [kept.candidate.number for _, kept in chosen],
        "roles": "a uniform permutation" + " within each bucket" * bool(options.buckets),
        **writer.about(),
    }
    return canaries_table(chosen, found, seed, about)


def check_canary_options(options: CanaryConfig) -> None:
    """Raise ConfigError for settings under which there can be no canaries."""
    borders = options.buckets
    many = max(1, len(borders) - 1)
    limits: dict[str, tuple[str, bool]] = {
        "members": (">= 1", options.members >= 1),
        "nonmembers": (">= 1: an AUC compares the two", options.nonmembers >= 1),
        "length": (">= 2", options.length >= 2),
        "tries": (">= 1", options.tries >= 1),
        "max_jaccard": ("from 0 to 1", 0 <= options.max_jaccard <= 1),
        "buckets": (
            "two borders or more from 1 up, each larger than the one before",
            not borders or (len(borders) > 1 and is_ascending((1.0, *borders))),
        ),
        "sampling_temperature": (
            "> 0: without chance every text is the same",
            options.sampling_temperature != 0,
        ),
        "top_k": ("0 (all), or 2 and more", options.top_k != 1),
    }
    wrong = [
        f"{name} {getattr(options, name)}, wanted {wanted}"
        for name, (wanted, fine) in limits.items()
        if not fine
    ]
    wrong += [
        f"{name} {count}, wanted a multiple of {many}, the buckets"
        for name, count in (("members", options.members), ("nonmembers", options.nonmembers))
        if not wrong and count % many
    ]
    if wrong:
        what = "No canaries can be made with these settings."
        raise ConfigError(what, listed(wrong), "Change them.")


def is_ascending(borders: Sequence[float]) -> bool:
    """Tell whether each border is a finite number above the one before.

    The second may equal the first.
    """
    numbers = np.asarray(borders, np.float64)
    steps = np.diff(numbers)
    return bool(np.isfinite(numbers).all() and steps[0] >= 0 and (steps[1:] > 0).all())


def perplexities_of(writer: CanaryWriter, candidates: Sequence[WrittenText]) -> dict[int, float]:
    """Number of a text -> its perplexity, of those that may be canaries."""
    fit = [candidate for candidate in candidates if not candidate.reason]
    numbers = [candidate.number for candidate in fit]
    return dict(zip(numbers, perplexities(writer, fit), strict=True))


def assigned(
    kept: Sequence[KeptCanary], options: CanaryConfig, seed: int
) -> list[tuple[str, KeptCanary]]:
    """Give the canaries their roles by chance, each bucket by itself; members first."""
    buckets = max(1, len(options.buckets) - 1)
    order = generator(seed, "canaries", "roles").permutation(len(kept))
    members: set[int] = set()
    for bucket in range(buckets):
        mixed = [int(place) for place in order if kept[place].bucket == bucket]
        members |= set(mixed[: options.members // buckets])
    assert len(members) == options.members
    sides = [(ROLES[place not in members], one) for place, one in enumerate(kept)]
    return [(role, one) for asked in ROLES for role, one in sides if role == asked]


def canaries_table(
    chosen: Sequence[tuple[str, KeptCanary]],
    found: Mapping[int, float],
    seed: int,
    about: Mapping[str, Any],
) -> pa.Table:
    """Make the table of CANARIES, with what made it as metadata."""
    import pyarrow as pa

    rows = [
        {
            "canary": number,
            "role": role,
            "text": kept.candidate.text,
            "ids": kept.candidate.ids,
            "perplexity": found.get(kept.candidate.number, kept.perplexity),
            "bucket": kept.bucket if about["buckets"] else None,
            "seed": seed,
        }
        for number, (role, kept) in enumerate(chosen)
    ]
    facts = {"canaries": json.dumps(about, sort_keys=True)}
    return pa.Table.from_pylist(rows, schema=table_schema(CANARIES).with_metadata(facts))


def read_canaries(path: Path, tokenizer: PreTrainedTokenizerBase | None = None) -> pa.Table:
    """Read a table of CANARIES.

    With a tokenizer, only one that was made with the same rules. DataError for another file, a
    damaged one, or other rules, naming both.
    """
    import pyarrow as pa

    fix = "Give the file of `stillage mosaic canaries`."
    if not path.is_file():
        raise DataError("There is no file of canaries.", f"looked for: {path}", fix)
    try:
        table = read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError("The file of canaries is damaged.", f"{path}: {error}", fix) from error
    facts = table.schema.metadata or {}
    absent = [name for name in CANARIES if name not in table.column_names]
    if absent or b"canaries" not in facts:
        values = f"{path}: no {', '.join(absent) or 'metadata that says what made it'}"
        raise DataError("The table does not hold canaries.", values, fix)
    table = table.select(list(CANARIES)).cast(table_schema(CANARIES).with_metadata(facts))
    made_with = about_canaries(table)["tokenizer"]
    if tokenizer is not None and (own := rules_hash(tokenizer)) != made_with:
        values = f"{path}: made with {made_with}; the tokenizer given: {own}"
        fix = "Make canaries with this tokenizer: they are token sequences of one."
        raise DataError("The canaries are of another tokenizer.", values, fix)
    return table


def given_canaries(path: Path, tokenizer: PreTrainedTokenizerBase) -> pa.Table:
    """Read canaries that are to be injected as they are: numbered, members first.

    DataError as `read_canaries`, and where a role is absent or the order is another.
    """
    table = read_canaries(path, tokenizer)
    roles, numbers = table["role"].to_pylist(), table["canary"].to_pylist()
    members = roles.count(ROLES[0])
    wanted = [ROLES[0]] * members + [ROLES[1]] * (len(roles) - members)
    if not 0 < members < len(roles) or roles != wanted or numbers != list(range(len(roles))):
        values = f"{path}: {members} members of {len(roles)} canaries"
        fix = "Give the file of `stillage mosaic canaries` as it was written."
        raise DataError("The canaries are not members first, then nonmembers.", values, fix)
    return table


def about_canaries(table: pa.Table) -> dict[str, Any]:
    """What made a table of canaries: tokenizer, generator, sampling, rejections."""
    return json.loads(table.schema.metadata[b"canaries"])


def canary_ids(table: pa.Table, role: Role | None = None) -> list[Array]:
    """The ids of all canaries, or of one role, int32; in the order of the table."""
    rows = zip(table["role"].to_pylist(), table["ids"].to_pylist(), strict=True)
    return [np.asarray(ids, np.int32) for one, ids in rows if role in (None, one)]
