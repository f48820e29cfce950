"""Parallel text, line by line (`x.src` and `x.tgt`), as prompts and responses."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from stillage.data.columns import record_id
from stillage.data.records import BadLine, Loaded
from stillage.errors import ConfigError, DataError
from stillage.run.folder import sha256_file
from stillage.types import Record

TEMPLATE = "Translate the following text.\n\n{src}"  # data.parallel_prompt unless told
log = logging.getLogger("stillage")


def read_parallel(
    path: str | Path,
    *,
    template: str = TEMPLATE,
    source_suffix: str = "src",
    target_suffix: str = "tgt",
    max_bad_lines: int = 0,
) -> Loaded:
    """Read `x.src` and `x.tgt` (path: either file, `x`, or a folder of such pairs): line n answers line n.

    template: the prompt, with {src} once where the source line goes (other braces stay as they are). The bare source
    line is kept in meta["src"]. A pair of blank lines is left out and counted; a line without a partner on the other
    side is a bad line. Raises DataError when a file is missing, the numbers of lines differ (naming the first line
    without partner), or there are more than max_bad_lines bad lines; ConfigError for a template without {src}.
    """
    if template.count("{src}") != 1:
        fix = 'Write it once where the source goes, e.g. "Translate to German: {src}".'
        raise ConfigError(
            "The template must hold {src} exactly once.", f"template: {template!r}", fix
        )
    records: list[Record] = []
    bad: list[BadLine] = []
    blank = 0
    files = pairs_of(Path(path), source_suffix, target_suffix)
    for source, target in files:
        for number, (left, right) in enumerate(_aligned(source, target), start=1):
            if not left.strip() and not right.strip():
                blank += 1
            elif not left.strip() or not right.strip():
                side = source if not left.strip() else target
                bad.append(
                    BadLine(file=side.name, line=number, reason="blank, but its partner is not")
                )
                if len(bad) > max_bad_lines:
                    fix = f"Mend or remove the pair; or raise max_bad_lines (now {max_bad_lines})."
                    raise DataError(
                        "A line of the parallel text has no partner.", str(bad[-1]), fix
                    )
            else:
                records.append(_record(template, left, right, f"{source.name}:{number}"))
    if not records:
        raise DataError(
            "The parallel text is empty.",
            f"{path}: {blank} pairs of blank lines",
            "Check what wrote it.",
        )
    loaded = Loaded(
        records=records,
        bad_lines=tuple(bad),
        notes={"pairs of blank lines": blank} if blank else {},
        sources={file.name: sha256_file(file) for pair in files for file in pair},
    )
    log.info("%s: %s", path, loaded.summary())
    return loaded


def endings(asked: Sequence[str]) -> tuple[str, str]:
    """The two endings of a config, without their dots. ConfigError unless they are two different ones."""
    ends = [end.removeprefix(".") for end in asked]
    if len(ends) != 2 or ends[0] == ends[1] or not all(ends):
        values = f"data.parallel: {', '.join(asked)}"
        raise ConfigError(
            "Parallel text has two endings.", values, "Give both, e.g. data.parallel: [src, tgt]."
        )
    return ends[0], ends[1]


def pairs_of(path: Path, source_suffix: str, target_suffix: str) -> list[tuple[Path, Path]]:
    """The (source, target) files that a path means, by name. Raises DataError when one of a pair is missing."""
    ends = (f".{source_suffix}", f".{target_suffix}")
    if path.is_dir():
        stems = sorted({file.with_suffix("") for file in path.iterdir() if file.suffix in ends})
    else:
        stems = [path.with_suffix("") if path.suffix in ends else path]
    found = [
        (stem.with_name(stem.name + ends[0]), stem.with_name(stem.name + ends[1])) for stem in stems
    ]
    missing = [str(file) for pair in found for file in pair if not file.is_file()]
    if missing or not found:
        values = f"missing: {', '.join(missing) or f'*{ends[0]} and *{ends[1]} in {path}'}"
        raise DataError(
            "A file of the parallel text does not exist.",
            values,
            "Give x, where x.src and x.tgt are.",
        )
    return found


def _aligned(source: Path, target: Path) -> list[tuple[str, str]]:
    """The lines of both files, side by side."""
    left, right = _lines(source), _lines(target)
    if len(left) == len(right):
        return list(zip(left, right, strict=True))
    pairs = zip_longest(left, right)
    first = next(number for number, pair in enumerate(pairs, start=1) if None in pair)
    longer = source if len(left) > len(right) else target
    values = f"{source.name}: {len(left)} lines; {target.name}: {len(right)} lines; first without partner: "
    values += f"{longer.name}, line {first}"
    raise DataError(
        "The two sides of the parallel text differ in length.", values, "Align them line by line."
    )


def _lines(file: Path) -> list[str]:
    """The lines of a file. Only a newline byte ends a line, so U+2028 inside a sentence is harmless."""
    content = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    lines = content.split(b"\n")
    lines = lines[:-1] if lines[-1] == b"" else lines
    try:
        return [line.removesuffix(b"\r").decode("utf-8") for line in lines]
    except UnicodeDecodeError as error:
        number = next(
            number
            for number, line in enumerate(lines, 1)
            if error.object == line.removesuffix(b"\r")
        )
        values = f"{file.name}, line {number}: byte 0x{error.object[error.start]:02x} at {error.start + 1}"
        raise DataError(
            "The parallel text is invalid UTF-8.", values, "Save it as UTF-8."
        ) from error


def _record(template: str, source: str, target: str, place: str) -> Record:
    """One pair as a record."""
    prompt = template.replace("{src}", source)
    name = record_id(prompt, "", target)
    return Record(id=name, prompt=prompt, response=target, source=place, meta={"src": source})
