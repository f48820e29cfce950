"""How many exact copies a near-duplicate is worth, by its distance: rho.

Measured by training on one sequence with 9 near-duplicates of it, and reading off how many exact
copies leave the same trace (membership inference): rho = 1 is a full copy, 0 none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stillage.errors import DataError
from stillage.run.folder import read_json
from stillage.types import Array

PUBLISHED = {
    "GPT-Neo 1.3B": (0.8977, 0.7811, 0.6462, 0.5202, 0.4519, 0.4014, 0.1864, 0.0810),
    "Gemma-2B": (0.9345, 0.7628, 0.6039, 0.4811, 0.3935, 0.3218, 0.1353, 0.0615),
    "Llama-3.2-1B": (0.9025, 0.7570, 0.6340, 0.4906, 0.3986, 0.3276, 0.1347, 0.0641),
    "Phi-2": (0.9188, 0.7766, 0.6330, 0.5425, 0.4626, 0.3800, 0.1731, 0.0576),
}
"""Mean rho over 5 seeds, at each of REPLACED, attack: loss ratio to a reference model."""
REPLACED = (1, 5, 10, 15, 20, 25, 50, 75)
"""Tokens of 100 that a masked language model replaced, one of its 10 likeliest each."""
SOURCE = (
    "Shilov et al., The mosaic memory of large language models (Nature Communications 2026; "
    "arXiv 2405.15523), from their released results: fine-tuning on a text of 100 tokens and 9 "
    "near-duplicates of it, in which a masked language model replaced tokens"
)
FIX = 'Write {"distance": [0, 0.1, 0.5], "rho": [1, 0.6, 0.2]}; rho may be a table of such lists.'


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """Rho by relative distance (distance / target length), for one or more models.

    Linear between the points; beyond the last, its value. 1 at distance 0: an exact copy is one by
    definition. What lies outside lowest..highest was not measured.
    """

    distance_P: Array  # float64, ascending
    rho_MP: Array  # float64, a row a model
    models: tuple[str, ...]
    lowest: float  # smallest and largest distance that was measured
    highest: float
    source: str

    def by_model(self, distance: Array) -> Array:
        """Rho of each model at relative distances, float64[models, distances]."""
        return np.array([np.interp(distance, self.distance_P, rho_P) for rho_P in self.rho_MP])

    def is_measured(self, distance: Array) -> Array:
        """Tell where rho was measured (bool); at distance 0 it is 1 by definition."""
        return (distance == 0) | ((distance >= self.lowest) & (distance <= self.highest))


def published_worth() -> Worth:
    """The published means of four models. Drawn, not measured: 0 at distance 1.

    Between 0.75 and 1 the line goes to that point. The models' spread is a range of four means, no
    interval: it says nothing of other models, of pretraining, or of insertions.
    """
    rho_MP = np.array([(1.0, *means, 0.0) for means in PUBLISHED.values()])
    return Worth(
        distance_P=np.array([0, *REPLACED, 100]) / 100,
        rho_MP=rho_MP,
        models=tuple(PUBLISHED),
        lowest=REPLACED[0] / 100,
        highest=REPLACED[-1] / 100,
        source=SOURCE,
    )


def read_worth(path: Path) -> Worth:
    """Read one's own curve from JSON: relative distances, and rho at each.

    {"distance": [...], "rho": [...]} or "rho": {model: [...], ...}. DataError for distances that do
    not ascend from 0 or more, values that are no finite number or below 0, or lists that do not
    fit. A curve that begins above 0 begins at (0, 1).
    """
    if not path.is_file():
        raise DataError("There is no file of rho.", f"looked for: {path}", FIX)
    try:
        content = read_json(path)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError("The file of rho is not JSON.", f"{path}: {error}", FIX) from error
    if not isinstance(content, dict) or set(content) != {"distance", "rho"}:
        names = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise DataError("The file of rho has other entries.", f"{path}: {names}", FIX)
    curves = content["rho"] if isinstance(content["rho"], dict) else {"given": content["rho"]}
    distances = _numbers(content["distance"], f"{path}: distance")
    falls = next((at for at in range(1, len(distances)) if distances[at] <= distances[at - 1]), 0)
    if falls or distances[0] < 0:
        values = f"{path}: {distances[max(0, falls - 1)]:g}, then {distances[falls]:g}"
        raise DataError("The distances do not ascend from 0 or more.", values, FIX)
    if not curves:
        raise DataError("The file of rho holds no curve.", f"{path}: rho: {{}}", FIX)
    rho = {name: _numbers(values, f"{path}: rho of {name}") for name, values in curves.items()}
    for name, values in rho.items():
        if len(values) != len(distances):
            says = f"{path}: {len(distances)} distances, {len(values)} values of {name}"
            raise DataError("A curve does not fit the distances.", says, FIX)
        if min(values) < 0:
            says = f"{path}: {min(values):g} of {name}"
            raise DataError("No near-duplicate is worth less than nothing.", says, FIX)
    exact = [] if distances[0] == 0 else [0.0]
    return Worth(
        distance_P=np.array([*exact, *distances]),
        rho_MP=np.array([[*(1.0 for _ in exact), *values] for values in rho.values()]),
        models=tuple(rho),
        lowest=distances[0],
        highest=distances[-1],
        source=str(path),
    )


def as_table(worth: Worth) -> Mapping[str, object]:
    """A curve as JSON: what the numbers of a result were made with."""
    return {
        "source": worth.source,
        "distance": worth.distance_P.tolist(),
        "rho": dict(zip(worth.models, worth.rho_MP.tolist(), strict=True)),
        "measured": [worth.lowest, worth.highest],
    }


def _numbers(values: object, where: str) -> Sequence[float]:
    """A list of finite numbers, not empty. DataError where it is none."""
    if not isinstance(values, list) or not values:
        raise DataError("The file of rho lacks a list of numbers.", where, FIX)
    for place, value in enumerate(values):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not abs(value) <= sys.float_info.max:
            raise DataError(
                "A value of rho is no finite number.", f"{where}, place {place}: {value}", FIX
            )
    return [float(value) for value in values]
