"""One model on every (data set, decoding, seed): each cell is written once, never overwritten, and skipped when it is there.

Below `out`: cells/MODEL/SET-KEY/gold.parquet (loss of the references), cells/MODEL/SET-KEY/DECODING-KEY/seed-10.parquet
(the texts) and beside each its results; MODEL and the KEYs are hashes of all that decides the content (`cells`).
results.parquet is the view of every cell below, of all models and runs, but for those that were superseded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.errors import ConfigError
from stillage.evaluate.cells import (
    SUPERSEDED,
    Asked,
    Reading,
    Subject,
    digest,
    groups_among,
    groups_in,
    kept,
    read_set,
    set_folder,
    with_reference,
    write_once,
)
from stillage.evaluate.datasets import EvalSet
from stillage.evaluate.metric_ranges import RANGES, within_range
from stillage.evaluate.quality import (
    clusters_of,
    ratio_interval,
    references_of,
    sample_rows,
    samples_schema,
    text_results,
)
from stillage.functional.means import mean_interval, share_interval
from stillage.run.folder import read_table, write_table
from stillage.run.lock import locked
from stillage.run.progress import Doing, unheard
from stillage.run.results import read_results, write_results
from stillage.types import Array, Record, Result

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.models.generate import Decoding

log = logging.getLogger("stillage")
SAMPLING = {"sampling_temperature": 1.0, "top_p": 1.0, "top_k": 0}
DECODINGS: Mapping[str, Mapping[str, float]] = {
    "paper": SAMPLING,
    "as_released": {**SAMPLING, "no_repeat_ngram": 6},
    "greedy": {"sampling_temperature": 0.0},
    "greedy_no_repeat": {"sampling_temperature": 0.0, "no_repeat_ngram": 6},
}
"""How text is written, by name. MiniLLM and DistiLLM sample at temperature 1 from the whole vocabulary ("paper"); their
released evaluation also never writes a 6-gram twice, the prompt's included ("as_released")."""
PER_RECORD = {
    "rouge_l": "rouge_l",
    "rouge_l_published": "rouge_l_published",
    "exact_match": "exact_match",
    "generated_tokens": "tokens",
}
"""Metrics that are means over records -> their column in a cell."""


def decoding_of(name: str, max_new_tokens: int = 256) -> Decoding:
    """A decoding of DECODINGS. Raises ConfigError for an unknown name, or an answer of no tokens."""
    if name not in DECODINGS:
        raise ConfigError(
            f"There is no decoding {name!r}.",
            f"known: {', '.join(DECODINGS)}",
            "Choose one of these.",
        )
    from stillage.models.generate import Decoding, check_decoding

    decoding = Decoding(max_new_tokens=max_new_tokens, **DECODINGS[name])  # pyright: ignore[reportArgumentType]
    check_decoding(decoding)
    return decoding


def run_matrix(
    subject: Subject,
    sets: Sequence[EvalSet],
    decodings: Mapping[str, Decoding],
    seeds: Sequence[int],
    *,
    reading: Reading,
    out: Path,
    batch_tokens: int = 16384,
    say: Callable[[str], None] = log.info,
    doing: Doing = unheard,
) -> list[Result]:
    """Fill the missing cells; the results of the cells asked for, and their means, in the order of the arguments.

    A greedy decoding has one cell, of seed 0: seeds change nothing in it. Raises ConfigError without data sets, decodings
    or seeds, CheckpointError for a finished cell that is damaged.
    """
    if not (sets and decodings and seeds):
        values = f"data sets: {len(sets)}; decodings: {len(decodings)}; seeds: {len(seeds)}"
        raise ConfigError("There is nothing to evaluate.", values, "Give at least one of each.")
    results: list[Result] = []
    for chosen in sets:
        asked = read_set(subject, chosen, reading)
        folder = set_folder(out, subject, asked, say)
        base = Result(
            run=subject.key,
            stage="matrix",
            model=subject.name,
            metric="",
            value=float("nan"),
            dataset=f"{chosen.label}#{folder.name[-16:-8]}",
        )
        results += gold_loss(subject, asked, folder, base, batch_tokens, doing)
        for name, decoding in decodings.items():
            cells = folder / f"{name}-{digest(asdict(decoding))[:8]}"
            write_once(cells / "decoding.json", asdict(decoding))
            own_seeds = list(dict.fromkeys(seeds)) if decoding.sampling_temperature > 0 else [0]
            for seed in own_seeds:
                row = replace(base, seed=seed, decoding=cells.name)
                done = fill(subject, asked, decoding, cells, row, batch_tokens, doing)
                say(f"{chosen.label} {name} seed {seed}: {'written' if done else 'found'}")
            results += pooled(cells, own_seeds)
        collect(out)
    return results


