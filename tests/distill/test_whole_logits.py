"""A head that cannot be computed in chunks: named once, then trained on its own logits, to the same result."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stillage.distill.settings import DIVERGENCE_PARAMS
from stillage.functional.chunked import LossSettings, distillation_sums, readout_sums
from stillage.functional.loss_inputs import LossInputs
from stillage.functional.readout import token_logp
from stillage.types import Head, Readout


class Odd(nn.Module):
    """A head that computes what a linear one does, and is none."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.weight = inner.weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden @ self.weight.T


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("odd", ["student", "teacher", "both"])
def test_an_odd_head_trains_as_a_plain_one_with_a_notice(
    small: SimpleNamespace, tmp_path: Path, odd: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"divergence": "jsd", "ce_weight": "0.5", "kd_temperature": "2"}
    small.train(tmp_path / "plain", method="kd", settings=settings, max_steps=4)
    student, teacher = small.model(seed=2), small.model(seed=1, width=48)
    for name, model in (("student", student), ("teacher", teacher)):
        if odd in (name, "both"):
            model.lm_head = Odd(model.lm_head)
    with caplog.at_level(logging.WARNING, logger="stillage"):
        small.train(
            tmp_path / "odd",
            method="kd",
            settings=settings,
            max_steps=4,
            student=student,
            teacher=teacher,
            packing=True,
        )
    parts = ["student", "teacher"] if odd == "both" else [odd]
    said = [
        record.getMessage()
        for record in caplog.records
        if "Its own logits are used" in record.getMessage()
    ]
    assert [line.split(":")[0] for line in said] == parts and all("Odd" in line for line in said)
    for one, two in zip(lines(tmp_path / "plain"), lines(tmp_path / "odd"), strict=True):
        assert one == pytest.approx(two, rel=1e-5, abs=1e-6)


def test_a_head_that_lies_is_found_out(
    small: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A linear head whose model does more to its logits: chunks would train on other numbers."""
    student = small.model(seed=2)
    forward = student.forward

    def doubled(**inputs: object) -> object:
        found = forward(**inputs)
        found.logits = found.logits * 2
        return found

    student.forward = doubled
    with caplog.at_level(logging.WARNING, logger="stillage"):
        small.train(tmp_path, student=student, max_steps=1, validate_every=1)
    assert "Its own logits are used" in caplog.text
    total = count = 0.0
    for example in small.examples(6, name="v"):
        ids = torch.tensor(example.ids_T, dtype=torch.long)[None]
        logq = torch.log_softmax(small.model(seed=2)(input_ids=ids).logits[0] * 2, -1)
        where = torch.tensor(example.response_T).nonzero()[:, 0]
        total -= float(logq[where - 1, ids[0, where]].detach().sum())
        count += len(where)
    assert lines(tmp_path)[0]["validation_loss"] == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("divergence", DIVERGENCE_PARAMS)
def test_sums_of_whole_logits_are_the_chunked_ones(divergence: str) -> None:
    """Value and gradient, with weights, a temperature, a bias and vocabularies of two sizes."""
    draw = torch.Generator().manual_seed(3)
    hidden_TH, teacher_TG = torch.randn(7, 6, generator=draw), torch.randn(7, 5, generator=draw)
    head_VH, teacher_WG = torch.randn(11, 6, generator=draw), torch.randn(13, 5, generator=draw)
    bias_V, weight_T = torch.randn(11, generator=draw), torch.rand(7, generator=draw)
    labels_T = torch.randint(0, 11, (7,), generator=draw)
    options = {
        "divergence": divergence,
        "params": {},
        "kd_temperature": 1.5,
        "t_squared": True,
    }
    found = []
    for dense in (True, False):  # the second adds to the options
        leaf_TH = hidden_TH.clone().requires_grad_()
        if dense:
            student = Readout(leaf_TH @ head_VH.T + bias_V, Head(None))
            given = LossInputs(student, Readout(teacher_TG, Head(teacher_WG)), labels_T, weight_T)
            sums = readout_sums(given, LossSettings(**options))
        else:
            heads = (head_VH, teacher_TG, teacher_WG)
            options |= {"student_bias_V": bias_V, "weight_T": weight_T}
            sums = distillation_sums(leaf_TH, *heads, labels_T, **options)
        (sums.kd + 0.3 * sums.ce).backward()
        found.append((sums.kd.item(), sums.ce.item(), int(sums.tokens), leaf_TH.grad))
    assert found[0][:3] == pytest.approx(found[1][:3], rel=1e-5)
    torch.testing.assert_close(found[0][3], found[1][3], atol=1e-5, rtol=1e-5)


def test_log_probabilities_of_an_odd_head() -> None:
    draw = torch.Generator().manual_seed(3)
    hidden_TH, head_VH = torch.randn(7, 6, generator=draw), torch.randn(11, 6, generator=draw)
    labels_T = torch.randint(0, 11, (7,), generator=draw)
    one = token_logp(Readout(hidden_TH, Head(head_VH)), labels_T)
    whole = token_logp(Readout(hidden_TH @ head_VH.T, Head(None)), labels_T)
    torch.testing.assert_close(whole, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [(11, 13), (13, 11)])
def test_whole_logits_of_two_sizes_are_compared_on_the_shared_ids(sizes: tuple[int, int]) -> None:
    """Positions that are ignored count for nothing, and the teacher gets no gradient."""
    draw = torch.Generator().manual_seed(3)
    z_TV, y_TW = (torch.randn(6, size, generator=draw, requires_grad=True) for size in sizes)
    labels_T = torch.tensor([0, 3, -100, 5, 10, -100])
    given = LossInputs(Readout(z_TV, Head(None)), Readout(y_TW, Head(None)), labels_T)
    sums = readout_sums(given, LossSettings())
    kept = labels_T != -100
    p, q = (x[kept, : min(sizes)].log_softmax(-1) for x in (y_TW, z_TV))
    wanted = (p.exp() * (p - q)).sum()
    nll = torch.nn.functional.cross_entropy(z_TV[kept], labels_T[kept], reduction="sum")
    assert sums.kd.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert sums.ce.item() == pytest.approx(nll.item(), rel=1e-5)
    assert int(sums.tokens) == 4
    (sums.kd + sums.ce).backward()
    assert y_TW.grad is None and z_TV.grad is not None
    assert not z_TV.grad[~kept].any() and z_TV.grad[kept].any(1).all()
