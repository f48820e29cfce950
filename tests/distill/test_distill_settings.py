from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from stillage.distill.methods import METHODS
from stillage.distill.settings import DIVERGENCE_PARAMS, method_named, params_from
from stillage.errors import ConfigError

KD = METHODS["kd"]


def test_text_becomes_typed_settings() -> None:
    params = params_from(
        KD,
        {
            "kd_weight": "0.5",
            "ce_weight": ".5",
            "t_squared": "False",
            "divergence": "jsd",
            "beta": "1e-1",
        },
    )
    assert params == KD.params(
        kd_weight=0.5, ce_weight=0.5, t_squared=False, divergence="jsd", beta=0.1
    )
    assert params_from(KD, {}) == KD.params()


def test_a_preset_is_a_start_that_settings_change() -> None:
    assert params_from(KD, {"preset": "as_released"}) == KD.params(kd_weight=0.5, ce_weight=0.5)
    assert params_from(KD, {"preset": "as_released", "ce_weight": "0.25"}) == KD.params(
        kd_weight=0.5, ce_weight=0.25
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kd_wieght": "1"}, ["kd_wieght", "Did you mean kd_weight?"]),
        ({"divergence": "fkll"}, ["divergence 'fkll'", "fkl, rkl", "Did you mean fkl?"]),
        ({"preset": "papper"}, ["preset 'papper'", "paper, as_released", "Did you mean paper?"]),
        ({"kd_weight": "much"}, ["kd_weight of method kd must be a number", "'much'"]),
        ({"t_squared": "yes"}, ["t_squared of method kd must be true or false", "'yes'"]),
        ({"kd_temperature": "0"}, ["kd_temperature must be more than 0"]),
        ({"kd_weight": "nan"}, ["kd_weight must be at least 0"]),
        ({"kd_weight": "inf"}, ["kd_weight must be"]),
        ({"kd_weight": "-1"}, ["kd_weight must be at least 0", "kd_weight = -1"]),
        ({"kd_weight": "0", "ce_weight": "0"}, ["kd_weight must be more than 0"]),
        ({"alpha": "0.3"}, ["fkl does not read alpha", "use sfkl or srkl"]),
        ({"divergence": "srkl", "alpha": "1"}, ["alpha must be at least 0 and below 1"]),
        ({"divergence": "jsd", "beta": "1.5"}, ["beta must be at least 0 and at most 1"]),
    ],
)
def test_a_wrong_setting_is_refused_in_three_lines(
    settings: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        params_from(KD, settings)
    text = str(caught.value)
    assert len(text.splitlines()) == 3
    assert all(word in text for word in words), text


def test_a_skew_that_leaves_nothing_of_the_teacher_is_refused() -> None:
    with pytest.raises(ConfigError, match="alpha must be at least 0 and below 1"):
        params_from(METHODS["distillm"], {"alpha": "1"})


def test_unknown_method_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean sft\?"):
        method_named(METHODS, "stf")
    assert method_named(METHODS, "kd") is KD


def test_a_wrong_setting_is_refused_before_torch_is_loaded() -> None:
    script = (
        "import sys\n"
        "from stillage.distill.methods import METHODS\n"
        "from stillage.distill.settings import params_from\n"
        "from stillage.errors import ConfigError\n"
        "try: params_from(METHODS['kd'], {'divergence': 'x'})\n"
        "except ConfigError: print('torch' in sys.modules, 'transformers' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


def test_the_table_of_divergences_is_the_one_that_is_computed() -> None:
    from stillage.functional.divergence import DIVERGENCES

    found = {
        name: tuple(list(inspect.signature(function).parameters)[2:])
        for name, function in DIVERGENCES.items()
    }
    assert found == DIVERGENCE_PARAMS
