"""Blocks, signal and the one-run audit as stages: asked for by a setting, done once, and never at the audit's expense."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stillage.cli import main
from stillage.errors import ConfigError
from stillage.experiment import audit_stage
from stillage.experiment.context import make_context
from stillage.experiment.folders import earlier_config
from stillage.experiment.plan import plan
from stillage.measures import MEASURES
from stillage.measures.dp import check_dp
from stillage.run.audit_config import AuditConfig
from stillage.run.config import Config, DataConfig
from stillage.run.results import read_results
from stillage.run.stages import stage_keys
from stillage.run.stop import watch_signals
from stillage.types import Result

OWN = [
    *"--data.people 40 --teacher.layers 2 --student.layers 2 --stages distill audit".split(),
    *"--audit.attacks loss reference --audit.extract-tokens 2 --audit.extract".split(),
    "",
]
ASKED = (
    "--audit.blocks true --audit.block-records 15 --audit.mope-copies 2 --audit.dp true "
    "--data.inclusion bernoulli --audit.dp-attack reference --audit.dp-guesses 10 10 "
    "--audit.signal-records 12"
).split()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_run: list[str]) -> Path:
    out = tmp_path_factory.mktemp("beside") / "run"
    assert main([*tiny_run, *OWN, *ASKED, "--out", str(out)]) == 0
    return out


def rows(run: Path, stage: str, metric: str) -> list[Result]:
    return [row for row in read_results(run / stage / "results.parquet") if row.metric == metric]


def test_every_model_is_opened_and_the_controls_hold(run: Path) -> None:
    auc = rows(run, "blocks", "block_auc")
    everybody = {
        "teacher",
        "student",
        "teacher_counterfactual",
        "student_counterfactual",
        "student_no_teacher",
    }
    for measure in ("mope", "gradient", "lens", "probe"):
        found = [(row.model, row.block) for row in auc if row.attack == measure]
        assert sorted(found) == sorted((model, block) for model in everybody for block in (0, 1))
    assert {row.model for row in auc if row.attack == "revert"} == {
        "student",
        "student_counterfactual",
    }
    assert all(row.n == 30 for row in auc) and not rows(run, "blocks", "left_out")
    assert {row.attack for row in rows(run, "blocks", "block_excess")} == {
        "mope",
        "gradient",
        "lens",
        "revert",
    }
    table = pq.read_table(run / "blocks" / "scores.parquet")
    assert (
        set(table.column("part").to_pylist()) == {"private", "nonmembers"}
        and not table.column("score").null_count
    )


def test_the_last_block_under_the_lens_is_the_audits_own_loss(run: Path) -> None:
    lens = {
        (row["model"], row["id"]): row["score"]
        for row in pq.read_table(run / "blocks" / "scores.parquet").to_pylist()
        if row["measure"] == "lens" and row["block"] == 1
    }
    loss = {
        (row["model"], row["id"]): row["score"]
        for row in pq.read_table(run / "audit" / "scores.parquet").to_pylist()
        if row["attack"] == "loss"
    }
    assert len(lens) == 150 and all(
        loss[key] == pytest.approx(score, rel=1e-4) for key, score in lens.items()
    )


def test_signal_and_bound_have_their_rows(run: Path) -> None:
    means = {(row.model, row.dataset): row for row in rows(run, "signal", "signal_kl")}
    assert set(means) == {
        (m, r) for m in ("teacher", "student") for r in ("public", "private", "nonmembers")
    }
    assert all(row.n == 12 and 0 < row.low <= row.value <= row.high for row in means.values())
    bounds = {row.model: row for row in rows(run, "dp", "dp_epsilon_low")}
    assert {"teacher", "student"} <= set(bounds) and all(row.n == 20 for row in bounds.values())
    table = pq.read_table(run / "dp" / "canaries.parquet").to_pylist()
    private = {
        row["id"]
        for row in pq.read_table(run / "data" / "records.parquet").to_pylist()
        if row["part"] == "private"
    }
    assert len(table) == 80 * len(bounds) and all(
        row["is_in"] == (row["id"] in private) for row in table
    )
    assert bounds["teacher"].coins == 80
    html = (run / "report" / "report.html").read_text()
    assert all(f'<section id="{name}">' in html for name in ("blocks", "dp", "inheritance"))


def test_the_bound_chooses_no_records_as_it_reads_the_split_alone(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search for near-copies takes minutes at 20,000 records."""

    def chosen(*given: object, **named: object) -> None:
        pytest.fail("records were chosen")

    monkeypatch.setattr(audit_stage, "choose_records", chosen)
    config = earlier_config(run)
    assert config is not None
    with watch_signals() as stop:
        context = make_context(config, stop, lambda name, facts: None)
    audit_stage.make_measure(context, MEASURES["dp"], tmp_path)
    for name in ("results.parquet", "canaries.parquet"):
        assert (tmp_path / name).read_bytes() == (run / "dp" / name).read_bytes()


