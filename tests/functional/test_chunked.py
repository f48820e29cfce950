"""distillation_sums: heads of every kind, vocabularies of different size, weights, dtypes, and what may be done with a sum."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from stillage.errors import ConfigError, DataError, ModelError, UserError
from stillage.functional import chunked
from stillage.functional.chunked import distillation_sums
from stillage.functional.divergence import forward_kl

T, V, H, G = 19, 53, 12, 8


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def problem(
    teacher_size: int = V,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Student hidden states and head (trained), teacher's (not), labels with every fifth ignored."""
    labels = torch.arange(T) * 7 % V
    labels[::5] = -100
    hidden, head = normal(T, H, seed=0).requires_grad_(), normal(V, H, seed=1).requires_grad_()
    return hidden, head, normal(T, G, seed=2), normal(teacher_size, G, seed=3), labels


def dense(
    hidden: torch.Tensor,
    head: torch.Tensor,
    teacher: torch.Tensor,
    teacher_head: torch.Tensor,
    labels: torch.Tensor,
    *,
    temperature: float = 1.0,
    bias: torch.Tensor | None = None,
    teacher_bias: torch.Tensor | None = None,
    caps: tuple[float | None, float | None] = (None, None),
    weight: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Forward KL and cross-entropy as one would write them, in float64."""

    def logits(
        x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None, cap: float | None
    ) -> torch.Tensor:
        z = x.double() @ w.double().T + (0 if b is None else b.double())
        return z if cap is None else cap * torch.tanh(z / cap)

    z, y = logits(hidden, head, bias, caps[0]), logits(teacher, teacher_head, teacher_bias, caps[1])
    shared = min(z.shape[1], y.shape[1])
    p, q = (torch.log_softmax(x[:, :shared] / temperature, -1) for x in (y, z))
    w = (labels != -100).double() * (1 if weight is None else weight.double())
    nll = F.cross_entropy(z, labels, reduction="none")
    return (w * (p.exp() * (p - q)).sum(-1)).sum(), (w * nll).sum()


def assert_same(
    sums: chunked.DistillationSums, exact: tuple[torch.Tensor, torch.Tensor], *leaves: torch.Tensor
) -> None:
    """Values, and gradients of each sum and of a mixture, to 1e-5."""
    torch.testing.assert_close(
        torch.stack(sums[:2]).double(), torch.stack(exact), rtol=1e-5, atol=1e-5
    )
    for kd, ce in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.3, 0.7)):
        ours = torch.autograd.grad(kd * sums.kd + ce * sums.ce, leaves, retain_graph=True)
        true = torch.autograd.grad(kd * exact[0] + ce * exact[1], leaves, retain_graph=True)
        for mine, other in zip(ours, true, strict=True):
            assert (mine - other).abs().max() <= 1e-5 * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize(
    "gradient_weights", [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.3, 0.7), (0.0, 0.0)]
)
def test_any_promise_about_the_mixture_gives_the_same_gradients(
    gradient_weights: tuple[float, float],
) -> None:
    inputs = problem()
    sums = distillation_sums(*inputs, chunk_tokens=4, gradient_weights=gradient_weights)
    assert_same(sums, dense(*inputs), inputs[0], inputs[1])


@pytest.mark.parametrize("chunk_tokens", [1, 7, 15, 1000, None])
def test_chunks_of_any_size(chunk_tokens: int | None) -> None:
    inputs = problem()
    assert_same(
        distillation_sums(*inputs, chunk_tokens=chunk_tokens), dense(*inputs), inputs[0], inputs[1]
    )


@pytest.mark.parametrize("teacher_size", [V, V + 6, V - 6])
@pytest.mark.parametrize("caps", [(None, None), (3.0, None), (2.0, 30.0)])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_bias_cap_weights_and_vocabulary_sizes(
    teacher_size: int, caps: tuple[float | None, float | None], temperature: float
) -> None:
    inputs = problem(teacher_size)
    bias, teacher_bias = normal(V, seed=4).requires_grad_(), normal(teacher_size, seed=5)
    weight = normal(T, seed=6).abs()
    weight[3] = 0.0
    sums = distillation_sums(
        *inputs,
        student_bias_V=bias,
        teacher_bias_W=teacher_bias,
        student_softcap=caps[0],
        teacher_softcap=caps[1],
        weight_T=weight,
        kd_temperature=temperature,
        chunk_tokens=6,
    )
    exact = dense(
        *inputs,
        temperature=temperature,
        bias=bias,
        teacher_bias=teacher_bias,
        caps=caps,
        weight=weight,
    )
    assert_same(sums, exact, inputs[0], inputs[1], bias)
    assert int(sums.tokens) == int(
        (inputs[4] != -100).sum()
    )  # a weight of 0 is still a trained token


def test_t_squared_multiplies_the_divergence_only() -> None:
    inputs = problem()
    plain, squared = (
        distillation_sums(*inputs, kd_temperature=3.0, t_squared=x) for x in (False, True)
    )
    torch.testing.assert_close(squared.kd, 9 * plain.kd, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(squared.ce, plain.ce, rtol=1e-5, atol=1e-5)
    ours, reference = (torch.autograd.grad(x.kd, inputs[0])[0] for x in (squared, plain))
    torch.testing.assert_close(ours, 9 * reference, rtol=1e-5, atol=1e-5)


def test_tied_embedding_gets_both_gradients_once() -> None:
    embedding = torch.nn.Embedding(V, H)
    ids = torch.arange(T) % V
    teacher, teacher_head, labels = problem()[2:]

    def gradient(total: torch.Tensor) -> torch.Tensor:
        embedding.weight.grad = None
        total.backward()
        assert embedding.weight.grad is not None
        return embedding.weight.grad.clone()

    sums = distillation_sums(
        embedding(ids), embedding.weight, teacher, teacher_head, labels, chunk_tokens=4
    )
    exact = dense(embedding(ids), embedding.weight, teacher, teacher_head, labels)
    torch.testing.assert_close(
        gradient(sums.kd + sums.ce), gradient(sum(exact)), rtol=1e-5, atol=1e-5
    )


def test_adapter_on_the_head_is_trained_through_its_effective_weight() -> None:
    hidden, head, teacher, teacher_head, labels = problem()
    a, b = normal(2, H, seed=7).requires_grad_(), normal(V, 2, seed=8).requires_grad_()
    frozen = head.detach()
    sums = distillation_sums(
        hidden, frozen + 0.5 * b @ a, teacher, teacher_head, labels, chunk_tokens=4
    )
    assert_same(
        sums, dense(hidden, frozen + 0.5 * b @ a, teacher, teacher_head, labels), hidden, a, b
    )


def test_frozen_head_and_frozen_teacher_get_no_gradient() -> None:
    hidden, head, teacher, teacher_head, labels = problem()
    head, teacher, teacher_head = (
        head.detach(),
        teacher.requires_grad_(),
        teacher_head.requires_grad_(),
    )
    sums = distillation_sums(hidden, head, teacher, teacher_head, labels)
    (sums.kd + sums.ce).backward()
    assert hidden.grad is not None
    assert head.grad is teacher.grad is teacher_head.grad is None


def test_without_a_teacher_it_is_cross_entropy() -> None:
    hidden, head, _, _, labels = problem()
    sums = distillation_sums(hidden, head, None, None, labels, chunk_tokens=4, divergence="srkl")
    exact = F.cross_entropy(hidden.double() @ head.double().T, labels, reduction="sum")
    assert float(sums.kd.detach()) == 0.0
    torch.testing.assert_close(sums.ce.double(), exact, rtol=1e-5, atol=0)
    ours, true = (
        torch.autograd.grad(x, (hidden, head))
        for x in (0.25 * sums.kd + 0.5 * sums.ce, 0.5 * exact)
    )
    for mine, other in zip(ours, true, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def test_any_function_of_two_distributions_is_a_divergence() -> None:
    def squared_distance(p: torch.Tensor, q: torch.Tensor, power: float = 2.0) -> torch.Tensor:
        return (p.exp() - q.exp()).abs().pow(power).sum(-1)

    hidden, head, teacher, teacher_head, labels = problem()
    sums = distillation_sums(
        hidden,
        head,
        teacher,
        teacher_head,
        labels,
        divergence=squared_distance,
        params={"power": 3.0},
        chunk_tokens=4,
    )
    p, q = (x.double().softmax(-1) for x in (teacher @ teacher_head.T, hidden @ head.T))
    exact = ((p - q).abs() ** 3)[labels != -100].sum()
    torch.testing.assert_close(sums.kd.double(), exact, rtol=1e-5, atol=0)
    ours, true = (torch.autograd.grad(x, (hidden, head)) for x in (sums.kd, exact))
    for mine, other in zip(ours, true, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def test_a_divergence_that_reduces_too_much_is_refused() -> None:
    with pytest.raises(ConfigError, match="one number per position"):
        distillation_sums(*problem(), divergence=lambda p, q: forward_kl(p, q).mean())


def test_second_backward_and_no_grad() -> None:
    inputs = problem()
    sums = distillation_sums(*inputs)
    first = torch.autograd.grad(sums.kd + sums.ce, inputs[:2], retain_graph=True)
    for mine, again in zip(first, torch.autograd.grad(sums.kd + sums.ce, inputs[:2]), strict=True):
        torch.testing.assert_close(mine, again, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        silent = distillation_sums(*inputs)
    assert not silent.kd.requires_grad
    torch.testing.assert_close(silent[:2], tuple(x.detach() for x in sums[:2]), rtol=1e-5, atol=0)


def test_loss_scale_reaches_every_gradient() -> None:
    inputs = problem()
    sums = distillation_sums(*inputs, gradient_weights=(0.5, 0.5))
    plain = torch.autograd.grad(0.5 * sums.kd + 0.5 * sums.ce, inputs[:2], retain_graph=True)
    scaled = torch.autograd.grad((0.5 * sums.kd + 0.5 * sums.ce) * 1024 / 7, inputs[:2])
    for mine, other in zip(scaled, plain, strict=True):
        torch.testing.assert_close(mine, other * 1024 / 7, rtol=1e-4, atol=1e-3)


def test_bfloat16_is_multiplied_as_such_and_read_as_float32() -> None:
    hidden, head, teacher, teacher_head, labels = (x.detach() for x in problem())
    half = [x.bfloat16() for x in (hidden, head, teacher, teacher_head)]
    half[0].requires_grad_(), half[1].requires_grad_()
    sums = distillation_sums(*half, labels, chunk_tokens=4)
    assert sums.kd.dtype == sums.ce.dtype == torch.float32
    exact = dense(*(x.detach().float() for x in half), labels)
    torch.testing.assert_close(
        torch.stack(sums[:2]).double(), torch.stack(exact), rtol=1e-2, atol=1e-2
    )
    gradients = torch.autograd.grad(sums.kd + sums.ce, half[:2])
    leaves = [x.detach().float().requires_grad_() for x in half[:2]]
    for mine, true in zip(
        gradients, torch.autograd.grad(sum(dense(*leaves, *half[2:], labels)), leaves), strict=True
    ):
        assert mine.dtype == torch.bfloat16
        assert (mine.float() - true).norm() <= 2e-2 * true.norm()


def test_autocast_multiplies_in_its_dtype_and_keeps_float32_gradients() -> None:
    inputs = problem()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sums = distillation_sums(*inputs, chunk_tokens=4)
        (sums.kd + sums.ce).backward()
    cast = [x.detach().bfloat16() for x in inputs[:4]]
    same = distillation_sums(*cast, inputs[4], chunk_tokens=4)
    torch.testing.assert_close(
        sums.kd.detach(), same.kd, rtol=1e-3, atol=0
    )  # products rounded to bfloat16 sum up in the kernel's order
    assert inputs[0].grad is not None and inputs[1].grad is not None
    assert inputs[0].grad.dtype == inputs[1].grad.dtype == torch.float32
    true = torch.autograd.grad(sum(dense(*inputs)), inputs[:2])
    for leaf, other in zip(inputs[:2], true, strict=True):
        assert leaf.grad is not None
        assert (leaf.grad - other).norm() <= 2e-2 * other.norm()


def test_teacher_in_half_precision_beside_a_float32_student() -> None:
    hidden, head, teacher, teacher_head, labels = problem()
    sums = distillation_sums(hidden, head, teacher.bfloat16(), teacher_head.bfloat16(), labels)
    exact = dense(hidden, head, teacher.bfloat16(), teacher_head.bfloat16(), labels)
    torch.testing.assert_close(
        torch.stack(sums[:2]).double(), torch.stack(exact), rtol=1e-2, atol=1e-2
    )
    assert torch.autograd.grad(sums.kd, head)[0].dtype == torch.float32


def test_different_vocabularies_are_announced_once(caplog: pytest.LogCaptureFixture) -> None:
    inputs = problem(V + 11)
    with caplog.at_level(logging.WARNING, logger="stillage"):
        distillation_sums(*inputs)
        distillation_sums(*inputs)
    assert [record.getMessage() for record in caplog.records] == [
        f"Vocabularies of {V} (student) and {V + 11} (teacher) ids: the first {V} are compared, the others are left out."
    ]


def test_ids_the_teacher_lacks_are_moved_by_cross_entropy_only() -> None:
    hidden, head, teacher, teacher_head, labels = problem(V - 9)
    sums = distillation_sums(hidden, head, teacher, teacher_head, labels)
    kd, ce = (
        torch.autograd.grad(x, head, retain_graph=True)[0][V - 9 :] for x in (sums.kd, sums.ce)
    )
    assert not kd.any()
    assert ce.any()


def test_ignored_positions_may_hold_anything() -> None:
    hidden, head, teacher, teacher_head, labels = problem()
    broken = [
        torch.where((labels == -100)[:, None], float("nan"), x.detach()) for x in (hidden, teacher)
    ]
    broken[0].requires_grad_()
    sums = distillation_sums(broken[0], head, broken[1], teacher_head, labels)
    torch.testing.assert_close(
        torch.stack(sums[:2]), torch.stack(distillation_sums(*problem())[:2]), rtol=1e-5, atol=0
    )
    gradient = torch.autograd.grad(sums.kd + sums.ce, broken[0])[0]
    assert not gradient[labels == -100].any()
    assert gradient.isfinite().all()


def test_another_ignore_index() -> None:
    hidden, head, teacher, teacher_head, labels = problem()
    relabelled = torch.where(labels == -100, 7, torch.where(labels == 7, 8, labels))
    sums = distillation_sums(hidden, head, teacher, teacher_head, relabelled, ignore_index=7)
    exact = dense(
        hidden, head, teacher, teacher_head, torch.where(relabelled == 7, -100, relabelled)
    )
    torch.testing.assert_close(
        torch.stack(sums[:2]).double(), torch.stack(exact), rtol=1e-5, atol=1e-5
    )


def test_blocks_of_a_large_vocabulary_change_nothing() -> None:
    size = 9000  # more than two blocks
    hidden, head = normal(9, H, seed=1).requires_grad_(), normal(size, H, seed=2).requires_grad_()
    teacher, teacher_head, labels = (
        normal(9, G, seed=3),
        normal(size, G, seed=4),
        torch.arange(9) * 999,
    )
    sums = distillation_sums(hidden, head, teacher, teacher_head, labels, chunk_tokens=4)
    assert_same(sums, dense(hidden, head, teacher, teacher_head, labels), hidden, head)


def test_no_tensor_is_as_large_as_positions_times_vocabulary() -> None:
    """Every tensor autograd or the loop makes is seen by a dispatch mode; none reaches a third of [T, V]."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> object:  # noqa: ANN001
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for x in out if isinstance(out, tuple | list) else (out,):
                largest = max(largest, x.numel() if isinstance(x, torch.Tensor) else 0)
            return out

    hidden, head = normal(64, 4, seed=0).requires_grad_(), normal(500, 4, seed=1).requires_grad_()
    with Watch():
        for name in ("fkl", "jsd", "akl"):
            sums = distillation_sums(
                hidden,
                head,
                normal(64, 4, seed=2),
                normal(500, 4, seed=3),
                torch.arange(64),
                divergence=name,
                chunk_tokens=16,
            )
            (sums.kd + 2 * sums.ce).backward()
    assert largest == 16 * 500


@pytest.mark.parametrize("n", [0, 1, 5, 64, 100])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_chunks_cover_every_position_once(n: int, size: int) -> None:
    rows = [i for part in chunked._chunks(n, size) for i in range(*part.indices(n))]
    assert rows == list(range(n))
    lengths = [len(range(*part.indices(n))) for part in chunked._chunks(n, size)]
    assert all(length <= size for length in lengths)
    assert all(a >= b for a, b in pairwise(lengths))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"labels_T": torch.full((T,), V)}, DataError, f"labels {V} to {V}"),
        ({"labels_T": torch.zeros(T - 1, dtype=torch.long)}, ModelError, f"labels ({T - 1},)"),
        ({"student_head_VH": torch.zeros(V, H + 1)}, ModelError, f"head ({V}, {H + 1})"),
        ({"teacher_hidden_TG": torch.zeros(T + 1, G)}, ModelError, f"hidden ({T + 1}, {G})"),
        ({"teacher_head_WG": None}, ModelError, "hidden states without a head"),
        ({"teacher_hidden_TG": None}, ModelError, "a head without hidden states"),
        ({"student_bias_V": torch.zeros(V + 1)}, ModelError, f"bias ({V + 1},)"),
        ({"weight_T": torch.zeros(T, 1)}, ModelError, f"weight_T ({T}, 1)"),
        ({"kd_temperature": 0.0}, ConfigError, "kd_temperature = 0.0"),
        ({"student_softcap": -1.0}, ConfigError, "student_softcap = -1.0"),
        ({"chunk_tokens": 0}, ConfigError, "chunk_tokens = 0"),
        ({"divergence": "kld"}, ConfigError, "divergence = 'kld'"),
        ({"divergence": "jsd", "params": {"alpha": 0.1}}, ConfigError, "alpha"),
    ],
)
def test_bad_input_is_refused_with_its_values(
    change: dict[str, object], error: type[UserError], says: str
) -> None:
    names = (
        "student_hidden_TH",
        "student_head_VH",
        "teacher_hidden_TG",
        "teacher_head_WG",
        "labels_T",
    )
    arguments: dict = dict(zip(names, problem(), strict=True)) | change
    with pytest.raises(error) as caught:
        distillation_sums(**arguments)
    assert says in caught.value.values
    assert caught.value.fix
