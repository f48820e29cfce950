"""One model on every (data set, decoding, seed): each cell is written once.

Below `out`: cells/MODEL/SET-KEY/gold.parquet (loss of the references),
cells/MODEL/SET-KEY/DECODING-KEY/seed-10.parquet (the texts) and beside each its results; MODEL and
the KEYs are hashes of all that decides the content (`matrix_cells`). results.parquet is the view of
every cell below, of all models and runs, but for those that were superseded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.errors import ConfigError
from stillage.evaluate.datasets import EvalSet
from stillage.evaluate.matrix_cells import (
    SUPERSEDED,
    EncodedSet,
    EvaluatedModel,
    MatrixTask,
    digest,
    encode_set,
    groups_among,
    groups_in,
    kept,
    set_folder,
    with_reference,
    write_once,
)
from stillage.evaluate.metric_ranges import RANGES, within_range
from stillage.evaluate.quality import (
    clusters_of,
    column,
    references_of,
    sample_rows,
    samples_schema,
    text_results,
)
from stillage.functional.means import mean_interval, ratio_interval, share_interval
from stillage.run.folder import read_table, write_table
from stillage.run.lock import locked
from stillage.run.results import measured_row, read_results, write_results
from stillage.types import Record, Result

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.models.generate import Decoding

SAMPLING = {"sampling_temperature": 1.0, "top_p": 1.0, "top_k": 0}
DECODINGS: Mapping[str, Mapping[str, float]] = {
    "paper": SAMPLING,
    "as_released": {**SAMPLING, "no_repeat_ngram": 6},
    "greedy": {"sampling_temperature": 0.0},
    "greedy_no_repeat": {"sampling_temperature": 0.0, "no_repeat_ngram": 6},
}
"""How text is written, by name. MiniLLM and DistiLLM sample at temperature 1 from the whole
vocabulary ("paper"); their released evaluation also never writes a 6-gram twice, the prompt's
included ("as_released")."""
PER_RECORD = {
    "rouge_l": "rouge_l",
    "rouge_l_published": "rouge_l_published",
    "exact_match": "exact_match",
    "generated_tokens": "tokens",
}
"""Metrics that are means over records -> their column in a cell."""


def decoding_of(name: str, max_new_tokens: int = 256) -> Decoding:
    """Return a decoding of DECODINGS; ConfigError for another name or no tokens."""
    if name not in DECODINGS:
        known = f"known: {', '.join(DECODINGS)}"
        raise ConfigError(f"There is no decoding {name!r}.", known, "Choose one of these.")
    from stillage.models.generate import Decoding, check_decoding

    options: dict[str, Any] = {"max_new_tokens": max_new_tokens, **DECODINGS[name]}
    decoding = Decoding(**options)
    check_decoding(decoding)
    return decoding


def run_matrix(
    task: MatrixTask,
    sets: Sequence[EvalSet],
    decodings: Mapping[str, Decoding],
    seeds: Sequence[int],
) -> list[Result]:
    """Fill the missing cells; return the results of those asked for, and their means.

    A greedy decoding has one cell, of seed 0: seeds change nothing in it. Raises ConfigError
    without data sets, decodings or seeds, CheckpointError for a finished cell that is damaged.
    """
    if not (sets and decodings and seeds):
        values = f"data sets: {len(sets)}; decodings: {len(decodings)}; seeds: {len(seeds)}"
        raise ConfigError("There is nothing to evaluate.", values, "Give at least one of each.")
    results: list[Result] = []
    for chosen in sets:
        encoded = encode_set(task.subject, chosen, task.layout)
        folder = set_folder(task, encoded)
        base = base_row(task.subject, chosen, folder)
        results += gold_loss(task, encoded, folder, base)
        for name, decoding in decodings.items():
            cells = folder / f"{name}-{digest(asdict(decoding))[:8]}"
            write_once(cells / "decoding.json", asdict(decoding))
            own_seeds = list(dict.fromkeys(seeds)) if decoding.sampling_temperature > 0 else [0]
            for seed in own_seeds:
                row = replace(base, seed=seed, decoding=cells.name)
                done = fill(task, encoded, decoding, cells, row)
                said = "written" if done else "found"
                task.say(f"{chosen.label} {name} seed {seed}: {said}")
            results += pooled_cells(cells, own_seeds)
        collect(task.out)
    return results


def base_row(subject: EvaluatedModel, chosen: EvalSet, folder: Path) -> Result:
    """Begin a row of results: whose, and on which data set."""
    return Result(
        run=subject.key,
        stage="matrix",
        model=subject.name,
        metric="",
        value=float("nan"),
        dataset=f"{chosen.label}#{folder.name[-16:-8]}",
    )


def measure_once(
    path: Path, make: Callable[[], pa.Table], results_of: Callable[[pa.Table], list[Result]]
) -> bool:
    """Write a table and its `results_file` unless both are there; tell whether it did.

    The results are of the table that is there: another process may have written it first.
    """
    if path.exists() and results_file(path).exists():
        return False
    if not path.exists():
        table = make()
        out = next(folder.parent for folder in path.parents if folder.name == "cells")
        with locked(out, wait=True):
            if not path.exists():
                write_table(path, table)
    write_results(results_file(path), results_of(kept(path, read_table)))
    return True


def results_file(path: Path) -> Path:
    """Name the results of a table, which lie beside it."""
    return path.with_suffix(".results.parquet")


def cell_file(cells: Path, seed: int) -> Path:
    """Name the texts of one seed's cell."""
    return cells / f"seed-{seed}.parquet"


