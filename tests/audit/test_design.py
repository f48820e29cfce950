"""The design of the shadow pipelines: balanced, recorded, and blind to everything but ids and groups."""

from __future__ import annotations

import numpy as np
import pytest

from stillage.audit.design import design_table, draw_design, is_shadow, shadow_name
from stillage.errors import ConfigError

IDS = [f"r{i:03d}" for i in range(101)]
ALONE = [""] * 101


@pytest.mark.parametrize("k", [2, 4, 8])
def test_every_record_is_met_by_exactly_half(k: int) -> None:
    design = draw_design(IDS, ALONE, k, 5)
    assert design.shape == (k, 101) and (design.sum(axis=0) == k // 2).all()
    assert (design[0::2] ^ design[1::2]).all()
    assert set(design.sum(axis=1).tolist()) <= {50, 51}


def test_it_depends_on_the_seed_alone_not_on_order_nor_on_how_many_there_are() -> None:
    design = draw_design(IDS, ALONE, 8, 5)
    assert (draw_design(IDS, ALONE, 4, 5) == design[:4]).all()
    assert (draw_design(IDS[::-1], ALONE, 8, 5) == design[:, ::-1]).all()
    assert (draw_design(IDS, ALONE, 8, 6) != design).any()
    assert len({row.tobytes() for row in design}) == 8


def test_near_duplicates_go_together() -> None:
    groups = [f"g{i % 7}" if i < 40 else "" for i in range(101)]
    design = draw_design(IDS, groups, 6, 1)
    for name in {group for group in groups if group}:
        chosen = [index for index, group in enumerate(groups) if group == name]
        assert (design[:, chosen] == design[:, chosen[:1]]).all()
    assert (design.sum(axis=0) == 3).all()


def test_pairs_of_records_are_independent() -> None:
    met = np.array([draw_design(IDS[:40], ALONE[:40], 2, seed)[0] for seed in range(400)])
    both = (met[:, 0] & met[:, 1]).mean()
    assert abs(both - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 400)


@pytest.mark.parametrize("k", [-2, 1, 7, 100])
def test_odd_numbers_are_refused(k: int) -> None:
    with pytest.raises(ConfigError, match="come in pairs"):
        draw_design(IDS, ALONE, k, 1)


def test_the_table_names_every_shadow_and_an_empty_pool_is_none() -> None:
    table = design_table(IDS, ALONE, draw_design(IDS, ALONE, 4, 5))
    assert table.column_names == [
        "id",
        "group",
        *(shadow_name("in", number) for number in range(1, 5)),
    ]
    assert table.num_rows == 101 and draw_design([], [], 4, 1).shape == (4, 0)
    assert is_shadow(shadow_name("teacher", 3)) and not is_shadow("teacher_counterfactual")
