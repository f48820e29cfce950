"""Files of target sequences: what `corpus targets` writes and a scan looks for.

A Parquet table of COLUMNS, a row a target; or JSON lines, each a list of ids, an object with
`tokens`, or one with `text`, which a tokenizer cuts; or one JSON list of such.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.corpus.lines import text_lines
from stillage.corpus.token_file import LARGEST_VOCABULARY
from stillage.errors import DataError
from stillage.run.folder import write_table
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "stillage targets 1"
REPEATED, RANDOM, GIVEN = "repeated", "random", "given"
COLUMNS = {
    "target": "int32",
    "tokens": "list<uint32>",
    "role": "string",  # repeated, random; given: from a plain list
    "bucket": "int64",  # the count that was asked for; null where none was
    "count": "int64",  # exact, in the corpus that it was drawn from; null where unknown
    "unique": "int32",  # how many different tokens
    "document": "int64",  # of one occurrence; null where unknown
    "start": "int64",  # of that occurrence, in tokens from the document's first
}
"""Column -> Arrow type."""
Encode = Callable[[str], Sequence[int]]
"""A tokenizer: a text's ids, without any that it adds, e.g.
lambda text: tokenizer.encode(text, add_special_tokens=False)."""
FORMATS = '[1, 2, 3] or {"tokens": [1, 2, 3]} on each line'
FIX = f"Give the file of `stillage corpus targets`, or JSON lines of one length: {FORMATS}."


def read_targets(
    path: Path, vocab_size: int = 0, encode: Encode | None = None
) -> tuple[Array, pa.Table]:
    """Read targets: their tokens, uint32 [N, m], and the table of COLUMNS (N rows).

    vocab_size: that of the corpus; 0: unknown. encode: cuts texts. DataError, naming the target,
    for targets of several lengths, an empty one, a text without encode, an id that is none or
    outside the vocabulary, and a file without targets.
    """
    if not path.is_file():
        raise DataError("There is no file of targets.", f"looked for: {path}", FIX)
    is_table = path.suffix == ".parquet"
    table = _read_parquet(path) if is_table else _plain_table(_lists(path), path, encode)
    lengths_N = np.diff(table["tokens"].combine_chunks().offsets.to_numpy())
    if not len(lengths_N):
        raise DataError("The file holds no targets.", str(path), FIX)
    wrong = np.flatnonzero(lengths_N != lengths_N[0])
    if len(wrong):
        first = f"target 0 has {lengths_N[0]} tokens, target {wrong[0]} has {lengths_N[wrong[0]]}"
        fix = "A scan looks for one length: cut the longer ones, or scan each length by itself."
        raise DataError("The targets are of several lengths.", f"{path}: {first}", fix)
    if not lengths_N[0]:
        raise DataError("A target is empty.", f"{path}: target 0 has no tokens", FIX)
    flat = table["tokens"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    tokens_Nm = flat.astype(np.uint32).reshape(len(lengths_N), -1)
    if vocab_size:
        rows = np.flatnonzero((tokens_Nm >= vocab_size).any(axis=1))
        if len(rows):
            largest = tokens_Nm[rows[0]].max()
            values = f"{path}: target {rows[0]} holds {largest}; vocabulary: {vocab_size}"
            fix = "Make the targets with the tokenizer of the corpus."
            raise DataError("A target has an id outside the vocabulary.", values, fix)
    return tokens_Nm, table


def target_table(rows: Mapping[str, Sequence[Any]], about: Mapping[str, object]) -> pa.Table:
    """Make a table of COLUMNS. about: what made it, kept in the file as JSON."""
    import pyarrow as pa

    kinds = {name: _arrow(kind) for name, kind in COLUMNS.items()}
    arrays = [pa.array(rows[name], kind) for name, kind in kinds.items()]
    facts = {"format": FORMAT, "made": json.dumps(about, sort_keys=True)}
    return pa.Table.from_arrays(arrays, schema=pa.schema(list(kinds.items()), metadata=facts))


def write_targets(path: Path, table: pa.Table) -> None:
    """Write a table of targets, atomically; equal ones give equal bytes."""
    write_table(path, table.replace_schema_metadata(None), table.schema.metadata)


def about_targets(table: pa.Table) -> dict[str, Any]:
    """What made a table of targets; empty for plain lists."""
    return json.loads((table.schema.metadata or {}).get(b"made", b"{}"))


def _arrow(kind: str) -> pa.DataType:
    """The Arrow type of a column."""
    import pyarrow as pa

    inner = kind.removeprefix("list<").removesuffix(">")
    return pa.type_for_alias(kind) if inner == kind else pa.list_(pa.type_for_alias(inner))


def _read_parquet(path: Path) -> pa.Table:
    """Read a table of targets. DataError where it is another table, or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        table = file.read().replace_schema_metadata(file.metadata.metadata)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError("The file of targets is damaged.", f"{path}: {error}", FIX) from error
    absent = [name for name in COLUMNS if name not in table.column_names]
    if absent:
        values = f"{path}: no column {', '.join(absent)}"
        raise DataError("The table does not hold targets.", values, FIX)
    if table["tokens"].type != _arrow(COLUMNS["tokens"]) or table["tokens"].null_count:
        values = f"{path}: tokens are {table['tokens'].type}, {table['tokens'].null_count} missing"
        raise DataError("The table does not hold targets.", values, FIX)
    if absent := table["tokens"].combine_chunks().flatten().null_count:
        values = f"{path}: {absent} ids are missing (null)"
        raise DataError("A target holds what is no id.", values, FIX)
    return table


