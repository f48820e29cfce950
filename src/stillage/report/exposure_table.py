"""The table of canary exposure: how far models rank secrets above others."""

from __future__ import annotations

import math

from stillage.report.cells import DASH, Table, level_words, number, table_of
from stillage.report.run_view import RunView

GROUPS = {"private": "members", "nonmembers": "nonmembers (floor)"}


def exposure_table(view: RunView) -> Table | None:
    """Tabulate mean exposure per model: members, their groups, nonmembers."""
    rows, order = [], {"private": 0, "nonmembers": 2}
    for model in view.models:
        found = [
            row for name in ("exposure", "slice_exposure") for row in view.rows(name, model=model)
        ]
        for row in sorted(found, key=lambda row: (order.get(row.dataset, 1), row.dataset)):
            beyond = view.result("exposure_extrapolated", model, dataset=row.dataset)
            rows.append(
                {
                    "model": view.called(model),
                    "records": GROUPS.get(row.dataset, f"members, {row.dataset}"),
                    "exposure, bits": number(row),
                    "at the ceiling": f"{row.at_ceiling} of {row.n}" if row.n else "",
                    "extrapolated": number(beyond) if row.metric == "exposure" else DASH,
                    "n": str(row.n),
                    "left out": row.missing_reason or "0",
                }
            )
    ceilings = (row.ceiling for row in view.rows("exposure"))
    ceiling = max((bits for bits in ceilings if not math.isnan(bits)), default=0.0)
    column = str(view.setting("audit", "extract", "")) or "secret"
    note = (
        f"The {column} of a record ranked among those of nonmembers put in its place, by the "
        "log-probability of the whole response: log2 of how many there are less log2 of its rank, "
        f"mean over records; {level_words(view)}."
        + (f" Counting shows {ceiling:.2f} bits at most." if ceiling else "")
        + " The extrapolation reads on from a curve fitted to the others (skew-normal), "
        "and is that curve’s word. A secret that nobody planted ranks anywhere, which is "
        f"{math.log2(math.e):.2f} bits on average. Carlini et al. 2019."
    )
    return table_of("Exposure of secrets", rows, note, heads=2)


def exposure_words(view: RunView, model: str) -> str:
    """ "exposure 5.1 bits (nonmembers: 1.4)"; empty where it was not measured."""
    members, nonmembers = (view.result("exposure", model, dataset=part) for part in GROUPS)
    if members is None or math.isnan(members.value):
        return ""
    said = f"exposure {members.value:.1f} bits"
    if nonmembers is None or math.isnan(nonmembers.value):
        return said
    return f"{said} (nonmembers: {nonmembers.value:.1f})"
