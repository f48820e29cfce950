from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stillage.distill.methods import METHODS
from stillage.distill.objective import Objective
from stillage.distill.settings import DIVERGENCE_PARAMS, params_from
from stillage.models.decoder import read
from stillage.models.padding import collate
from stillage.types import Batch

CPU = torch.device("cpu")


def hf_labels(batch: Batch) -> torch.Tensor:
    """The same targets in the convention of transformers, whose models shift by themselves."""
    flat = torch.full((batch.ids_BS.numel(),), -100)
    flat[batch.positions_T + 1] = batch.labels_T
    return flat.view_as(batch.ids_BS)


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: weight.grad.clone()
        for name, weight in model.named_parameters()
        if weight.grad is not None
    }


def assert_close(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    for name, gradient in wanted.items():
        assert float((found[name] - gradient).abs().max()) <= 1e-5 * largest, name


def test_sft_has_the_gradient_of_the_models_own_loss(small: SimpleNamespace) -> None:
    model, batch = small.model(), collate(small.examples(6), CPU)
    loss = model(
        input_ids=batch.ids_BS, attention_mask=batch.attention_BS, labels=hf_labels(batch)
    ).loss
    loss.backward()
    wanted = gradients(model)
    model.zero_grad()
    method = METHODS["sft"]
    terms = Objective(model, method, method.params())(batch, None, 0)
    (terms["ce"] / len(batch.labels_T)).backward()
    assert terms["ce"].item() / len(batch.labels_T) == pytest.approx(loss.item(), rel=1e-5)
    assert_close(gradients(model), wanted)


@pytest.mark.parametrize("divergence", DIVERGENCE_PARAMS)
def test_a_batch_without_labels_adds_nothing(small: SimpleNamespace, divergence: str) -> None:
    """Zero, and a gradient of zeros: never NaN, whatever other batches of the step hold."""
    student, teacher = small.model(seed=2), small.model(seed=1, width=48)
    masked = [
        dataclasses.replace(one, response_T=np.zeros(len(one.ids_T), bool))
        for one in small.examples(3)
    ]
    batch, method = collate(masked, CPU), METHODS["kd"]
    params = params_from(method, {"divergence": divergence, "ce_weight": 0.5})
    terms = Objective(student, method, params)(batch, read(teacher, batch), 0)
    assert len(batch.labels_T) == 0 and all(value.item() == 0 for value in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    assert all(not bool(gradient.any()) for gradient in gradients(student).values())


def test_kd_has_the_gradient_of_the_dense_formula_in_float64(small: SimpleNamespace) -> None:
    """kd_weight T^2 KL(softmax(z_p / T) || softmax(z_q / T)) + ce_weight CE, from logits that the models give themselves."""
    student, teacher, batch = (
        small.model(seed=2),
        small.model(seed=1, width=48),
        collate(small.examples(6), CPU),
    )
    settings = {"kd_weight": 0.7, "ce_weight": 0.3, "kd_temperature": 2.0}
    method = METHODS["kd"]
    terms = Objective(student, method, params_from(method, settings))(
        batch, read(teacher, batch), 0
    )
    torch.stack(list(terms.values())).sum().backward()
    found = gradients(student)
    student.double().zero_grad()
    teacher.double()
    z_q = student(input_ids=batch.ids_BS).logits.flatten(0, 1)[batch.positions_T]
    z_p = teacher(input_ids=batch.ids_BS).logits.flatten(0, 1)[batch.positions_T].detach()
    p, q = (z_p / 2).log_softmax(-1), (z_q / 2).log_softmax(-1)
    kd = 0.7 * 4 * (p.exp() * (p - q)).sum()
    ce = 0.3 * torch.nn.functional.cross_entropy(z_q, batch.labels_T, reduction="sum")
    (kd + ce).backward()
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {"kd": kd.item(), "ce": ce.item()},
        rel=1e-5,
        abs=5e-6,  # float32; KL is a small difference of larger terms
    )
    assert_close(found, {name: gradient.float() for name, gradient in gradients(student).items()})


def test_padding_is_invisible(small: SimpleNamespace) -> None:
    examples, model, method = small.examples(5), small.model(), METHODS["sft"]
    objective = Objective(model, method, method.params())
    together = objective(collate(examples, CPU), None, 0)["ce"].item()
    alone = sum(objective(collate([example], CPU), None, 0)["ce"].item() for example in examples)
    assert together == pytest.approx(alone, rel=1e-5)


def test_a_batch_without_labels_is_zero_with_zero_gradient(small: SimpleNamespace) -> None:
    student, teacher = small.model(seed=2), small.model(seed=1)
    batch = collate(small.examples(2), CPU, trained=False)
    for name in ("sft", "kd"):
        method = METHODS[name]
        signal = read(teacher, batch) if method.needs_teacher(method.params()) else None
        total = torch.stack(
            list(Objective(student, method, method.params())(batch, signal, 0).values())
        ).sum()
        assert total.item() == 0
        student.zero_grad()
        total.backward()
        assert all(not gradient.any() for gradient in gradients(student).values())
