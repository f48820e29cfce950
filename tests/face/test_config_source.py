"""Where a config comes from, and what goes on top of it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from stillage.errors import ConfigError
from stillage.face.config_source import (
    config_file,
    config_settings,
    folder_name,
    own_folder,
    read_source,
)


def test_a_file_a_preset_and_a_published_script_are_configs(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 5\n")
    assert read_source(path) == ({"seed": ["5"]}, None)
    flat, script = read_source("quickstart")
    assert flat["data.source"] == ["staff_cards"] and script is None
    flat, script = read_source("distillm/gpt2/kd_base")
    assert script is not None and flat["distill.method"] == ["kd"]


def test_a_run_folder_is_its_config_wherever_it_lies_now(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("out: elsewhere\nseed: 5\n")
    flat, _ = read_source(tmp_path)
    assert flat == {"out": [str(tmp_path)], "seed": ["5"]}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", "{}", "--data.source"),
        ("a.csv", "x", "CSV is not read"),
        ("config.json", "{}", "It is a model"),
        ("sweep.json", "{}", "It holds a grid"),
        ("other.txt", "", "Give a run folder"),
    ],
)
def test_what_is_no_config_is_refused_by_what_it_is(
    name: str, content: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    is_data = name.startswith("a.")
    with pytest.raises(ConfigError) as caught:
        config_file(str(tmp_path / name if is_data else tmp_path))
    assert said in str(caught.value) and len(str(caught.value).splitlines()) == 3


def test_a_preset_that_is_misspelt_is_guessed() -> None:
    with pytest.raises(ConfigError, match="Did you mean quickstart"):
        read_source("quickstrat")
    with pytest.raises(ConfigError, match="There is no run 'quickstrat'"):
        read_source("quickstrat", "report")


def test_a_file_that_is_no_text_is_no_config(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match="is not a config"):
        read_source(tmp_path / "weights")


def test_settings_win_and_those_of_another_method_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    flat = {"seed": ["1"], "distill.method": ["kd"], "distill.params.divergence": ["rkl"]}
    with caplog.at_level(logging.WARNING, "stillage"):
        found = config_settings(flat, {"distill.method": ["sft"], "seed": ["2"]})
    assert found == {"seed": ["2"], "distill.method": ["sft"]}
    assert "left out, as sft has no such settings: distill.params.divergence" in caplog.text


def test_a_setting_that_a_sweep_sets_cannot_be_overruled() -> None:
    with pytest.raises(ConfigError, match="The sweep sets seed itself"):
        config_settings({"sweep.seed": ["1", "2"]}, {"seed": ["3"]})


def test_a_folder_is_named_after_what_is_run() -> None:
    assert own_folder("run", ["a/mine.yaml"], {}) == Path("runs/a-mine")
    assert own_folder("audit", [], {"data.files.private": ["x/m.jsonl"]}) == Path("runs/audit-x-m")
    assert own_folder("data", [], {}) == Path("runs/data-synthetic")
    long = folder_name("a" * 200)
    assert len(long) == 80 and long != folder_name("a" * 199)
    assert folder_name("...") == "unnamed"
