"""A sweep's points, what overrules what, and its folder: index, states, gathered results."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import text

from stillage.errors import ConfigError, DataError
from stillage.run.flags import from_flags
from stillage.run.folder import read_json, read_table, write_json
from stillage.run.parse import from_yaml
from stillage.run.results import schema, write_results
from stillage.run.stages import MANIFEST
from stillage.run.sweep import (
    Point,
    case,
    check_overruled,
    check_sweep_folder,
    gather,
    is_reported,
    leave_nothing,
    point_state,
    points_of,
    read_all,
    slug,
    sweep_points,
    swept,
    switch,
    typed_values,
    write_index,
)
from stillage.types import Result


def test_swept_shares_are_scaled_as_those_of_flags_are() -> None:
    text = "data: {shares: {private: 0.25, public: 0.5, nonmembers: 0.25}}\nsweep: {data.shares.private: [0.25, 0.4]}"
    flat, lists = swept(from_yaml(text, "here"))
    shares = [point.config.data.shares for point in sweep_points(flat, lists)]
    assert [share["private"] for share in shares] == [0.25, 0.4] and shares[1][
        "public"
    ] == pytest.approx(0.4)
    assert [sum(share.values()) for share in shares] == pytest.approx([1.0, 1.0])
    flat, lists = swept(
        from_yaml(
            text.replace("private: [0.25, 0.4]", "private: [0.4], data.shares.public: [0.3]"), ""
        )
    )
    assert sweep_points(flat, lists)[0].config.data.shares == pytest.approx(
        {"private": 0.4, "public": 0.3, "nonmembers": 0.3}
    )


def test_a_sweep_is_every_combination_and_an_empty_one_is_refused() -> None:
    flat, lists = swept(
        {"seed": ["1"], "sweep.seed": ["1", "2"], "sweep.audit.attacks": ["loss,zlib", "loss"]}
    )
    grid = sweep_points(flat, lists)
    assert [(point.config.seed, point.config.audit.attacks) for point in grid] == [
        (1, ("loss", "zlib")),
        (1, ("loss",)),
        (2, ("loss", "zlib")),
        (2, ("loss",)),
    ]
    assert len({point.config.out for point in grid}) == 4
    with pytest.raises(ConfigError, match="needs values"):
        swept({"sweep.seed": []})


def test_swept_values_have_the_type_that_all_of_them_are() -> None:
    values = [
        {
            "seed": "1",
            "student_train.lr_peak": "1e-3",
            "audit.attacks": "loss,zlib",
            "distill.params.k": "3",
            "cases.size": "1",
            "student.path": "5",
            "audit.blocks": "true",
        },
        {
            "seed": "2",
            "student_train.lr_peak": "2",
            "audit.attacks": "7",
            "distill.params.k": "x",
            "cases.size": "2",
            "student.path": "6",
            "audit.blocks": "False",
        },
    ]
    found = {path: list(read.values()) for path, read in typed_values(values).items()}
    assert found == {
        "seed": [1, 2],
        "student_train.lr_peak": [0.001, 2.0],
        "audit.attacks": ["loss,zlib", "7"],
        "distill.params.k": ["3", "x"],
        "cases.size": [1, 2],
        "student.path": ["5", "6"],
        "audit.blocks": [True, False],
    }


def test_a_swept_seed_is_the_column_that_every_table_has(tmp_path: Path) -> None:
    points = []
    for seed in (2, 10):
        row = Result(
            run=f"r{seed}",
            stage="audit",
            model="student",
            metric="auc",
            value=0.5,
            seed=seed,
            method="kd",
        )
        name = f"seed={seed}"
        write_results(tmp_path / name / "report" / "results.parquet", [row])
        write_json(tmp_path / name / "report" / "manifest.json", {})
        points.append(
            {"name": name, "values": {"seed": str(seed), "distill.method": "kd"}, "run": f"r{seed}"}
        )
    write_json(
        tmp_path / "sweep.json",
        {"points": [*points, {"name": "seed=3", "values": {"seed": "3"}, "run": "r3"}]},
    )
    assert gather(tmp_path) == 2
    table = read_table(tmp_path / "results.parquet")
    assert table.column_names == [*schema().names, "distill.method"]
    assert table.column("seed").to_pylist() == [10, 2] and set(
        table.column("method").to_pylist()
    ) == {"kd"}


def test_a_case_is_several_settings_at_once(sweep_of_cases: str) -> None:
    flat, lists = swept(from_yaml(sweep_of_cases, "grid.yaml"))
    grid = sweep_points(flat, lists)
    assert [point.name for point in grid] == [
        "seed=1_method=sft",
        "seed=1_method=gkd",
        "seed=2_method=sft",
        "seed=2_method=gkd",
    ]
    assert [point.config.distill.method for point in grid] == ["sft", "gkd"] * 2
    assert [point.config.distill.params for point in grid[:2]] == [{}, {"max_new_tokens": "8"}]
    assert [point.config.student.width for point in grid[:2]] == [128, 64]
    flat, lists = swept(
        from_yaml(sweep_of_cases, "grid.yaml")
        | from_flags(["--sweep.cases.method", "gkd", "--sweep.seed", "3"])
    )
    assert [point.name for point in sweep_points(flat, lists)] == ["seed=3_method=gkd"]
    flat, lists = swept(
        from_yaml(sweep_of_cases, "grid.yaml") | from_flags(["--sweep.cases.method", "kd"])
    )
    with pytest.raises(ConfigError, match=r"no case 'kd' of 'method'.*\n.*sft, gkd"):
        sweep_points(flat, lists)
    for bad in ("sweep: {cases: [a]}", "sweep: {cases: {size: {}}}", "sweep: {cases: {size: 3}}"):
        with pytest.raises(ConfigError, match="names no cases"):
            from_yaml(bad, "grid.yaml")
    with pytest.raises(ConfigError, match="case small"):
        from_yaml("sweep: {cases: {size: {small: {student.widht: 3}}}}", "grid.yaml")


@pytest.mark.parametrize(
    ("seeds", "methods"), [([3], ["kd"]), ([2, 1], ["sft", "gkd"]), ([1], ["kd", "sft"])]
)
def test_every_combination_is_a_point_the_first_setting_slowest(
    seeds: list[int], methods: list[str]
) -> None:
    grid = sweep_points(
        {"out": ["grid"]}, {"seed": [str(seed) for seed in seeds], "distill.method": methods}
    )
    combinations = list(product(seeds, methods))
    assert [(point.config.seed, point.config.distill.method) for point in grid] == combinations
    for point, (seed, method) in zip(grid, combinations, strict=True):
        assert point.name == f"seed={seed}_method={method}"
        assert point.config.out == Path("grid") / point.name
        assert point.values == {"seed": str(seed), "distill.method": method}


def test_a_value_that_is_swept_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="one name") as caught:
        sweep_points({}, {"seed": ["1", "1"]})
    assert "seed=1" in caught.value.values
    with pytest.raises(ConfigError, match="one name"):
        sweep_points({}, {"student.path": ["a/b", "a b"]})


@settings(max_examples=40, deadline=None)
@given(text(max_size=20))
def test_a_value_in_a_folders_name_has_no_separator_and_keeps_its_length(value: str) -> None:
    assert len(slug(value)) == len(value)
    assert set(slug(value)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,+-"
    )
    assert slug(slug(value)) == slug(value)


def test_what_is_swept_is_parted_from_what_is_not() -> None:
    flat = {"seed": ["3"], "sweep.distill.method": ["kd", "sft"], "sweepy": ["1"]}
    assert swept(flat) == (
        {"seed": ["3"], "sweepy": ["1"]},
        {"distill.method": ["kd", "sft"]},
    )


def test_the_settings_of_a_case(sweep_of_cases: str) -> None:
    flat = from_yaml(sweep_of_cases, "grid.yaml")
    assert case(flat, "cases.method", "sft") == {"distill.method": ["sft"]}
    with pytest.raises(ConfigError, match="no case 'small' of 'size'") as caught:
        case(flat, "cases.size", "small")
    assert caught.value.values == "defined: none"


def test_a_flag_may_overrule_the_configs_own_setting_and_none_of_the_sweeps(
    sweep_of_cases: str,
) -> None:
    flat = from_yaml(sweep_of_cases, "grid.yaml")
    check_overruled(flat, {})
    check_overruled(flat, {"student.layers": ["3"], "teacher.width": ["48"]})
    with pytest.raises(ConfigError, match="sets seed itself") as caught:
        check_overruled(flat, {"seed": ["7"]})
    assert caught.value.values == "given: 7; set by sweep.seed"
    with pytest.raises(ConfigError, match=r"sets student\.width itself") as caught:
        check_overruled(flat, {"student.width": ["48"]})
    assert caught.value.values == "given: 48; set by sweep.cases.method (gkd)"
    check_overruled({**flat, "sweep.cases.method": ["sft"]}, {"student.width": ["48"]})


def test_two_axes_that_set_one_setting_are_refused(sweep_of_cases: str) -> None:
    flat = {**from_yaml(sweep_of_cases, "grid.yaml"), "sweep.distill.method": ["kd"]}
    with pytest.raises(ConfigError, match=r"Two axes of the sweep set distill\.method") as caught:
        check_overruled(flat, {})
    assert "sweep.distill.method" in caught.value.values
    assert "sweep.cases.method (sft, gkd)" in caught.value.values


def indexed(out: Path) -> list[Point]:
    """A sweep of two seeds, whose index is written."""
    grid = sweep_points({"out": [str(out)]}, {"seed": ["1", "2"]})
    write_index(out, grid, ["aaa", "bbb"])
    return grid


def test_the_index_says_which_folder_stands_for_which_values(tmp_path: Path) -> None:
    indexed(tmp_path)
    assert points_of(tmp_path) == [
        {"name": "seed=1", "values": {"seed": "1"}, "run": "aaa"},
        {"name": "seed=2", "values": {"seed": "2"}, "run": "bbb"},
    ]
    with pytest.raises(ValueError, match="shorter"):
        write_index(tmp_path, sweep_points({}, {"seed": ["1", "2"]}), ["aaa"])
    with pytest.raises(DataError, match="is no sweep"):
        points_of(tmp_path / "seed=1")


def test_a_sweep_is_begun_in_a_new_folder_or_goes_on_in_its_own(tmp_path: Path) -> None:
    check_sweep_folder(tmp_path / "new")
    check_sweep_folder(tmp_path)
    (tmp_path / ".lock").touch()
    check_sweep_folder(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ConfigError, match="no sweep of ours") as caught:
        check_sweep_folder(tmp_path)
    assert caught.value.values == "found: notes.txt"
    indexed(tmp_path)
    check_sweep_folder(tmp_path)
    (tmp_path / "config.yaml").touch()
    with pytest.raises(ConfigError, match="holds a run, not a sweep"):
        check_sweep_folder(tmp_path)


def test_a_sweep_of_which_nothing_was_made_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "grid"
    out.mkdir()
    indexed(out)
    (out / ".lock").touch()
    (out / "store" / ".locks").mkdir(parents=True)
    (out / "store" / ".locks" / "data").touch()
    leave_nothing(out)
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_with_a_point_or_a_stage_stays(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for out, made in ((one, "seed=2"), (other, "store/data-0")):
        out.mkdir()
        indexed(out)
        (out / made).mkdir(parents=True)
        leave_nothing(out)
    assert read_json(one / "sweep.json")["points"] and (one / "seed=2").is_dir()
    assert [path.name for path in other.rglob("*")] == ["store", "data-0"]


def test_a_point_says_how_it_ended_and_quotes_no_record(tmp_path: Path) -> None:
    indexed(tmp_path)
    first, second = points_of(tmp_path)
    write_json(tmp_path / "seed=1" / "report" / MANIFEST, {})
    assert is_reported(tmp_path, first) and not is_reported(tmp_path, second)
    assert point_state(tmp_path, first, {}) == "finished"
    assert point_state(tmp_path, second, {}) == "not finished"
    failed = {"seed=1": DataError("Too few.", "", ""), "seed=2": ValueError("a record")}
    assert point_state(tmp_path, first, failed) == "Too few."
    assert point_state(tmp_path, second, failed) == "ValueError"


def test_nothing_is_gathered_of_points_that_are_not_finished(tmp_path: Path) -> None:
    indexed(tmp_path)
    assert gather(tmp_path) == 0
    assert read_table(tmp_path / "results.parquet").num_rows == 0


def test_words_are_read_all_or_none() -> None:
    assert read_all(int, ["1", "20"]) == {"1": 1, "20": 20}
    assert read_all(int, ["1", "2.5"]) == {} and read_all(float, ["1", "2.5"]) == {
        "1": 1.0,
        "2.5": 2.5,
    }
    assert [switch(word) for word in ("true", "False", "TRUE")] == [True, False, True]
    with pytest.raises(ValueError, match="1"):
        switch("1")


def test_the_index_is_plain_json(tmp_path: Path) -> None:
    indexed(tmp_path)
    assert list(json.loads((tmp_path / "sweep.json").read_text())) == ["points"]