def fill(
    task: MatrixTask, encoded: EncodedSet, decoding: Decoding, cells: Path, base: Result
) -> bool:
    """Answer every record of a missing cell, then measure; tell whether it was."""
    import pyarrow as pa

    def answers() -> pa.Table:
        rows = answer_records(task, encoded, decoding, base.seed)
        return pa.Table.from_pylist(rows, schema=samples_schema())

    def measured(samples: pa.Table) -> list[Result]:
        rows = measure(samples, encoded.chosen.records, base)
        return [replace(row, dataset=base.dataset) for row in rows]

    return measure_once(cell_file(cells, base.seed), answers, measured)


def answer_records(
    task: MatrixTask, encoded: EncodedSet, decoding: Decoding, seed: int
) -> list[dict[str, Any]]:
    """Let the model answer, as rows of a samples table in the order of the records.

    There is no score where there is no reference.
    """
    from stillage.models.generate import generate
    from stillage.models.prompts import Prompts, TextRules

    subject, records = task.subject, encoded.chosen.records
    ids = generate(
        subject.model,
        Prompts(encoded.prompts, [record.id for record in records], seed),
        decoding,
        TextRules(subject.eos_id, subject.pad_id),
        batch_tokens=task.batch_tokens,
        progress=task.doing(f"{encoded.chosen.label}, seed {seed}, answering {{}} prompts"),
    )
    decode = subject.tokenizer.decode
    texts = [str(decode(row.tolist(), skip_special_tokens=True)).strip() for row in ids]
    tokens = [len(row) for row in ids]
    finished = [bool(len(row)) and int(row[-1]) == subject.eos_id for row in ids]
    return sample_rows(subject.name, records, texts, tokens, finished, unscored=True)


def measure(samples: pa.Table, records: Sequence[Record], base: Result) -> list[Result]:
    """Measure one cell; records without a reference count for length only."""
    scored = samples.filter(samples["rouge_l"].is_valid())
    references = [found for record in records if (found := references_of(record))]
    groups = groups_among(records)
    results = []
    if scored.num_rows:
        results = text_results(
            scored, level=base.level, base=base, references=references, group_of=groups
        )
    if scored.num_rows < samples.num_rows:
        results = [row for row in results if row.metric != "generated_tokens"]
        clusters = clusters_of(samples, groups)
        mean = mean_interval(column(samples, "tokens"), base.level, clusters=clusters)
        results.append(
            measured_row(base, "generated_tokens", mean, unit="tokens", n=samples.num_rows)
        )
    return results


