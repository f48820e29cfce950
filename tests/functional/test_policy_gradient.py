"""Policy gradient and teacher-mixed sampling against brute force and the golden vectors; what is not reproduced is listed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from stillage.functional import policy_gradient as pg
from stillage.functional.divergence import reverse_kl
from stillage.functional.readout import token_logp
from stillage.models.generate import Decoding, Mixture
from stillage.types import Head, Readout

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
MANIFEST = json.loads((GOLDEN / "policy_gradient_distillation.json").read_text())
TENSORS = load_file(GOLDEN / MANIFEST["tensors_file"])
CASES = {case["name"]: case for case in MANIFEST["cases"]}
SECTION = (
    (ROOT / "docs" / "explanation" / "differences.md").read_text().split("## Policy gradient", 1)[1]
)
LISTED = re.findall(r"^\| (.*?) \|", SECTION.split("\n## ", 1)[0], re.M)[1:]
LISTED_CASES = [name for names in LISTED for name in re.findall(r"`([^`]+)`", names)]


def given_of(case: dict) -> SimpleNamespace:
    return SimpleNamespace(
        **{name: TENSORS[tensor] for name, tensor in case["input_roles"].items()}
    )


def wanted_of(case: dict) -> SimpleNamespace:
    tensors = {
        k: TENSORS[v] if isinstance(v, str) else torch.tensor(v)
        for k, v in case["expected"].items()
    }
    return SimpleNamespace(**tensors)


def close(ours: torch.Tensor | np.ndarray | float, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(torch.as_tensor(ours).float(), theirs.float(), rtol=1e-4, atol=1e-5)


def logits_of(weight_VV: torch.Tensor, query: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    """A bigram model at the positions that predict the response."""
    read = torch.cat([query, response], 1)[:, query.shape[1] - 1 : -1]
    return weight_VV[read]


def read_mask(query: torch.Tensor, response: torch.Tensor, pad: int) -> torch.Tensor:
    """Up to the end of text, included: the token before is no padding."""
    return torch.cat([query, response], 1)[:, query.shape[1] - 1 : -1] != pad


def logp_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    flat = Readout(logits.flatten(0, 1), Head(None))
    return token_logp(flat, labels.flatten()).view_as(labels)


def entropies(case: dict) -> None:
    inputs, wanted = given_of(case), wanted_of(case)
    whole = inputs.mask.bool() & ~(inputs.inf_mask | inputs.logits_1.isinf()).any(-1)
    assert whole.sum() >= 3
    found = reverse_kl(
        torch.log_softmax(inputs.logits_2, -1), torch.log_softmax(inputs.logits_1, -1)
    )
    close(found[whole], (wanted.cross_entropy - wanted.entropy)[whole])


def token_log_probs(case: dict) -> None:
    inputs = given_of(case)
    close(logp_of(inputs.logits_1, inputs.ids) * inputs.mask, wanted_of(case).log_probs)


def whitening(case: dict) -> None:
    found = pg.whiten([row.numpy() for row in given_of(case).xs])
    close(np.stack(found), wanted_of(case).distributed_biased_variance)


def log_probs(case: dict) -> None:
    inputs, wanted = given_of(case), wanted_of(case)
    mask = read_mask(inputs.query_ids, inputs.response_ids, 10)
    for weight, name in (
        ("student_W", "student_log_probs"),
        ("teacher_W", "teacher_log_probs"),
        ("teacher_W", "rewards"),
    ):
        if hasattr(inputs, weight) and hasattr(wanted, name):
            logits = logits_of(getattr(inputs, weight), inputs.query_ids, inputs.response_ids)
            close(logp_of(logits, inputs.response_ids) * mask, getattr(wanted, name))


def rewards_to_go(case: dict) -> None:
    """The text without padding; the others too, once nothing is paid for padding."""
    inputs, wanted, gamma = given_of(case), wanted_of(case), case["options"]["gamma"]
    options = {"gamma": gamma, "length_norm": True, "own": True}
    full = inputs.mask.bool().all(1)
    close(
        pg.rewards_to_go(inputs.rewards[full][0].numpy(), **options),
        wanted.advantages_unwhitened[full][0],
    )
    total = pg.rewards_to_go(
        inputs.rewards[full][0].numpy(), gamma=gamma, length_norm=False, own=True
    )[0]
    close(total, wanted.cumulative_reward[full][0])


def clipped_loss(case: dict) -> None:
    inputs, wanted = given_of(case), wanted_of(case)
    kept = inputs.mask.bool()
    logq = inputs.logprobs.clone().requires_grad_()
    loss = pg.clipped_policy_loss(
        logq[kept], inputs.old_logprobs[kept], inputs.advantages[kept], inputs.w[kept], clip=0.2
    )
    loss = loss / kept.sum()
    close(loss, wanted.loss)
    close(torch.autograd.grad(loss, logq)[0], wanted.grad_logprobs)


def rollout_features(case: dict) -> None:
    inputs, wanted, share = (
        given_of(case),
        wanted_of(case),
        case["options"]["teacher_mixed_alpha"] or 0.0,
    )
    query, response = inputs.query_ids, inputs.mixed_response_ids
    mask = read_mask(query, response, 10)
    assert torch.equal(mask, wanted.mask.bool())
    logq, logp = (
        logp_of(logits_of(w, query, response), response)
        for w in (inputs.student_W, inputs.teacher_W)
    )
    close(logq[mask], wanted.logprobs[mask])
    close(logp[mask], wanted.t_rewards[mask])
    close(
        pg.rewards(logq.numpy(), logp.numpy(), scaling=1.0, clip=10.0)[mask.numpy()],
        wanted.rewards[mask],
    )
    close(pg.importance_weights(logq[mask].numpy(), logp[mask].numpy(), share), wanted.w[mask])


def whole_loss(case: dict) -> None:
    """With the published advantages, whitened over padding, ours is the published loss and gradient."""
    inputs, wanted, options = given_of(case), wanted_of(case), case["options"]
    query, response = inputs.query_tensors, inputs.response_tensors
    mask = read_mask(query, response, 10)
    padded = [
        pg.rewards_to_go(row.numpy(), gamma=0.95, length_norm=False, own=True)
        for row in inputs.rewards
    ]
    left = mask.long().flip(1).cumsum(1).flip(1).clamp(min=1)
    advantages = torch.from_numpy(np.stack(pg.whiten(list(np.stack(padded) / left.numpy()))))
    weight = inputs.new_student_W.clone().requires_grad_()
    logits = logits_of(weight, query, response).masked_fill(inputs.inf_mask, -torch.inf)
    logq = logp_of(logits, response)
    policy = pg.clipped_policy_loss(
        logq[mask], inputs.logprobs[mask], advantages[mask], inputs.w[mask], clip=0.2
    )
    close(policy / mask.sum(), wanted.pg_loss)
    whole = mask & ~inputs.inf_mask.any(-1)
    p = torch.log_softmax(logits_of(inputs.teacher_W, query, response), -1)
    single = reverse_kl(p[whole], torch.log_softmax(logits, -1)[whole]).sum()
    if bool((whole == mask).all()):
        close(single / mask.sum(), wanted.reg_loss)
        loss = (policy + (single if options["single_step_reg"] else 0.0)) / mask.sum()
        close(loss, wanted.loss)
        close(torch.autograd.grad(loss, weight)[0], wanted.grad_new_student_W)
    else:
        assert float(single / mask.sum()) <= float(wanted.reg_loss) + 1e-5


def mixture(case: dict) -> None:
    inputs, wanted = given_of(case), wanted_of(case)
    warped = "temperature" in case["name"]
    decoding = (
        Decoding(sampling_temperature=0.8, top_k=5)
        if warped
        else Decoding(sampling_temperature=1.0)
    )
    chosen = inputs.forced_next_tokens
    chosen = chosen if chosen.shape[0] == wanted.probs_per_step.shape[0] else chosen.T
    last, ended = inputs.prompt_ids[:, -1], torch.zeros(len(inputs.prompt_ids), dtype=torch.bool)
    for step, probs in enumerate(wanted.probs_per_step):
        weights = {"student": inputs.student_W, "teacher": inputs.teacher_W}
        streams = [
            SimpleNamespace(name=name, logits_BV=weight[last]) for name, weight in weights.items()
        ]
        mixed = Mixture(*streams, share=case["options"]["alpha"], decoding=decoding)
        close(mixed.logits_BV.exp()[~ended], probs[~ended])
        last = wanted.sequences[:, inputs.prompt_ids.shape[1] + step]
        ended |= last == 10


def trl_advantage(case: dict) -> None:
    inputs, wanted, options = given_of(case), wanted_of(case), case["options"]
    settings = {
        "gamma": options["gamma"],
        "length_norm": options["length_normalization"],
        "own": True,
    }
    for row, kept in enumerate(inputs.mask.bool()):
        logq, logp = (
            inputs.student_log_probs_on_labels[row].numpy(),
            inputs.teacher_log_probs_on_labels[row].numpy(),
        )
        for mask, name in ((kept, "advantage"), (torch.ones_like(kept), "advantage_no_mask")):
            paid = pg.rewards(logq, logp, scaling=1.0, clip=0.0)[mask.numpy()]
            found = torch.from_numpy(
                pg.rewards_to_go(paid, **settings)
            )  # TRL counts a masked token as 1e-4 of one
            torch.testing.assert_close(
                found, getattr(wanted, name)[row][mask], rtol=5e-4, atol=1e-5
            )


def trl_single_step(case: dict) -> None:
    inputs, wanted, kept = given_of(case), wanted_of(case), given_of(case).mask.bool()
    found = reverse_kl(inputs.teacher_log_probs, inputs.student_log_probs)
    vocabulary = inputs.student_log_probs.shape[-1]
    for values, sequences, loss in (
        (found[kept], 0, wanted.loss),
        (found.flatten(), len(found), wanted.loss_no_mask),
    ):
        divisor = {
            "sum": 1,
            "batchmean": sequences or len(values),
            "mean": len(values) * vocabulary,
        }
        close(values.sum() / divisor[case["options"]["reduction"]], loss)


CHECKS = {
    "entropy_and_cross_entropy": entropies,
    "log_probs_of_tokens": token_log_probs,
    "whiten": whitening,
    "teacher_reward": log_probs,
    "rollout_log_probs": log_probs,
    "reward_to_go_length_normalised": rewards_to_go,
    "clipped_policy_gradient_loss": clipped_loss,
    "rollout_features": rollout_features,
    "ppo_loss": whole_loss,
    "teacher_mixed_sampling": mixture,
    "trl_reverse_kl_advantage": trl_advantage,
    "trl_single_step_regularisation": trl_single_step,
}
PARTLY = (
    "entropy_and_cross_entropy",
    "whiten",
    "reward_to_go_length_normalised",
    "rollout_features",
    "ppo_loss",
)
"""Listed, but what is common is checked too."""


@pytest.mark.parametrize("name", CASES)
def test_each_golden_case_is_reproduced_or_listed(name: str) -> None:
    family = name.split("/")[0]
    if name not in LISTED_CASES or family in PARTLY:
        CHECKS[family](CASES[name])
    else:
        assert family not in CHECKS or raises(CHECKS[family], CASES[name]), (
            f"{name} is reproduced: do not list it"
        )


def raises(check: object, case: dict) -> bool:
    try:
        check(case)  # pyright: ignore[reportCallIssue]
    except AssertionError:
        return True
    return False


def test_the_list_names_only_golden_cases_and_each_once() -> None:
    assert set(LISTED_CASES) <= set(CASES) and len(set(LISTED_CASES)) == len(LISTED_CASES)


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=9),
    st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    st.booleans(),
    st.booleans(),
)
def test_rewards_to_go_by_its_definition(
    reward: list[float], gamma: float, length_norm: bool, own: bool
) -> None:
    found = pg.rewards_to_go(np.array(reward), gamma=gamma, length_norm=length_norm, own=own)
    for t in range(len(reward)):
        later = reward[t:] if own else reward[t + 1 :]
        total = sum(value * gamma**k for k, value in enumerate(later))
        assert found[t] == pytest.approx(
            total / (max(1, len(later)) if length_norm else 1), abs=1e-5
        )


def test_no_teacher_share_is_no_weight_and_weights_average_to_one() -> None:
    """E over the mixture of w is 1, for any share."""
    rng = np.random.default_rng(1)
    logq, logp = (np.log(rng.dirichlet(np.ones(7))) for _ in range(2))
    assert np.array_equal(pg.importance_weights(logq, logp, 0.0), np.ones(7, np.float32))
    for share in (0.1, 0.5, 0.9):
        drawn = (1 - share) * np.exp(logq) + share * np.exp(logp)
        assert float((drawn * pg.importance_weights(logq, logp, share)).sum()) == pytest.approx(
            1, abs=1e-6
        )


@pytest.mark.parametrize("softcap", [None, 3.0])
def test_token_logp_in_chunks_is_the_dense_one_with_its_gradient(softcap: float | None) -> None:
    torch.manual_seed(0)
    hidden, head, bias = (
        torch.randn(7, 5, dtype=torch.float64),
        torch.randn(11, 5, dtype=torch.float64),
        torch.randn(11),
    )
    labels = torch.arange(7)
    leaves = [tensor.float().requires_grad_() for tensor in (hidden, head, bias)]
    out = Readout(leaves[0], Head(leaves[1], leaves[2], softcap))
    found = token_logp(out, labels, elements=3 * 11)
    dense = [tensor.double().requires_grad_() for tensor in (hidden, head, bias)]
    logits = dense[0] @ dense[1].T + dense[2]
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    oracle = torch.log_softmax(logits, -1)[torch.arange(7), labels]
    torch.testing.assert_close(found.double(), oracle, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(
        torch.autograd.grad(found.cos().sum(), leaves),
        torch.autograd.grad(oracle.cos().sum(), dense),
        strict=True,
    ):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5)


def test_the_policy_gradient_is_that_of_the_reverse_kl_by_brute_force() -> None:
    """Texts of two tokens over three words: single step + long term, averaged over all texts, is d KL(q||p) / d theta."""
    torch.manual_seed(0)
    first, second = torch.randn(3, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    p1, p2 = (
        torch.log_softmax(torch.randn(3, dtype=torch.float64), -1),
        torch.log_softmax(torch.randn(3, 3).double(), -1),
    )
    first.requires_grad_()
    second.requires_grad_()
    q1, q2 = torch.log_softmax(first, -1), torch.log_softmax(second, -1)
    joint_q, joint_p = q1[:, None] + q2, p1[:, None] + p2
    exact = torch.autograd.grad(
        (joint_q.exp() * (joint_q - joint_p)).sum(), [first, second], retain_graph=True
    )
    total = torch.zeros((), dtype=torch.float64)
    for a in range(3):
        for b in range(3):
            logq, logp = torch.stack([q1[a], q2[a, b]]), torch.stack([p1[a], p2[a, b]])
            mixed = [
                0.7 * q.exp() + 0.3 * p.exp() for q, p in ((q1[a], p1[a]), (q2[a, b], p2[a, b]))
            ]
            drawn = (mixed[0] * mixed[1]).detach()
            weight = torch.from_numpy(
                pg.importance_weights(logq.detach().numpy(), logp.numpy(), 0.3).astype(np.float64)
            )
            before = torch.tensor(
                [1.0, float(weight[0])]
            )  # exact weights of the text so far, which the paper drops
            reward = pg.rewards(logq.detach().numpy(), logp.numpy(), scaling=1.0, clip=0.0)
            advantage = torch.from_numpy(
                pg.rewards_to_go(reward, gamma=1.0, length_norm=False, own=False)
            )
            later = torch.tensor(
                [float(weight[1]), 1.0]
            )  # the reward that follows is drawn from the mixture as well
            kl = torch.stack([(q1.exp() * (q1 - p1)).sum(), (q2[a].exp() * (q2[a] - p2[a])).sum()])
            long = pg.clipped_policy_loss(logq, logq.detach(), advantage * later, weight, clip=1e9)
            total = total + drawn * (long + (before * kl).sum())
    for ours, theirs in zip(torch.autograd.grad(total, [first, second]), exact, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
