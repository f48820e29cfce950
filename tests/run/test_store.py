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


def test_only_a_link_named_as_a_store_names_stages_leads_to_one(tmp_path: Path) -> None:
    for number, target in enumerate(
        ("teacher-0123", f"student-{'0' * 16}", f"teacher-{'G' * 16}", f"teacher-{'0' * 17}")
    ):
        point = tmp_path / str(number)
        point.mkdir()
        (point / "teacher").symlink_to(tmp_path / "store" / target)
        assert store_of(point) is None
        check_store(point)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "teacher").mkdir()
    assert store_of(tmp_path / "folder") is None


def test_a_missing_store_is_found_by_any_of_the_links_and_all_are_named(tmp_path: Path) -> None:
    point = tmp_path / "seed=1"
    point.mkdir()
    for name in ("teacher", "data"):
        (point / name).symlink_to(Path("..") / "store" / f"{name}-{'0' * 16}")
    assert store_of(point) == (tmp_path / "store").resolve()
    with pytest.raises(DataError) as caught:
        check_store(point)
    assert "(for data; teacher)" in caught.value.values