def gold_loss(task: MatrixTask, encoded: EncodedSet, folder: Path, base: Result) -> list[Result]:
    """Measure the loss of the first references, nats per token (EOS included).

    loss = sum of -log q / tokens, over all records; nothing where none has a reference. The same
    for all seeds and decodings, so measured once.
    """
    import pyarrow as pa

    if not encoded.gold:
        return []

    def measured(table: pa.Table) -> list[Result]:
        clusters = clusters_of(table, groups_among(encoded.chosen.records))
        nats, tokens = column(table, "nats"), column(table, "tokens")
        loss = ratio_interval(nats, tokens, base.level, clusters=clusters)
        cut = int(column(table, "cut").sum())
        note = f"{cut} references cut at the model's context" if cut else ""
        row = measured_row(base, "gold_loss", loss, unit="nats per token", n=len(encoded.gold))
        return [replace(row, note=note)]

    path = folder / "gold.parquet"
    measure_once(path, lambda: pa.table(score_gold(task, encoded)), measured)
    return kept(results_file(path), read_results)


def score_gold(task: MatrixTask, encoded: EncodedSet) -> dict[str, list[Any]]:
    """Score the first references: summed loss, tokens, and whether the end was cut."""
    from stillage.models.query import token_stats

    progress = task.doing(f"{encoded.chosen.label}, scoring {{}} references")
    batch_tokens, subject = task.batch_tokens, task.subject
    stats = token_stats(subject.model, encoded.gold, batch_tokens=batch_tokens, progress=progress)
    return {
        "id": [record.id for record in with_reference(encoded.chosen.records)],
        "nats": [-float(np.sum(one.logp_T, dtype=np.float64)) for one in stats],
        "tokens": [len(one.logp_T) for one in stats],
        "cut": [bool(one.ids_T[-1] != subject.eos_id) for one in encoded.gold],
    }


def pooled_cells(cells: Path, seeds: Sequence[int]) -> list[Result]:
    """Read the results of a row of cells; with several seeds also their means.

    Over seeds: Student-t interval of the seeds' values (the records are these, the noise is drawn
    again), as far as the metric's range goes. Over records: of each record's mean over the seeds
    (the records are drawn again); only for metrics that are means over records.
    """
    paths = [cell_file(cells, seed) for seed in seeds]
    by_seed = [kept(results_file(path), read_results) for path in paths]
    results = [row for rows in by_seed for row in rows]
    if len(seeds) < 2:
        return results
    tables = [kept(path, read_table) for path in paths]
    for row in by_seed[0]:
        values = [next(x.value for x in rows if x.metric == row.metric) for rows in by_seed]
        mean = within_range(row.metric, mean_interval(np.array(values), row.level))
        shared = replace(row, seed=0, over="seeds")
        results.append(measured_row(shared, row.metric, mean, unit=row.unit, n=len(seeds)))
        if row.metric in PER_RECORD:
            values_R = np.mean([column(table, PER_RECORD[row.metric]) for table in tables], axis=0)
            known = ~np.isnan(values_R)
            clusters = clusters_of(tables[0], groups_in(tables[0]))[known]
            interval_of = share_interval if row.metric in RANGES else mean_interval
            mean = interval_of(values_R[known], row.level, clusters=clusters)
            shared = replace(row, seed=0, over="records")
            n = int(known.sum())
            results.append(measured_row(shared, row.metric, mean, unit=row.unit, n=n))
    return results


def collect(out: Path) -> list[Result]:
    """Gather every result below `out` that is not superseded in results.parquet."""
    with locked(out, wait=True):
        results: list[Result] = []
        sets = [path.parent for path in sorted((out / "cells").glob("*/*/set.json"))]
        sets = [path for path in sets if not (path / SUPERSEDED).exists()]
        for folder in sets:
            for path in sorted(folder.glob("*.results.parquet")):
                results += kept(path, read_results)  # of data sets: gold loss, exposure bias
        for cells in (path for folder in sets for path in sorted(folder.iterdir())):
            if cells.is_dir():
                names = (path.name.split(".")[0] for path in cells.glob("seed-*.results.parquet"))
                done = sorted(int(name.removeprefix("seed-")) for name in names)
                results += pooled_cells(cells, done) if done else []
        write_results(out / "results.parquet", results)
    return results
