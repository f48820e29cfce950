"""Which shadow pipeline meets which record: drawn before any of them is trained.

The design comes in pairs: of shadows 2j - 1 and 2j each record is met by exactly one, so that it is
IN exactly half of an even number of shadows, every shadow has half of the records, and more pairs
change no earlier one. Near-duplicates go together. Who is a member of the target plays no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stillage.data.grouping import cluster_numbers
from stillage.errors import ConfigError
from stillage.rng import generator
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

SHADOW = "_shadow_"
SELF_PROMPTED = "self_prompted_"
MOST = 98  # two digits in a stage's name


def shadow_name(kind: str, number: int) -> str:
    """The name of a shadow's teacher or student; number from 1."""
    return f"{kind}{SHADOW}{number:02d}"


def is_shadow(name: str) -> bool:
    """Tell whether this is the name of a shadow model."""
    return SHADOW in name


def serves_attacks(name: str) -> bool:
    """Tell whether a model serves attacks alone, unaudited: a shadow or self-prompted."""
    return is_shadow(name) or name.startswith(SELF_PROMPTED)


def check_count(n_shadows: int) -> None:
    """ConfigError for an odd or negative number of shadow pipelines, or more than 98."""
    if n_shadows < 0 or n_shadows % 2 or n_shadows > MOST:
        raise ConfigError(
            "Shadow pipelines come in pairs: each record is met by one of every two.",
            f"audit.shadows: {n_shadows}",
            f"Give an even number up to {MOST} (LiRA needs 4 or more; 8 is a good start),"
            " or 0 for none.",
        )


def draw_design(ids: Sequence[str], groups: Sequence[str], n_shadows: int, seed: int) -> Array:
    """Draw bool[K, N]: whether shadow k (from 0) meets record n.

    Independent of the order of the records, and of K for the first k. groups: near-duplicates share
    a name, "": alone. Each pair halves the groups at random. ConfigError as check_count.
    """
    check_count(n_shadows)
    unit_N = cluster_numbers(ids, groups)
    count = int(unit_N.max(initial=-1)) + 1
    design_KN = np.zeros((n_shadows, len(ids)), dtype=bool)
    for pair in range(n_shadows // 2):
        inside_U = np.zeros(count, dtype=bool)
        inside_U[generator(seed, "shadows", pair).permutation(count)[: count // 2]] = True
        design_KN[2 * pair], design_KN[2 * pair + 1] = inside_U[unit_N], ~inside_U[unit_N]
    return design_KN


def design_table(ids: Sequence[str], groups: Sequence[str], design_KN: Array) -> pa.Table:
    """The design as a table: id, group, and a bool column for each shadow."""
    import pyarrow as pa

    columns = {shadow_name("in", number): row for number, row in enumerate(design_KN, 1)}
    return pa.table(
        {"id": pa.array(ids, pa.string()), "group": pa.array(groups, pa.string()), **columns}
    )
