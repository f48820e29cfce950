"""Canary exposure: how far a record's secret ranks above others in its place."""

from __future__ import annotations

import numpy as np

from stillage.errors import ConfigError
from stillage.measures.measure import Measure, Measured, MeasureInput
from stillage.run.config import Config


def check_exposure(config: Config) -> None:
    """ConfigError where exposure is asked for and no column says what the secret is."""
    audit = config.audit
    if audit.exposure_records and not audit.extract:
        raise ConfigError(
            "Exposure needs to know what the secret of a record is.",
            f"audit.exposure_records: {audit.exposure_records}; audit.extract: none",
            "Name the column with --audit.extract (e.g. badge), or leave out "
            "audit.exposure_records.",
        )


def measure_exposure(given: MeasureInput) -> Measured:
    """Rank every secret under every model; means over members and over nonmembers."""
    import pyarrow as pa

    from stillage.audit.candidates import candidate_scores, draw_canaries
    from stillage.audit.exposure_rank import (
        exposure_results,
        exposure_row,
        exposure_schema,
        exposures,
        rivals_of,
    )
    from stillage.audit.extraction import with_groups
    from stillage.audit.given import scoring_model

    settings, split = given.settings, given.split
    audit = settings.audit
    chosen = given.records.some(audit.exposure_records, settings.seed, "exposure")
    pool, drawn = split.records_by_part.get("nonmembers", []), audit.exposure_candidates
    canaries = draw_canaries(
        chosen.records, chosen.parts, pool, audit.extract, drawn, settings.seed
    )
    rows, rivals = [], {}
    for model in given.models:
        settings.progress(settings.stage, {"model": model.name})
        scores = candidate_scores(scoring_model(model, settings), canaries)
        rivals[model.name] = rivals_of(canaries, scores, split.group_of)
        for canary, score in zip(canaries, scores, strict=True):
            is_left_out = isinstance(score, str)
            ranked = score if is_left_out else exposures(np.array([score[0]]), score[1])[0]
            rows.append(exposure_row(model.name, canary.record.id, canary.part, ranked))
    table = with_groups(pa.Table.from_pylist(rows, schema=exposure_schema()), split.group_of)
    labels = given.records.labels(settings.data.slice_by)
    results = exposure_results(table, labels, rivals, level=audit.level, base=settings.base)
    return Measured(tables={"exposure": table}, results=results)


EXPOSURE = Measure(
    name="exposure",
    is_asked=lambda config, models: config.audit.exposure_records > 0,
    reads=("exposure_records", "exposure_candidates", "extract", "level"),
    check=check_exposure,
    run=measure_exposure,
    schema=3,
)
