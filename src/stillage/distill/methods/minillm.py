"""MiniLLM: policy gradient on the reverse KL, texts by both (arXiv:2306.08543).

Gu et al. 2024, section 2.2, equation 7. Every cycle num_rollouts prompts are answered once, token
by token from (1 - a) q + a p, and trained for inner_epochs:

    sum_t w_t KL(q_t || p_t)                                                    the single step,
    exact
  + sum_t max(-A_t rho_t, -A_t clip(rho_t, 1 - clip, 1 + clip))                 all that follows
    rho_t = w_t q(y_t) / q_old(y_t);  w_t = q_old(y_t) / ((1 - a) q_old(y_t) + a p(y_t))
    A_t = mean over s > t of gamma^(s - t - 1) r_s, whitened;  r_s = log p(y_s) - log q_old(y_s)

The student is trained without dropout, so that it stays the one that wrote. The language-model loss
on a plain-text corpus, which the paper adds, is the training's own option.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from stillage.errors import ConfigError
from stillage.run.ranges import ANY, POSITIVE, SHARE, SOME, check_group
from stillage.types import Array, Decoding, Method, MixedRollout, Step, Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """The paper's settings, with masked whitening."""

    num_rollouts: int = 256
    """Texts written at once, one per prompt; rounded to whole steps, at most an epoch and at most
    what will be trained."""
    inner_epochs: int = 4
    """Passes over them before the next are written."""
    teacher_share: float = 0.2
    """a: share of the teacher in the distribution that each token is drawn from."""
    max_new_tokens: int = 256
    """Longest text, in tokens; drawn at temperature 1 from the whole vocabulary, since the weights
    are those of q itself."""
    clip: float = 0.2
    """The ratio of the policies is kept within 1 +- clip."""
    gamma: float = 1.0
    """Discount of later rewards (the released code: 0.95)."""
    length_norm: bool = True
    """The mean of later rewards instead of their sum, which long texts make large."""
    own_reward: bool = False
    """Credit a token with its own reward too, which the single step covers (the code does)."""
    whiten: bool = True
    """Advantages get mean 0 and variance 1 over the tokens of a step. Not in the paper; its code
    has it, padding included."""
    reward_scaling: float = 1.0
    """Rewards are divided by it (the released scripts: 0.5)."""
    reward_clip: float = 0.0
    """Rewards are kept within +- this; 0: no limit (the released scripts: 100)."""
    single_step: bool = True
    """Add the exact gradient of each token's own reverse KL."""
    weigh_single_step: bool = True
    """Weigh it with w_t as well (equation 7; the released code does not, on purpose)."""

    def __post_init__(self) -> None:
        """ConfigError for a value outside its range."""
        check_group(self, dict.fromkeys(("num_rollouts", "inner_epochs", "max_new_tokens"), SOME))
        check_group(self, dict.fromkeys(("gamma", "clip", "teacher_share"), SHARE))
        check_group(self, {"reward_scaling": POSITIVE, "reward_clip": ANY})
        if self.teacher_share == 1:
            what = "A text that the teacher writes alone says nothing about the student's."
            raise ConfigError(what, "teacher_share = 1", "Choose less, or use --method seqkd.")


def terms(step: Step, params: Params) -> Terms:
    """{"policy": the clipped loss, "single_step": sum_t w_t KL(q_t || p_t)}."""
    from stillage.distill.objective import sums
    from stillage.functional.policy_gradient import clipped_policy_loss
    from stillage.functional.readout import token_logp

    logq_T, extras = token_logp(step.student, step.labels_T), step.extras
    weight_T = extras["weight"]
    old_T, advantage_T = extras["logq"], extras["advantage"]
    policy = clipped_policy_loss(logq_T, old_T, advantage_T, weight_T, clip=params.clip)
    if not params.single_step:
        return {"policy": policy}
    own_T = weight_T if params.weigh_single_step else None
    single = sums(step, divergence="rkl", weights=(1.0, 0.0), weight_T=own_T).kd
    return {"policy": policy, "single_step": single}


def annotate(params: Params, texts: list[tuple[Array, Array]]) -> list[Mapping[str, Array]]:
    """The extras of each text: log q_old, advantage, importance weight of each token."""
    from stillage.functional import policy_gradient as pg

    advantages = []
    for logq_T, logp_T in texts:
        scaling, clip = params.reward_scaling, params.reward_clip
        reward_T = pg.rewards(logq_T, logp_T, scaling=scaling, clip=clip)
        gamma, norm, own = params.gamma, params.length_norm, params.own_reward
        advantages.append(pg.rewards_to_go(reward_T, gamma=gamma, length_norm=norm, own=own))
    if params.whiten:
        advantages = pg.whiten(advantages)
    return [
        {
            "logq": logq_T,
            "advantage": advantage_T,
            "weight": pg.importance_weights(logq_T, logp_T, params.teacher_share),
        }
        for (logq_T, logp_T), advantage_T in zip(texts, advantages, strict=True)
    ]


def rollout(params: Params) -> MixedRollout:
    """Cycles of texts by student and teacher."""
    return MixedRollout(
        decoding=Decoding(max_new_tokens=params.max_new_tokens, sampling_temperature=1.0),
        teacher_share=params.teacher_share,
        cycle_records=params.num_rollouts,
        inner_epochs=params.inner_epochs,
        annotate=partial(annotate, params),
    )


METHOD = Method(
    name="minillm",
    paper="arXiv:2306.08543",
    params=Params,
    terms=terms,
    rollout=rollout,
    presets={
        "paper": {"whiten": False},
        # Discounted, own reward included, single step unweighted, rewards doubled and clipped.
        "as_released": {
            "gamma": 0.95,
            "own_reward": True,
            "weigh_single_step": False,
            "reward_scaling": 0.5,
            "reward_clip": 100.0,
        },
    },
)