def write_first(path: Path, table: pa.Table) -> None:
    """Write a table, unless another process has by now: results are measured on the table that lies there."""
    out = next(folder.parent for folder in path.parents if folder.name == "cells")
    with locked(out, wait=True):
        if not path.exists():
            write_table(path, table)


def cell_files(cells: Path, seed: int) -> tuple[Path, Path]:
    """The texts of a cell, and its results."""
    return cells / f"seed-{seed}.parquet", cells / f"seed-{seed}.results.parquet"


def fill(
    subject: Subject,
    asked: Asked,
    decoding: Decoding,
    cells: Path,
    base: Result,
    batch_tokens: int,
    doing: Doing = unheard,
) -> bool:
    """Make one cell if it is not there: answer every record, then measure. True when something was written."""
    import pyarrow as pa

    texts_file, results_file = cell_files(cells, base.seed)
    if texts_file.exists() and results_file.exists():
        return False
    if not texts_file.exists():
        rows = answer(subject, asked, decoding, base.seed, batch_tokens, doing)
        write_first(texts_file, pa.Table.from_pylist(rows, schema=samples_schema()))
    samples = kept(texts_file, read_table)
    results = [
        replace(row, dataset=base.dataset) for row in measure(samples, asked.chosen.records, base)
    ]
    write_results(results_file, results)
    return True


def answer(
    subject: Subject, asked: Asked, decoding: Decoding, seed: int, batch_tokens: int, doing: Doing
) -> list[dict[str, Any]]:
    """The model's answers as rows of a samples table, in the order of the records; no score where there is no reference."""
    from stillage.models.generate import generate
    from stillage.models.prompts import Prompts, TextRules

    records = asked.chosen.records
    ids = generate(
        subject.model,
        Prompts(asked.prompts, [record.id for record in records], seed),
        decoding,
        TextRules(subject.eos_id, subject.pad_id),
        batch_tokens=batch_tokens,
        progress=doing(f"{asked.chosen.label}, seed {seed}, answering {{}} prompts"),
    )
    decode = subject.tokenizer.decode
    texts = [str(decode(row.tolist(), skip_special_tokens=True)).strip() for row in ids]
    finished = [bool(len(row)) and int(row[-1]) == subject.eos_id for row in ids]
    rows: list[dict[str, Any]] = [
        {
            "model": subject.name,
            "id": record.id,
            "prompt": record.prompt,
            "text": text,
            "tokens": len(new),
            "finished": done,
        }
        for record, text, new, done in zip(records, texts, ids, finished, strict=True)
    ]
    known = [k for k, record in enumerate(records) if references_of(record)]
    scored = sample_rows(
        subject.name,
        [records[k] for k in known],
        [texts[k] for k in known],
        [len(ids[k]) for k in known],
        [finished[k] for k in known],
    )
    for k, row in zip(known, scored, strict=True):
        rows[k] = row
    return rows


def measure(samples: pa.Table, records: Sequence[Record], base: Result) -> list[Result]:
    """The metrics of one cell, each with its interval over records; records without a reference count for length only."""
    scored = samples.filter(samples["rouge_l"].is_valid())
    references = [found for record in records if (found := references_of(record))]
    results = []
    if scored.num_rows:
        results = text_results(
            scored,
            level=base.level,
            base=base,
            references=references,
            group_of=groups_among(records),
        )
    if scored.num_rows < samples.num_rows:
        results = [row for row in results if row.metric != "generated_tokens"]
        clusters = clusters_of(samples, groups_among(records))
        mean = mean_interval(column(samples, "tokens"), base.level, clusters=clusters)
        row = replace(
            base,
            metric="generated_tokens",
            value=mean.value,
            low=mean.low,
            high=mean.high,
            n=samples.num_rows,
        )
        results.append(replace(row, unit="tokens"))
    return results


def column(table: pa.Table, name: str) -> Array:
    """A column as float64; NaN where it is empty."""
    return np.array(
        [np.nan if value is None else float(value) for value in table[name].to_pylist()]
    )