def _lists(path: Path) -> list[object]:
    """What the file lists, not looked at yet; a list of numbers alone is one target."""
    if path.suffix == ".json":
        content = _parsed("\n".join(text_lines(path)), str(path))
        if not isinstance(content, list):
            values = f"{path}: {type(content).__name__}"
            raise DataError("The file of targets holds no list.", values, FIX)
        return [content] if content and isinstance(content[0], int) else content
    lines = enumerate(text_lines(path), start=1)
    return [_parsed(line, f"{path}, line {number}") for number, line in lines if line.strip()]


def _parsed(text: str, where: str) -> object:
    """Read JSON. DataError where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DataError("The file of targets is not JSON.", f"{where}: {why}", FIX) from error


def _plain_table(items: Sequence[object], path: Path, encode: Encode | None) -> pa.Table:
    """Make the table of plain lists, each checked."""
    lists = [
        _checked(_cut(item, f"{path}: target {number}", encode), f"{path}: target {number}")
        for number, item in enumerate(items)
    ]
    absent = [None] * len(lists)
    rows: dict[str, Sequence[Any]] = {
        "target": range(len(lists)),
        "tokens": lists,
        "role": [GIVEN] * len(lists),
        "unique": [len(set(ids)) for ids in lists],
    }
    return target_table({name: absent for name in COLUMNS} | rows, {})


def _cut(item: object, where: str, encode: Encode | None) -> object:
    """The ids of a text; anything else as it is. DataError for a text that nothing cuts."""
    text = item.get("text") if isinstance(item, dict) and "tokens" not in item else None
    if not isinstance(text, str):
        return item
    if encode is None:
        fix = f"Give --tokenizer FILE or MODEL (in Python encode); or ids: {FORMATS}."
        raise DataError("A target is a text, without a tokenizer.", f"{where}: {text[:60]!r}", fix)
    return list(encode(text))


def _checked(item: object, where: str) -> list[int]:
    """Return the ids of a listed target. DataError where they are none."""
    ids = item.get("tokens") if isinstance(item, dict) else item
    if not isinstance(ids, list):
        raise DataError("A target is no list of ids.", f"{where}: {str(item)[:60]}", FIX)
    if not ids:
        raise DataError("A target is empty.", f"{where} has no tokens", FIX)
    for place, value in enumerate(ids):
        if type(value) is not int or not 0 <= value < LARGEST_VOCABULARY:
            values = f"{where}, place {place}: {str(value)[:40]}"
            fix = f"Ids are whole numbers from 0 to {LARGEST_VOCABULARY - 1}."
            raise DataError("A target holds what is no id.", values, fix)
    return ids
