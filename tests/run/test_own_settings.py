"""Settings of one entry of a table: lists, and what is said of those that cannot be."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from stillage.errors import ConfigError
from stillage.run.flags import from_flags
from stillage.run.own_settings import own_settings


@dataclass(frozen=True, kw_only=True)
class Own:
    replaced: tuple[int, ...] = (1, 5)
    top_k: int = 10
    names: tuple[str, ...] = ()


KINDS = {"replacement": Own}


@pytest.mark.parametrize("given", ["2,4", "2 4", "2, 4", " 2,4, "])
def test_a_list_has_commas_or_spaces(given: str) -> None:
    read = own_settings(KINDS, {"replacement.replaced": given}, "mosaic.params")
    assert read["replacement"] == Own(replaced=(2, 4))
    named = own_settings(KINDS, {"replacement.names": given}, "mosaic.params")
    assert named["replacement"] == Own(names=("2", "4"))


@pytest.mark.parametrize(
    ("setting", "value"), [("replaced", "2 x"), ("replaced", "2.5"), ("top_k", "2 4"), ("top", "2")]
)
def test_an_error_says_how_each_setting_is_written(setting: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        own_settings(KINDS, {f"replacement.{setting}": value}, "mosaic.params")
    assert caught.value.values == f"mosaic.params.replacement.{setting}: {value}"
    assert caught.value.fix == "Its settings: replaced N,..., top_k N, names TEXT,...."


def test_a_flag_without_its_table_says_where_it_belongs() -> None:
    with pytest.raises(ConfigError) as caught:
        from_flags(["--replacement.replaced", "2"])
    assert "an experiment's: mosaic.params.replacement.replaced" in caught.value.fix
    assert "one of audit, data" in caught.value.fix
