"""A point of a sweep without its store is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stillage.errors import DataError, listed
from stillage.run.store import check_store, store_of


def test_a_point_needs_the_store_that_its_links_lead_to(tmp_path: Path) -> None:
    store, point = tmp_path / "store", tmp_path / "method=kd"
    stage = store / f"teacher-{'0123456789abcdef'}"
    stage.mkdir(parents=True)
    point.mkdir()
    check_store(point)  # nothing links anywhere
    assert store_of(point) is None and store_of(tmp_path / "nowhere") is None
    (point / "elsewhere").symlink_to(tmp_path)
    assert store_of(point) is None
    (point / "teacher").symlink_to(stage)
    assert store_of(point) == store
    check_store(point)
    shutil.rmtree(store)
    with pytest.raises(DataError, match="one point of a sweep") as caught:
        check_store(point)
    assert "teacher" in caught.value.values and "stillage export" in caught.value.fix


def test_a_long_list_is_cut() -> None:
    assert listed(["a", "b"]) == "a; b" and listed([]) == ""
    assert listed(list("abcd"), most=2) == "a; b; and 2 more"
