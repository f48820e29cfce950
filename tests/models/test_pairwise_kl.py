"""How far apart two models are, against whole distributions in float64."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stillage.errors import ModelError
from stillage.functional import readout
from stillage.models.pairwise_kl import mean_kl
from stillage.types import Example


def test_kl_per_record_is_that_of_whole_distributions(
    small: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = small.model(seed=1), small.model(seed=2, width=48)
    with torch.no_grad():
        for model in (first, second):
            for weight in model.parameters():
                weight.mul_(4.0 if weight.ndim > 1 else 1.0)
    empty = Example(record_id="e", ids_T=np.arange(4, dtype=np.int32), response_T=np.zeros(4, bool))
    examples = [*small.examples(9), empty]
    monkeypatch.setattr(
        readout, "chunk_sizes", lambda count, size, **_: [3] * (count // 3) + [count % 3]
    )
    found = mean_kl(first, second, examples, batch_tokens=30)
    for example, kl in zip(examples[:-1], found, strict=False):
        ids = torch.from_numpy(example.ids_T.astype(np.int64))[None]
        places = np.flatnonzero(example.response_T) - 1
        with torch.no_grad():
            p, q = (
                model(input_ids=ids).logits[0, places].double().log_softmax(-1)
                for model in (first, second)
            )
        assert kl == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), rel=1e-4)
    assert np.isnan(found[-1]) and (found[:-1] > 0.01).all()
    assert np.abs(mean_kl(first, first, examples[:3])).max() < 1e-6
    assert not np.allclose(mean_kl(second, first, examples[:-1]), found[:-1], rtol=0.01)


def test_other_vocabularies_are_refused(small: SimpleNamespace) -> None:
    from stillage.models.load import load_model
    from stillage.run.config import ModelConfig

    other = load_model(
        ModelConfig(layers=1, width=32, heads=4, context=32), vocab_size=small.VOCAB + 3, seed=1
    )
    with pytest.raises(ModelError, match="61 and 64"):
        mean_kl(small.model(), other, small.examples(2))