@pytest.fixture
def keys_of() -> Iterator[object]:
    with watch_signals() as stop:
        yield lambda config: stage_keys(plan(make_context(config, stop, lambda name, facts: None)))


def test_asking_for_more_repeats_nothing(keys_of: object) -> None:
    assert callable(keys_of)
    plain = Config()
    base = keys_of(plain)
    more = keys_of(
        replace(plain, audit=AuditConfig(blocks=True, block_records=7, signal_records=5))
    )
    assert "blocks" not in base and "blocks" in more and "signal" in base
    assert all(more[name] == key for name, key in base.items() if name not in ("signal", "report"))
    assert "signal" not in keys_of(replace(plain, audit=AuditConfig(signal_records=0)))
    assert "signal" not in keys_of(replace(plain, audit=AuditConfig(counterfactual=False)))
    coins = replace(plain, data=DataConfig(inclusion="bernoulli"))
    audited = keys_of(coins)
    bounded = keys_of(replace(coins, audit=AuditConfig(dp=True)))
    assert (
        all(bounded[name] == key for name, key in audited.items() if name != "report")
        and "dp" in bounded
    )
    again = keys_of(replace(coins, audit=AuditConfig(dp=True, dp_guesses=(30, 30))))
    assert again["dp"] != bounded["dp"] and again["audit"] == bounded["audit"]


def test_records_given_away_as_prefixes_are_left_out_by_every_stage(
    tmp_path: Path, keys_of: object, monkeypatch: pytest.MonkeyPatch, tiny_run: list[str]
) -> None:
    assert callable(keys_of)
    monkeypatch.chdir(tmp_path)
    words = [
        "--data.people",
        "24",
        "--audit.attacks",
        "loss",
        "con_recall",
        "--audit.prefix-records",
        "3",
    ]
    beside = ["--audit.blocks", "true", "--audit.block-records", "0", "--audit.mope-copies", "1"]
    assert (
        main([*tiny_run, *OWN, *words, *beside, "--audit.signal-records", "0", "--out", "run"]) == 0
    )
    ids = {
        stage: set(
            pq.read_table(tmp_path / "run" / stage / "scores.parquet").column("id").to_pylist()
        )
        for stage in ("audit", "blocks")
    }
    assert ids["audit"] == ids["blocks"] and len(ids["audit"]) == 48 - 6

    audit = AuditConfig(blocks=True, block_records=7)
    base, more = (
        keys_of(Config(audit=one)) for one in (audit, replace(audit, attacks=("loss", "zlib")))
    )
    away = keys_of(Config(audit=replace(audit, attacks=("loss", "recall"))))
    assert base["blocks"] == more["blocks"] != away["blocks"]


COINS = DataConfig(inclusion="bernoulli")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(audit=AuditConfig(dp=True)), "inclusion: fixed"),
        (
            Config(data=replace(COINS, files={"private": "a"}), audit=AuditConfig(dp=True)),
            "files: private",
        ),
        (Config(data=COINS, stages=("audit",), audit=AuditConfig(dp=True)), "stages: audit"),
        (Config(data=COINS, audit=AuditConfig(dp=True, dp_guesses=(5,))), "given: 5"),
        (Config(data=COINS, audit=AuditConfig(dp=True, dp_guesses=(0, 0))), "given: 0 0"),
        (Config(data=COINS, audit=AuditConfig(dp=True, dp_attack="mope")), "dp_attack: mope"),
        (
            Config(
                data=COINS,
                audit=AuditConfig(dp=True, dp_attack="recall", attacks=("loss", "recall")),
            ),
            "recall",
        ),
        (
            Config(data=COINS, audit=AuditConfig(dp=True, attacks=("loss", "con_recall"))),
            "attacks: con_recall",
        ),
        (Config(data=COINS, audit=AuditConfig(dp=True, max_records=50)), "max_records: 50"),
    ],
)
def test_a_bound_that_would_not_hold_is_refused_before_anything_runs(
    config: Config, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_dp(config)
    assert message in str(caught.value)
    check_dp(Config(data=COINS, audit=AuditConfig(dp=True, dp_attack="reference")))


def test_more_guesses_than_coins_are_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = (
        "--data.people 16 --data.inclusion bernoulli --audit.dp true --audit.dp-guesses 20 13"
    ).split()
    assert main(["run", "biographies", *words, "--out", str(out)]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-3:]
    assert said[0].endswith("Fewer records had a coin of their own than are to be guessed.")
    assert (
        said[1].startswith("coins: 32; audit.dp_guesses: 20 13")
        and not (out / "tokenizer").exists()
    )
