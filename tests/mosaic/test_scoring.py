"""Scores of canaries: any attack of the audit, on the injected ids alone, whatever the batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from stillage.audit.attacks import ATTACKS, FITTED_ATTACKS, SHADOW_ATTACKS
from stillage.errors import ConfigError
from stillage.mosaic.canary_reading import ModelReader, canary_encoder, canary_records
from stillage.mosaic.scoring import ScoreSettings, canary_obstacle, check_attacks, score_canaries
from stillage.mosaic.table_columns import SCORES, table_schema
from stillage.run.audit_config import AuditConfig

PARTIES = ("reference", "outside", "initial", "teacher_initial")
SCORED = [name for name in ATTACKS if not canary_obstacle(name, PARTIES, ())]


def readers(case: SimpleNamespace) -> tuple[ModelReader, ModelReader]:
    return tuple(
        ModelReader(model=case.model(case.tokenizer, seed), tokenizer=case.tokenizer)
        for seed in (1, 2)
    )


def values(table: pa.Table, attack: str) -> list[float | None]:
    return [row["score"] for row in table.to_pylist() if row["attack"] == attack]


def losses(reader: ModelReader, ids: list[int]) -> np.ndarray:
    """Log-probabilities of all tokens but the first, by the model's own logits."""
    with torch.no_grad():
        logp = reader.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return logp[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()


def test_the_loss_is_of_the_ids_in_the_table_without_special_tokens(case: SimpleNamespace) -> None:
    target, other = readers(case)
    found = score_canaries(
        target, case.canaries, ["loss", "reference"], ScoreSettings(), {"reference": other}
    )
    assert found.schema.equals(table_schema(SCORES))
    rows = case.canaries.to_pylist()
    assert [(row["canary"], row["role"]) for row in rows] == [
        (row["canary"], row["role"]) for row in found.to_pylist()[: len(rows)]
    ]
    own = [losses(target, row["ids"]).mean() for row in rows]
    np.testing.assert_allclose(values(found, "loss"), own, rtol=1e-5)
    apart = [a - losses(other, row["ids"]).mean() for a, row in zip(own, rows, strict=True)]
    np.testing.assert_allclose(values(found, "reference"), apart, atol=1e-5)


def test_ids_as_injected_are_scored_where_the_text_would_be_tokenised_otherwise(
    case: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    target, _ = readers(case)
    rows = case.canaries.to_pylist()
    text = rows[0]["text"]
    rows[0]["ids"] = [case.tokenizer(letter)["input_ids"][0] for letter in text]
    assert case.tokenizer.decode(rows[0]["ids"]) == text
    changed = pa.Table.from_pylist(rows, case.canaries.schema)
    found = score_canaries(target, changed, ["loss"], ScoreSettings(), {})
    assert values(found, "loss")[0] == pytest.approx(
        losses(target, rows[0]["ids"]).mean(), rel=1e-5
    )
    assert "1 canaries are no longer what their text is tokenised to" in caplog.text


@pytest.fixture(scope="module")
def settings(
    case: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], ScoreSettings]:
    """All that the attacks ask with, for a batch of so many tokens."""
    from stillage.models.masked_train import small_masked

    text = case.tokenizer.decode(case.public[0])
    masked = small_masked([text], 1, tmp_path_factory.mktemp("masked"), steps=1)
    few = AuditConfig(prefix_records=1, mope_copies=2, neighbours=2)

    def for_batches(batch_tokens: int) -> ScoreSettings:
        audit = replace(few, batch_tokens=batch_tokens)
        return ScoreSettings(audit=audit, masked=masked, public=(text,))

    return for_batches


def test_every_attack_that_can_be_had_gives_scores_that_no_batch_changes(
    case: SimpleNamespace, settings: Callable[[int], ScoreSettings]
) -> None:
    target, other = readers(case)
    others = dict.fromkeys(PARTIES, other)
    assert not settings(1).lacking
    found, again = (
        score_canaries(target, case.canaries, SCORED, settings(tokens), others)
        for tokens in (4096, 1)
    )
    assert found["attack"].unique().to_pylist() == SCORED
    for name in SCORED:
        given = 0 if name not in ("recall", "con_recall") else 1 + (name == "con_recall")
        one, many = values(again, name), values(found, name)
        assert many.count(None) == given and [x is None for x in one] == [x is None for x in many]
        for a, b in zip(one, many, strict=True):
            assert a is None or (math.isfinite(a) and a == pytest.approx(b, rel=1e-4, abs=1e-6))
        assert len({*many}) > 2


def test_a_reference_with_another_tokenizer_reads_the_text(case: SimpleNamespace) -> None:
    """Per byte of what both read: from the first border that the two tokenizers share, to the end."""
    target, _ = readers(case)
    tokenizer = case.other_tokenizer
    other = ModelReader(model=case.model(tokenizer, 3), tokenizer=tokenizer)
    found = score_canaries(
        target, case.canaries, ["reference_per_byte"], ScoreSettings(), {"reference": other}
    )
    for row, score in zip(
        case.canaries.to_pylist(), values(found, "reference_per_byte"), strict=True
    ):
        text, ids = row["text"], tokenizer(row["text"])["input_ids"]
        own_ends = np.cumsum([len(case.tokenizer.decode([i])) for i in row["ids"]])
        ends = np.cumsum([len(tokenizer.decode([i])) for i in ids])
        first = min({*own_ends.tolist()} & {*ends.tolist()})
        own = losses(target, row["ids"])[own_ends[:-1] >= first].sum()
        apart = own - losses(other, ids)[ends[:-1] >= first].sum()
        assert score == pytest.approx(apart / len(text[first:]), rel=1e-4, abs=1e-6)
    with pytest.raises(ConfigError, match="reference cannot score these canaries"):
        score_canaries(target, case.canaries, ["reference"], ScoreSettings(), {"reference": other})


def test_what_a_reference_says_is_kept_and_what_the_target_says_is_not(
    case: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stillage.models import query

    target, other = readers(case)
    asked: list[object] = []
    read = query.read
    monkeypatch.setattr(
        query, "read", lambda model, batch: asked.append(model) or read(model, batch)
    )
    settings = ScoreSettings(cache=tmp_path)
    first, again = (
        score_canaries(target, case.canaries, ["reference"], settings, {"reference": other})
        for _ in range(2)
    )
    assert first.equals(again)
    assert asked.count(other.model) == 1 and asked.count(target.model) == 2


def test_what_cannot_be_had_is_refused_by_name(case: SimpleNamespace) -> None:
    refused = {
        **dict.fromkeys(SHADOW_ATTACKS, "shadow"),
        **dict.fromkeys(FITTED_ATTACKS, "learns from records"),
        "reference_counterfactual": "no counterfactual",
        "self_prompted_reference": "no model is trained on the texts",
        "loss_needed": "no needed part",
    }
    for name, why in refused.items():
        with pytest.raises(ConfigError, match=why) as error:
            check_attacks(["loss", name], PARTIES)
        assert name in error.value.what
    with pytest.raises(ConfigError, match="no masked model"):
        check_attacks(["neighbour"], (), ["neighbours"])
    with pytest.raises(ConfigError, match="Did you mean loss"):
        check_attacks(["los"], ())
    with pytest.raises(ConfigError, match="no attack to score"):
        check_attacks([], ())
    assert {*ATTACKS} - {*SCORED} == {*refused} & {*ATTACKS} | {"self_prompted_variation"}
    target, _ = readers(case)
    with pytest.raises(ConfigError, match="there is no reference model"):
        score_canaries(target, case.canaries, ["reference"], ScoreSettings(), {})


def test_spans_say_what_each_scored_token_stands_for(case: SimpleNamespace) -> None:
    record = canary_records(case.canaries)[0]
    (example,) = canary_encoder(case.canaries, case.tokenizer)([record])
    assert example.span is not None
    bounds = example.span.bounds_N.tolist()
    pieces = [case.tokenizer.decode([i]) for i in example.ids_T]
    assert bounds[:-1] == np.cumsum([len(piece) for piece in pieces])[:-1].tolist()
    assert len(bounds) == example.response_T.sum() + 1 and bounds[-1] > len(record.response)
