"""Numbers that make no sense are refused before anything is loaded, whichever setting they belong to."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from stillage.errors import ConfigError
from stillage.run.config import Config
from stillage.run.flags import from_flags, setting_kinds
from stillage.run.parse import build
from stillage.run.ranges import FREE, GROUPS, NARROWER, Range, check_numbers


def test_a_range_knows_its_ends() -> None:
    inside = Range(low=0, high=1, above=True)
    assert (
        1 in inside
        and 0.5 in inside
        and 0 not in inside
        and 1.01 not in inside
        and math.nan not in inside
    )
    assert (
        math.inf not in Range(low=0)
        and 0 in Range(low=0)
        and 1 not in Range(low=0, high=1, below=True)
    )
    assert str(Range(low=0, high=1, below=True)) == "at least 0 and below 1"


def test_every_number_among_the_settings_has_a_range() -> None:
    numbers = (int, float)
    named = {
        path
        for path, kind in setting_kinds().items()
        if kind in numbers or typing.get_args(kind)[:1] in [(int,), (float,)]
    }
    known = {f"{group}.{name}".lstrip(".") for group, ranges in GROUPS.items() for name in ranges}
    assert known == named - set(FREE)
    check_numbers(Config())


def test_what_is_named_a_narrower_range_is_a_number_of_its_group() -> None:
    for group, narrower in NARROWER.items():
        for wanted, names in narrower.items():
            assert [GROUPS[group].get(name) for name in names] == [wanted] * len(names), group


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("jobs", "0", "at least 1"),
        ("jobs", "-2", "at least 1"),
        ("threads", "-1", "at least 0"),
        ("audit.neighbours", "0", "at least 1"),
        ("audit.neighbour-share", "0", "more than 0 and at most 1"),
        ("audit.neighbour-share", "1.5", "more than 0 and at most 1"),
        ("audit.neighbour-top-k", "0", "at least 1"),
        ("audit.prefix-records", "-1", "at least 0"),
        ("audit.mope-copies", "0", "at least 1"),
        ("audit.block-records", "-1", "at least 0"),
        ("audit.harmless-auc", "0.5", "more than 0.5 and below 1"),
        ("audit.harmless-tpr", "0", "more than 0 and below 1"),
        ("audit.extract-temperature", "-0.5", "at least 0"),
        ("audit.extract-top-p", "0", "more than 0 and at most 1"),
        ("audit.extract-top-p", "1.5", "more than 0 and at most 1"),
        ("audit.extract-top-k", "-1", "at least 0"),
        ("audit.min-k-fraction", "0", "more than 0 and at most 1"),
        ("audit.level", "95", "below 1"),
        ("audit.dp-delta", "1.5", "below 1"),
        ("audit.dp-guesses", "-1", "at least 0"),
        ("audit.dp-delta", "1", "below 1"),
        ("student-train.batch-size", "0", "at least 1"),
        ("teacher.layers", "0", "at least 1"),
        ("generate.top-p", "nan", "more than 0"),
    ],
    ids=lambda value: str(value),
)
def test_a_number_out_of_its_range_is_refused(setting: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_numbers(build(from_flags([f"--{setting}", value])))
    lines = str(caught.value).splitlines()
    assert (
        len(lines) == 3
        and setting.replace("-", "_") in lines[0]
        and said in lines[0]
        and value in lines[1]
    )


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ("privat 0.5", "Did you mean private?"),
        ("private 1.2", "(sum 1.2)"),
        ("private -0.1 public 0.5", "private -0.1, public 0.5 (sum 0.4)"),
        ("private nan", "(sum nan)"),
        ("private 0 public 0 nonmembers 0 counterfactual 0 validation 0 test 0", "(sum 0)"),
        ("private 0.6 public 0.6", "(sum 1.2)"),
    ],
)
def test_shares_that_are_none_are_refused(shares: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        check_numbers(build(from_flags(["--data.shares", *shares.split()])))
    assert len(str(caught.value).splitlines()) == 3 and "data.shares" in str(caught.value)


def test_no_torch_is_loaded_to_refuse_a_number(tmp_path: Path) -> None:
    code = (
        "import sys; from stillage.cli import main; "
        "assert main(['quickstart', '--jobs', '0', '--out', 'run']) == 2; assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("stillage: jobs must be at least 1.") and not list(
        tmp_path.iterdir()
    )
