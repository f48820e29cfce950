"""A lower bound on epsilon, from guesses of who was a member by a coin's toss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.data.coins import BERNOULLI
from stillage.errors import ConfigError, DataError
from stillage.measures.measure import Measure, Measured, MeasureInput
from stillage.run.config import Config
from stillage.run.results import measured_row
from stillage.types import Array, Result

if TYPE_CHECKING:
    from stillage.data.split import Split
    from stillage.report.cells import Table
    from stillage.report.run_view import RunView
    from stillage.run.audit_config import AuditConfig

BLIND_TO_COINS = {"as_is", "text", "lowercase", "neighbours", "noise", "gradient", "frequency"}
"""What the guessing attack may ask: replies that depend on the models and the record alone."""
TAKES_ASIDE = {"nonmember_prefix", "member_prefix"}
"""What takes records out of the evaluation for what they are: the other coins are fair no more."""


def check_dp(config: Config) -> None:
    """ConfigError where the bound is invalid: no coins, or guesses that know of them.

    All that the guesses rest on stands in the configuration, so that it is fixed before the run.
    """
    from stillage.audit.attacks import ATTACKS

    audit, data = config.audit, config.data
    attack = dp_attack(audit)
    if "distill" not in config.stages or data.inclusion != BERNOULLI or data.files or data.train_on:
        raise ConfigError(
            "A one-run audit of differential privacy needs a coin for each record, and a teacher "
            "trained on those it chose.",
            f"data.inclusion: {data.inclusion}; data.files: {', '.join(data.files) or 'none'}; "
            f"stages: {' '.join(config.stages)}; data.train_on: {data.train_on or 'none'}",
            "Set data.inclusion bernoulli, and train in this run, on all private records; or leave "
            "out audit.dp.",
        )
    if len(audit.dp_guesses) != 2 or not any(audit.dp_guesses):
        given = " ".join(map(str, audit.dp_guesses)) or "nothing"
        raise ConfigError(
            "dp_guesses takes two counts, of guesses in and out.",
            f"given: {given}",
            "Give e.g. 100 100.",
        )
    asks = {
        name: {query.transform for query in ATTACKS[name].queries}
        for name in audit.attacks
        if name in ATTACKS
    }
    if attack not in asks or not asks[attack] <= BLIND_TO_COINS:
        raise ConfigError(
            "The attack that guesses must be one of those that are run, and know of no record's "
            "membership.",
            f"audit.dp_attack: {attack or 'none'}; audit.attacks: {', '.join(audit.attacks)}",
            "Choose e.g. reference, and name it in audit.attacks too.",
        )
    aside = [name for name, transforms in asks.items() if transforms & TAKES_ASIDE]
    if aside or audit.max_records:
        raise ConfigError(
            "These settings take records aside by what is known of them, so the coins of the "
            "others would not be fair.",
            f"attacks: {', '.join(aside) or 'none'}; audit.max_records: {audit.max_records}",
            "Leave out these attacks, and set audit.max_records 0.",
        )


def dp_attack(audit: AuditConfig) -> str:
    """Name the attack that guesses: fixed by the configuration."""
    return audit.dp_attack or next(iter(audit.attacks), "")


def check_coins(split: Split, guesses: Sequence[int]) -> None:
    """DataError where fewer records had a coin of their own than are to be guessed."""
    from stillage.data.coins import canaries

    count = len(canaries(split))
    if not count:
        raise DataError(
            "No record had a coin of its own.",
            f"inclusion: {split.inclusion}; records in groups: {len(split.group_of)}",
            "Draw with data.inclusion bernoulli, and data.group_by '' where all records are "
            "near-duplicates.",
        )
    if count < sum(guesses):
        raise DataError(
            "Fewer records had a coin of their own than are to be guessed.",
            f"coins: {count}; audit.dp_guesses: {' '.join(map(str, guesses))}; records in groups: "
            f"{len(split.group_of)}",
            "Fix fewer guesses (audit.dp_guesses), or give more private records and nonmembers.",
        )


def measure_dp(given: MeasureInput) -> Measured:
    """Bound each model's epsilon from one attack's guesses (dp/canaries.parquet)."""
    import pyarrow as pa

    from stillage.audit.privacy_bound import canary_schema
    from stillage.audit.scores import Scores
    from stillage.data.coins import canaries

    settings, split = given.settings, given.split
    audit = settings.audit
    check_coins(split, audit.dp_guesses)
    ids = canaries(split)
    inside = {record.id for record in split.records_by_part["private"]}
    is_in = np.array([id_ in inside for id_ in ids])
    attack = dp_attack(audit)
    read = Scores(given.read("audit/scores"))
    results: list[Result] = []
    tables: list[pa.Table] = []
    for model in (name for name, known in read.pairs if known == attack):
        by_id = read.of(model, attack, with_missing=True).by_id
        if missing := len(set(ids) - set(by_id)):
            raise DataError(
                "Records that had a coin were not audited, so the guesses would not be blind.",
                f"{model}: {missing} of {len(ids)} are missing",
                "Audit all records (audit.max_records 0), without attacks that take some aside.",
            )
        scores = np.array([by_id[id_] for id_ in ids], dtype=np.float64)
        row = replace(settings.base, model=model, attack=attack)
        results += epsilon_results(scores, ids, is_in, audit, row)
        columns = {"model": [model] * len(ids), "id": ids, "is_in": is_in, "score": scores}
        tables.append(pa.table(columns, schema=canary_schema()))
    return Measured(tables={"canaries": pa.concat_tables(tables)}, results=results)


def epsilon_results(
    scores: Array, ids: Sequence[str], is_in: Array, audit: AuditConfig, row: Result
) -> list[Result]:
    """One model's bound on epsilon, and the share of its guesses that were right."""
    from stillage.audit.privacy_bound import epsilon_lower_bound, guess
    from stillage.functional.binomial import clopper_pearson

    made = guess(scores, ids, is_in, *audit.dp_guesses)
    bound = epsilon_lower_bound(
        n_guesses=made.n_guesses,
        n_correct=made.n_correct,
        m=made.m,
        delta=audit.dp_delta,
        level=audit.level,
    )
    right = clopper_pearson(made.n_correct, made.n_guesses, audit.level)
    guessed_in, guessed_out = audit.dp_guesses
    row = replace(
        row,
        dataset="private vs nonmembers",
        level=audit.level,
        n=made.n_guesses,
        n_members=guessed_in,
        n_nonmembers=guessed_out,
        delta=audit.dp_delta,
        coins=made.m,
    )
    return [
        replace(row, metric="dp_epsilon_low", value=bound, low=bound, unit="epsilon"),
        measured_row(row, "dp_right", right, unit="share of guesses"),
    ]


def bound_tables(view: RunView) -> Sequence[Table]:
    """Make the table of bounds."""
    from stillage.report.signal_tables import dp_table

    table = dp_table(view)
    return [] if table is None else [table]


DP = Measure(
    name="dp",
    schema=2,
    is_asked=lambda config, models: config.audit.dp,
    reads=("dp", "dp_attack", "dp_guesses", "dp_delta", "attacks", "level"),
    needs=("audit",),
    evaluates=False,
    asks_models=False,
    check=check_dp,
    run=measure_dp,
    title="How private can the training have been?",
    tables=bound_tables,
)
