"""Write text: greedy or sampled, the same for any batch, order and process count.

Sampling is Gumbel-max: next = argmax_v (l_v / temperature + g_v), with g_v = -log e_v and e_v ~
Exp(1) drawn by (seed, name of the row, position, v) alone; the distribution is softmax(l /
temperature) over the tokens that top-k and top-p leave (Gumbel 1954; Maddison et al. 2014, arXiv
1411.0030). Greedy is the same without noise.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.errors import ConfigError, ModelError
from stillage.models.batching import run_batches
from stillage.models.decoder import evaluating
from stillage.models.lengths import growing_kinds
from stillage.models.prompts import answer_room
from stillage.models.stream import Stream
from stillage.rng import generator
from stillage.types import Decoding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedModel

    from stillage.models.prompts import Prompts, TextRules
    from stillage.run.config import GenerateConfig
    from stillage.run.progress import Done

log = logging.getLogger("stillage")


def configured(options: GenerateConfig) -> Decoding:
    """Return the decoding that a config's settings mean."""
    return Decoding(
        max_new_tokens=options.max_new_tokens,
        sampling_temperature=options.sampling_temperature,
        top_p=options.top_p,
        top_k=options.top_k,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Partner:
    """A second model that writes along: (1 - share) own + share its."""

    model: PreTrainedModel
    share: float


def generate(
    model: PreTrainedModel,
    prompts: Prompts,
    decoding: Decoding,
    rules: TextRules,
    *,
    partner: Partner | None = None,
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> list[np.ndarray]:
    """Continue every prompt; the new ids alone, int32, the end of text included.

    A row stops there, after max_new_tokens, or at the end of the model's context; how many the
    context cuts is said in the log, unless the rules set a limit of their own. The model is used in
    eval mode, and left as it was. progress hears of every token. Raises ConfigError for settings
    without meaning, DataError for a prompt that is empty or fills the context, CapabilityError for
    a model that cannot go on where it stopped reading.
    """
    check_decoding(decoding)
    writers = [model] if partner is None else [model, partner.model]
    ids = prompts.ids
    context, budgets = answer_room(writers, prompts, rules, decoding.max_new_tokens)
    short = sum(budget < decoding.max_new_tokens for budget in budgets)
    if short and rules.most_tokens is None:
        log.warning(
            "%d of %d answers are cut at the model's context of %s tokens", short, len(ids), context
        )
    results = [np.zeros(0, np.int32)] * len(ids)
    lengths = [len(prompt) + budget for prompt, budget in zip(ids, budgets, strict=True)]
    answered, work = 0, 0  # of the batches that are done

    def run(batch: list[int]) -> None:
        nonlocal answered, work
        asked = [ids[row] for row in batch]
        stream, *others = [Stream(writer, asked, rules.pad_id) for writer in writers]
        shaped = decoding
        if partner is not None:
            stream = Mixture(stream, *others, share=partner.share, decoding=decoding)
            shaped = unwarped(decoding)
        written = continue_batch(
            stream,
            asked,
            [budgets[row] for row in batch],
            [generator(prompts.seed, "sample", prompts.names[row]) for row in batch],
            shaped,
            rules,
            lambda ended, share: tell(batch, ended, share),
        )
        for row, new in zip(batch, written, strict=True):
            results[row] = np.asarray(new, np.int32)
        answered, work = answered + len(batch), work + sum(lengths[row] for row in batch)

    def tell(batch: list[int], ended: int, share: float) -> None:
        if progress is not None:
            whole = work + share * sum(lengths[row] for row in batch)
            progress(answered + ended, len(ids), whole / sum(lengths))

    with evaluating(model), evaluating(writers[-1]):
        grown = growing_kinds(writers, list(map(len, ids)), lengths)
        run_batches(lengths, batch_tokens, run, kinds=grown)
    return results


def check_decoding(decoding: Decoding) -> None:
    """Require settings that mean something."""
    limits = {
        "max_new_tokens": (">= 1", decoding.max_new_tokens >= 1),
        "sampling_temperature": (">= 0 and finite", 0 <= decoding.sampling_temperature < np.inf),
        "top_p": ("in (0, 1]", 0 < decoding.top_p <= 1),
        "top_k": (">= 0", decoding.top_k >= 0),
        "no_repeat_ngram": (">= 0", decoding.no_repeat_ngram >= 0),
    }
    wrong = [
        f"{name} {getattr(decoding, name)}, wanted {wanted}"
        for name, (wanted, fine) in limits.items()
        if not fine
    ]
    if wrong:
        raise ConfigError(
            "No text can be generated with these settings.", "; ".join(wrong), "Change them."
        )


class Mixture:
    """Two models that read one text, and write the next token together.

    It is drawn from (1 - share) student + share teacher. Each model's temperature, top-k and top-p
    come first, then the mixture (MiniLLM, arXiv:2306.08543, section 2.2). The ids that both models
    know are the vocabulary.
    """

    def __init__(
        self, student: Stream, teacher: Stream, *, share: float, decoding: Decoding
    ) -> None:
        self.streams, self.share, self.decoding = (student, teacher), share, decoding
        self.name = f"{student.name} or {teacher.name}"

    @property
    def logits_BV(self) -> torch.Tensor:
        """Logarithms of the mixture's probabilities."""
        known = min(stream.logits_BV.shape[1] for stream in self.streams)
        logq_BV, logp_BV = (
            torch.log_softmax(warp(stream.logits_BV[:, :known], self.decoding), 1)
            for stream in self.streams
        )
        shares = [math.log(share) if share else -math.inf for share in (1 - self.share, self.share)]
        return torch.logaddexp(logq_BV + shares[0], logp_BV + shares[1])

    def step(self, chosen_B: torch.Tensor) -> None:
        """Let both read the tokens just written."""
        for stream in self.streams:
            stream.step(chosen_B)

    def keep(self, rows: list[int]) -> None:
        """Drop all other rows in both."""
        for stream in self.streams:
            stream.keep(rows)


def unwarped(decoding: Decoding) -> Decoding:
    """Return the settings for logits already shaped; ConfigError for greedy ones."""
    if decoding.sampling_temperature == 0:
        raise ConfigError(
            "A mixture of two models is sampled from, never decoded greedily.",
            "sampling_temperature = 0",
            "Set it above 0.",
        )
    return dataclasses.replace(decoding, sampling_temperature=1.0, top_p=1.0, top_k=0)


def continue_batch(
    stream: Stream | Mixture,
    prompts: Sequence[np.ndarray],
    budgets: Sequence[int],
    noises: Sequence[np.random.Generator],
    decoding: Decoding,
    rules: TextRules,
    tell: Callable[[int, float], None] = lambda ended, share: None,
) -> list[list[int]]:
    """Write until every row has stopped, and return the new ids of each.

    tell(rows that have stopped, share of the longest budget) is called after every token.
    """
    written: list[list[int]] = [[] for _ in prompts]
    live = list(range(len(prompts)))
    while True:
        logits_BV = stream.logits_BV[:, : rules.known_ids]
        if decoding.no_repeat_ngram:
            texts = [np.append(prompts[row], written[row]) for row in live]
            forbid(logits_BV, texts, decoding.no_repeat_ngram)
        chosen_B = choose(logits_BV, decoding, [noises[row] for row in live], stream.name)
        tokens = chosen_B.tolist()
        for row, token in zip(live, tokens, strict=True):
            written[row].append(token)
        rest = [
            k
            for k, row in enumerate(live)
            if tokens[k] not in rules.stops and len(written[row]) < budgets[row]
        ]
        tell(len(prompts) - len(rest), len(written[live[0]]) / max(budgets) if rest else 1.0)
        if not rest:
            return written
        if len(rest) < len(live):
            stream.keep(rest)
            chosen_B, live = chosen_B[rest], [live[k] for k in rest]
        stream.step(chosen_B)


def choose(
    logits_BV: torch.Tensor, decoding: Decoding, noises: Sequence[np.random.Generator], name: str
) -> torch.Tensor:
    """Choose every row's next token, likeliest or drawn; ModelError for NaN logits."""
    scores_BV = logits_BV
    if decoding.sampling_temperature > 0:
        noise_BV = gumbel(noises, logits_BV.shape[1]).to(logits_BV.device)
        scores_BV = warp(logits_BV, decoding) + noise_BV
    best_B, chosen_B = scores_BV.max(1)  # NaN counts as the largest
    if bool(torch.isnan(best_B).any()):
        raise ModelError(
            "The model's logits are not numbers (NaN).",
            f"model: {name}",
            "Train it again with a lower learning rate, or in fp32.",
        )
    return chosen_B


def gumbel(noises: Sequence[np.random.Generator], vocabulary: int) -> torch.Tensor:
    """Draw standard Gumbel noise, a row per generator, from float64: never infinite."""
    drawn = np.stack([noise.standard_exponential(vocabulary) for noise in noises])
    return torch.from_numpy(-np.log(drawn).astype(np.float32))


def warp(logits_BV: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """Apply temperature, then -inf outside the top k, then outside the rest's top p."""
    scores_BV = logits_BV / decoding.sampling_temperature
    if 0 < decoding.top_k < scores_BV.shape[1]:
        least_B1 = scores_BV.topk(decoding.top_k, dim=1).values[:, -1:]
        scores_BV = scores_BV.masked_fill(scores_BV < least_B1, -torch.inf)
    if decoding.top_p < 1:
        sorted_BV, order_BV = scores_BV.sort(dim=1, descending=True, stable=True)
        p_BV = sorted_BV.softmax(1)
        # probability of all likelier tokens: 0 for the first, which always stays
        before_BV = p_BV.cumsum(1) - p_BV
        out_BV = before_BV >= decoding.top_p
        out_BV[:, 0] = False
        out_BV = torch.zeros_like(out_BV).scatter(1, order_BV, out_BV)
        scores_BV = scores_BV.masked_fill(out_BV, -torch.inf)
    return scores_BV


def forbid(logits_BV: torch.Tensor, texts: Sequence[np.ndarray], n: int) -> None:
    """Set tokens that would repeat an n-gram of the row's text to -inf, in place."""
    for row, text_T in enumerate(texts):
        if len(text_T) >= n:
            windows = np.lib.stride_tricks.sliding_window_view(text_T, n)
            seen = (windows[:, : n - 1] == text_T[len(text_T) - n + 1 :]).all(1)
            ids = torch.from_numpy(windows[seen, -1].astype(np.int64)).to(logits_BV.device)
            logits_BV[row, ids] = -torch.inf
