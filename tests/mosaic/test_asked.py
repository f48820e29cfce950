"""Which conditions a config asks for, and what each is called."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stillage.errors import ConfigError
from stillage.mosaic.asked import asked_experiments, conditions_of
from stillage.mosaic.condition import Arm, Condition
from stillage.mosaic.experiments import EXPERIMENTS
from stillage.mosaic.kinds import Insertion, Replacement, Scatter, Shuffle
from stillage.mosaic.names import condition_name
from stillage.run.config import Config, ModelConfig
from stillage.run.mosaic_config import MosaicConfig

EVERY = Config(
    mosaic=MosaicConfig(
        experiments=tuple(EXPERIMENTS), writer="w", params={"scanned.scan": "a scan"}
    )
)


def asking(*names: str, **params: str) -> Config:
    own = {name.replace("__", "."): value for name, value in params.items()}
    return Config(mosaic=MosaicConfig(experiments=names, params=own))


def test_conditions_have_names_of_their_own_that_can_be_folders() -> None:
    conditions = conditions_of(asked_experiments(EVERY))
    names = [condition_name(condition) for condition in conditions]
    assert len(set(names)) == len(names) == len(set(conditions)) > 150
    assert all(name.replace(".", "").replace("-", "").isidentifier() for name in names)


def test_a_teacher_comes_before_its_students() -> None:
    conditions = conditions_of(asked_experiments(asking("distillation")))
    for at, condition in enumerate(conditions):
        if condition.method:
            assert replace(condition, method="") in conditions[:at]


def test_experiments_share_what_is_equal() -> None:
    alone = conditions_of(asked_experiments(asking("replacement")))
    both = conditions_of(asked_experiments(asking("replacement", "positions", "exact_copies")))
    # of 3 x 3 points "different places" are those of the replacement
    assert len(both) == len(alone) + 6


def test_settings_of_what_is_not_asked_for_change_nothing() -> None:
    config = asking("exact_copies", replacement__replaced="5")
    assert asked_experiments(config) == asked_experiments(asking("exact_copies"))


def test_a_short_dose_has_a_short_curve() -> None:
    _, asked = asked_experiments(asking("learning_rate", learning_rate__copies="3"))
    assert asked.copies == 3
    usual = {one.exact for one in conditions_of([asked]) if one.kind is None and one.arm == Arm()}
    assert usual == {1, 2, 3}


def test_the_curve_is_shown_unasked() -> None:
    shown, _ = asked_experiments(asking("learning_rate", learning_rate__copies="3"))
    assert shown.experiment.name == "exact_copies"
    assert [point.condition for point in shown.points] == [Condition(exact=n) for n in (1, 2, 3)]


def test_the_curve_of_an_arm_is_its_own() -> None:
    _, asked = asked_experiments(asking("temperature", temperature__temperatures="1 4"))
    arms = {point.series: point.curve for point in asked.points}
    assert arms["T = 1"] == Condition()
    assert arms["T = 4"] == Condition(arm=Arm(sampling_temperature=4.0))


@pytest.mark.parametrize(
    ("condition", "name"),
    [
        (Condition(exact=3), "exact_03"),
        (Condition(near=9, kind=Replacement(replaced=5)), "replace_5_n10"),
        (
            Condition(near=4, kind=Replacement(replaced=5, candidates="random", places="same")),
            "replace_5_random_same_n5",
        ),
        (Condition(near=9, kind=Insertion(piece=5, inserted=2)), "insert_5_x2_n10"),
        (Condition(near=9, kind=Scatter(piece=5)), "scatter_5_n10"),
        (Condition(near=9, kind=Shuffle(piece=5, tau=0.25)), "shuffle_5_tau25_n10"),
        (Condition(exact=2, arm=Arm(lr_peak=0.001), method="kd"), "student_kd_exact_02_lr0.001"),
    ],
)
def test_names(condition: Condition, name: str) -> None:
    assert condition_name(condition) == name


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (asking("replacment"), "Did you mean replacement"),
        (asking(), "Choose from"),
        (asking("exact_copies", replacement__replaced="many"), "replaced"),
        (asking("replacement", replacement__replace="5"), "replaced"),
        (asking("replacement", replacement__replaced="many"), "replaced"),
        (asking("paraphrase"), "mosaic.writer"),
        (asking("scanned"), "corpus scan"),
        (asking("model_size", model_size__sizes="4x190x6"), "4x190x6"),
        (asking("distillation", distillation__methods="kdd"), "kdd"),
        (asking("learning_rate", learning_rate__copies="1"), "2 or more"),
    ],
)
def test_what_cannot_be_is_refused(config: Config, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        asked_experiments(config)


def test_no_shape_for_a_given_model() -> None:
    config = replace(asking("model_size"), teacher=ModelConfig(path="a folder"))
    with pytest.raises(ConfigError, match=r"teacher\.path: a folder"):
        asked_experiments(config)