def gold_loss(
    subject: Subject, asked: Asked, folder: Path, base: Result, batch_tokens: int, doing: Doing
) -> list[Result]:
    """The loss of the first reference given the prompt, nats per token (EOS included); nothing where there are none.

    Seeds and decodings do not matter to it, so it is measured once. loss = sum of -log q / tokens, over all records.
    """
    import pyarrow as pa

    path, results_file = folder / "gold.parquet", folder / "gold.results.parquet"
    if not asked.gold:
        return []
    if results_file.exists():
        return kept(results_file, read_results)
    write_first(path, pa.table(score_gold(subject, asked, batch_tokens, doing)))
    table = kept(path, read_table)
    cut = int(column(table, "cut").sum())
    clusters = clusters_of(table, groups_among(asked.chosen.records))
    value, low, high = ratio_interval(
        column(table, "nats"), column(table, "tokens"), base.level, clusters
    )
    note = f"{cut} references cut at the model's context" if cut else ""
    row = replace(
        base,
        metric="gold_loss",
        value=value,
        low=low,
        high=high,
        n=len(asked.gold),
        unit="nats per token",
    )
    write_results(results_file, [replace(row, note=note)])
    return read_results(results_file)


def score_gold(
    subject: Subject, asked: Asked, batch_tokens: int, doing: Doing
) -> dict[str, list[Any]]:
    """Of each record: the summed loss of its first reference in nats, its tokens, and whether its end had to be cut."""
    from stillage.models.query import token_stats

    what = f"{asked.chosen.label}, scoring {{}} references"
    stats = token_stats(subject.model, asked.gold, batch_tokens=batch_tokens, progress=doing(what))
    return {
        "id": [record.id for record in with_reference(asked.chosen.records)],
        "nats": [-float(np.sum(one.logp_T, dtype=np.float64)) for one in stats],
        "tokens": [len(one.logp_T) for one in stats],
        "cut": [bool(one.ids_T[-1] != subject.eos_id) for one in asked.gold],
    }


def pooled(cells: Path, seeds: Sequence[int]) -> list[Result]:
    """The results of a row of cells; with several seeds also their means: over seeds, and over records.

    Over seeds: Student-t interval of the seeds' values (the records are these, the noise is drawn again), as far as the
    metric's range goes. Over records: of each record's mean over the seeds (the records are drawn again); only for metrics
    that are means over records.
    """
    by_seed = {seed: kept(cell_files(cells, seed)[1], read_results) for seed in seeds}
    results = [row for rows in by_seed.values() for row in rows]
    if len(seeds) < 2:
        return results
    first = by_seed[seeds[0]]
    tables = [kept(cell_files(cells, seed)[0], read_table) for seed in seeds]
    for row in first:
        values = np.array(
            [next(x.value for x in rows if x.metric == row.metric) for rows in by_seed.values()]
        )
        mean = within_range(row.metric, mean_interval(values, row.level))
        shared = replace(row, value=mean.value, low=mean.low, high=mean.high, seed=0)
        results.append(replace(shared, n=len(seeds), over="seeds"))
        if row.metric in PER_RECORD:
            values_R = np.mean([column(table, PER_RECORD[row.metric]) for table in tables], axis=0)
            known = ~np.isnan(values_R)
            clusters, values_R = (
                clusters_of(tables[0], groups_in(tables[0]))[known],
                values_R[known],
            )
            interval_of = share_interval if row.metric in RANGES else mean_interval
            mean = interval_of(values_R, row.level, clusters=clusters)
            results.append(
                replace(
                    shared,
                    value=mean.value,
                    low=mean.low,
                    high=mean.high,
                    n=len(values_R),
                    over="records",
                )
            )
    return results


def collect(out: Path) -> list[Result]:
    """Every result below `out` that is not superseded, into out/results.parquet: a view, made anew from the cells."""
    with locked(out, wait=True):
        results: list[Result] = []
        sets = [path.parent for path in sorted((out / "cells").glob("*/*/set.json"))]
        sets = [path for path in sets if not (path / SUPERSEDED).exists()]
        for path in (file for folder in sets for file in sorted(folder.glob("*.results.parquet"))):
            results += kept(path, read_results)  # of data sets: gold loss, exposure bias
        for cells in (
            path for folder in sets for path in sorted(folder.iterdir()) if path.is_dir()
        ):
            done = sorted(
                int(p.name.split(".")[0][5:]) for p in cells.glob("seed-*.results.parquet")
            )
            results += pooled(cells, done) if done else []
        write_results(out / "results.parquet", results)
    return results
