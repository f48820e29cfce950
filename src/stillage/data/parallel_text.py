"""Parallel text, line by line (`x.src` and `x.tgt`), as prompts and responses."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from stillage.corpus.lines import text_lines
from stillage.corpus.rows import BadLine
from stillage.data.columns import record_id
from stillage.data.records import Loaded
from stillage.errors import ConfigError, DataError
from stillage.run.folder import sha256_file
from stillage.types import Record

TEMPLATE = "Translate the following text.\n\n{src}"  # data.parallel_prompt unless told
log = logging.getLogger("stillage")


def read_parallel(
    path: str | Path,
    endings: Sequence[str] = ("src", "tgt"),
    *,
    template: str = TEMPLATE,
    max_bad_lines: int = 0,
) -> Loaded:
    """Read `x.src` and `x.tgt`, line n answering line n.

    path: either file, `x`, or a folder of such pairs. template: the prompt, with {src} once where
    the source line goes, which is also kept in meta["src"]. A pair of blank lines is left out and
    counted; a line without a partner is a bad line. Raises DataError for a missing file, files of
    different lengths, or more than max_bad_lines bad lines; ConfigError for a template without
    {src}, or for endings that make no pair.
    """
    if template.count("{src}") != 1:
        fix = 'Write it once where the source goes, e.g. "Translate to German: {src}".'
        values = f"template: {template!r}"
        raise ConfigError("The template must hold {src} exactly once.", values, fix)
    records: list[Record] = []
    bad: list[BadLine] = []
    blank = 0
    pairs = parallel_files(path, endings)
    for source, target in pairs:
        for number, (left, right) in enumerate(_aligned(source, target), start=1):
            if left.strip() and right.strip():
                prompt = template.replace("{src}", left)
                record = Record(
                    id=record_id(prompt, "", right),
                    prompt=prompt,
                    response=right,
                    source=f"{source.name}:{number}",
                    meta={"src": left},
                )
                records.append(record)
            elif not left.strip() and not right.strip():
                blank += 1
            else:
                side = target if left.strip() else source
                reason = "blank, but its partner is not"
                bad.append(BadLine(file=side.name, line=number, reason=reason))
                if len(bad) > max_bad_lines:
                    fix = f"Mend or remove the pair; or raise max_bad_lines (now {max_bad_lines})."
                    what = "A line of the parallel text has no partner."
                    raise DataError(what, str(bad[-1]), fix)
    if not records:
        values = f"{path}: {blank} pairs of blank lines"
        raise DataError("The parallel text is empty.", values, "Check what wrote it.")
    loaded = Loaded(
        records=records,
        bad_lines=tuple(bad),
        notes={"pairs of blank lines": blank} if blank else {},
        sources={file.name: sha256_file(file) for pair in pairs for file in pair},
    )
    log.info("%s: %s", path, loaded.summary())
    return loaded


def parallel_files(path: str | Path, endings: Sequence[str]) -> list[tuple[Path, Path]]:
    """The (source, target) files that a path means, by name.

    Raises ConfigError unless there are two different endings, DataError when a file is missing.
    """
    ends = [f".{end.removeprefix('.')}" for end in endings]
    if len(ends) != 2 or ends[0] == ends[1] or "." in ends:
        values = f"data.parallel: {', '.join(endings)}"
        fix = "Give both, e.g. data.parallel: [src, tgt]."
        raise ConfigError("Parallel text has two endings.", values, fix)
    path = Path(path)
    if path.is_dir():
        stems = sorted({file.with_suffix("") for file in path.iterdir() if file.suffix in ends})
    else:
        stems = [path.with_suffix("") if path.suffix in ends else path]
    pairs = [
        (stem.with_name(stem.name + ends[0]), stem.with_name(stem.name + ends[1])) for stem in stems
    ]
    missing = [str(file) for pair in pairs for file in pair if not file.is_file()]
    if missing or not pairs:
        values = f"missing: {', '.join(missing) or f'*{ends[0]} and *{ends[1]} in {path}'}"
        fix = "Give x, where x.src and x.tgt are."
        raise DataError("A file of the parallel text does not exist.", values, fix)
    return pairs


def _aligned(source: Path, target: Path) -> list[tuple[str, str]]:
    """The lines of both files, side by side."""
    left, right = list(text_lines(source)), list(text_lines(target))
    if len(left) != len(right):
        longer = source if len(left) > len(right) else target
        lengths = f"{source.name}: {len(left)} lines; {target.name}: {len(right)} lines"
        first = f"first without partner: {longer.name}, line {min(len(left), len(right)) + 1}"
        what = "The two sides of the parallel text differ in length."
        raise DataError(what, f"{lengths}; {first}", "Align them line by line.")
    return list(zip(left, right, strict=True))
