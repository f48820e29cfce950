"""Probabilistic extraction as the attacker samples: log p_z of the audit against how often real generation writes it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch

from stillage.audit.answers import as_sampled, sampling_words
from stillage.audit.extraction import Target
from stillage.audit.memorization import memorization_table
from stillage.models.generate import Decoding, generate
from stillage.models.load import load_model
from stillage.models.prompts import Prompts, TextRules
from stillage.models.query import token_stats
from stillage.run.audit_config import AuditConfig
from stillage.run.config import ModelConfig
from stillage.run.progress import unheard
from stillage.types import Example


def test_log_p_z_is_how_often_the_attacker_writes_it() -> None:
    model = load_model(
        ModelConfig(architecture="gpt2", layers=1, width=16, heads=2, context=16),
        vocab_size=7,
        seed=3,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0 if parameter.ndim > 1 else 1.0)
    decoding = Decoding(max_new_tokens=2, sampling_temperature=1.3, top_k=4, top_p=0.93)
    audit = AuditConfig(extract_temperature=1.3, extract_top_k=4, extract_top_p=0.93)
    prefix, n = np.array([2, 5, 1, 4]), 20_000  # the last one is scored, but is not of the suffix
    examples = [
        Example(
            record_id=f"{a}{b}",
            ids_T=np.array([*prefix, a, b], np.int32),
            response_T=np.arange(6) >= 3,
        )
        for a in range(7)
        for b in range(7)
    ]
    subject = cast("Any", SimpleNamespace(model=model, doing=unheard))
    sampled = as_sampled(audit, subject, examples)
    stats = {e.record_id: s for e, s in zip(examples, token_stats(model, examples), strict=True)}
    targets = [
        Target(
            record_id=e.record_id,
            part="private",
            prefix_ids=prefix,
            suffix_ids=e.ids_T[4:],
            scored_from=1,
            text="x",
        )
        for e in examples
    ]
    said, texts = [e.ids_T[4:] for e in examples], ["x"] * len(examples)
    table = memorization_table("m", targets, said, stats, texts, sampled)
    p = np.exp(np.array(table.column("suffix_logp").to_pylist()))
    written = generate(
        model,
        Prompts([prefix] * n, list(map(str, range(n))), 1),
        decoding,
        TextRules(9, 0),
        batch_tokens=10**6,
    )
    seen = np.bincount([int(a) * 7 + int(b) for a, b in written], minlength=49)
    assert (
        (p == 0).sum() >= 20 and seen[p == 0].sum() == 0 and math.isclose(p.sum(), 1, abs_tol=1e-5)
    )
    assert np.abs((seen - n * p)[p > 0] / np.sqrt(n * p * (1 - p) + 1e-9)[p > 0]).max() < 4.5
    assert as_sampled(AuditConfig(), subject, examples) is None  # the defaults ask nothing more
    assert sampling_words(audit) == "temperature=1.3; top_k=4; top_p=0.93"
    assert sampling_words(AuditConfig()) == "temperature=1"
