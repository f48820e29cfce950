"""The exposure stage: how far each model ranks a record's own secret above those that might have stood there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillage.errors import ConfigError
from stillage.experiment.ask import subject_of
from stillage.experiment.audit_stage import some_audited
from stillage.experiment.inputs import base_result, records_of, use_threads
from stillage.experiment.labels import labels_of_run
from stillage.run.config import Config
from stillage.run.folder import write_table
from stillage.run.results import write_results

if TYPE_CHECKING:
    from stillage.experiment.plan import Context


def check_exposure(config: Config) -> None:
    """ConfigError where exposure is asked for and no column says what the secret is."""
    audit = config.audit
    if audit.exposure_records and not audit.extract:
        raise ConfigError(
            "Exposure needs to know what the secret of a record is.",
            f"audit.exposure_records: {audit.exposure_records}; audit.extract: none",
            "Name the column with --audit.extract (e.g. badge), or leave out audit.exposure_records.",
        )


def exposure(context: Context, folder: Path) -> None:
    """Exposure of every model (exposure/exposure.parquet), and its means over members and over nonmembers."""
    import pyarrow as pa

    from stillage.audit.candidates import candidate_scores, draw_canaries
    from stillage.audit.exposure import (
        exposure_results,
        exposure_row,
        exposure_schema,
        exposures,
        rivals_of,
    )
    from stillage.audit.extraction import with_groups
    from stillage.data.split import read_split

    config, split = context.config, read_split(context.run / "data")
    use_threads(context)
    records, parts = some_audited(context, "exposure", config.audit.exposure_records)
    canaries = draw_canaries(
        records,
        parts,
        records_of(context, "nonmembers"),
        config.audit.extract,
        config.audit.exposure_candidates,
        config.seed,
    )
    rows, rivals = [], {}
    group_of = split.group_of
    for spec in context.models:
        context.progress("exposure", {"model": spec.name})
        scores = candidate_scores(subject_of(context, spec, "exposure"), canaries)
        rivals[spec.name] = rivals_of(canaries, scores, group_of)
        for canary, found in zip(canaries, scores, strict=True):
            ranked = (
                found if isinstance(found, str) else exposures(np.array([found[0]]), found[1])[0]
            )
            rows.append(exposure_row(spec.name, canary.record.id, canary.part, ranked))
    table = pa.Table.from_pylist(rows, schema=exposure_schema())
    table = with_groups(table, group_of)
    labels = labels_of_run(context, split)
    results = exposure_results(
        table, labels, rivals, level=config.audit.level, base=base_result(context, "exposure")
    )
    write_table(folder / "exposure.parquet", table)
    write_results(folder / "results.parquet", results)
