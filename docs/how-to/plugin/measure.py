"""How many tokens of a record a model is sure of: `--plugin measure.py --audit.measures sure`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from stillage.audit.given import scoring_model
from stillage.audit.queries import scored_tokens
from stillage.functional.means import share_interval
from stillage.measures.measure import Measure, Measured, MeasureInput
from stillage.report.cells import Cell, Table
from stillage.report.run_view import RunView
from stillage.types import Result


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the measure: --audit.params.sure.above 0.5."""

    above: float = 0.9
    """A token of at least this probability is one that the model is sure of."""


def measure_sure(given: MeasureInput) -> Measured:
    """Measure the share of sure tokens of every record, and its mean per model and part."""
    settings, records, params = given.settings, given.records, given.params
    assert isinstance(params, Settings)
    rows: list[dict[str, object]] = []
    results: list[Result] = []
    for model in given.models:
        settings.progress(settings.stage, {"model": model.name})
        asked = scoring_model(model, settings)
        stats = scored_tokens(asked, asked.encode(records.records))
        share = np.array([np.mean(np.exp(one.logp_T) >= params.above) for one in stats])
        rows += [
            {"model": model.name, "id": record.id, "part": part, "share": value}
            for record, part, value in zip(records.records, records.parts, share, strict=True)
        ]
        for part, side in (
            ("private", records.audited.is_member),
            ("nonmembers", ~records.audited.is_member),
        ):
            clusters = records.audited.clusters[side]
            mean = share_interval(share[side], settings.audit.level, clusters=clusters)
            results.append(
                replace(
                    settings.base,
                    model=model.name,
                    metric="sure_tokens",
                    dataset=part,
                    value=mean.value,
                    low=mean.low,
                    high=mean.high,
                    level=settings.audit.level,
                    n=int(side.sum()),
                    unit="share",
                )
            )
    return Measured(tables={"sure": pa.Table.from_pylist(rows)}, results=results)


def sure_tables(view: RunView) -> Sequence[Table]:
    """Show the means, a row for each model."""
    means = {(row.model, row.dataset): row for row in view.results if row.metric == "sure_tokens"}
    rows = tuple(
        (Cell(text=view.called(model)), *(percent(means.get((model, part))) for part in PARTS))
        for model in view.models
        if (model, "private") in means
    )
    caption = "Tokens that the models are sure of, in percent"
    return [Table(caption=caption, columns=("model", *PARTS.values()), rows=rows)] if rows else []


def percent(row: Result | None) -> Cell:
    """Write a share with its interval."""
    if row is None:
        return Cell(text="–")
    interval = f"[{100 * row.low:.1f}, {100 * row.high:.1f}]"
    return Cell(text=f"{100 * row.value:.1f}", small=interval)


PARTS = {"private": "members", "nonmembers": "nonmembers"}
MEASURES = {
    "sure": Measure(
        name="sure",
        run=measure_sure,
        reads=("level",),
        params=Settings,
        title="How sure are the models?",
        tables=sure_tables,
    )
}
