"""Score records: one forward pass per model gives, for every response token, all that the cheap attacks and metrics need.

For a scored token y after prefix x, with l = log q(. | x) in float32 over the whole vocabulary:
logp = l[y];  mean = sum_v q_v l_v;  var = sum_v q_v (l_v - mean)^2;  rank = #{v: l_v > l_y};  greedy = (y = argmax_v l_v).
These are the inputs of min-k++ (Zhang et al. 2024, arXiv 2404.02936, eq. 3) and of every one-pass attack.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.errors import CapabilityError, DataError
from stillage.models.batches import run_batches
from stillage.models.lengths import kinds
from stillage.models.outputs import (
    Head,
    called,
    check_head,
    embedding_rows,
    evaluating,
    forward_hidden,
    head_of,
    plain,
    project,
)
from stillage.models.pair import check_context
from stillage.models.score_cache import cache_file, read_cache, write_cache
from stillage.types import TokenStats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from stillage.run.progress import Done
    from stillage.types import Example

log = logging.getLogger("stillage")
CPU_BATCH_TOKENS = 4096  # more gains nothing on a CPU, and costs page faults
# Logits held at once: on a CPU enough rows for a fast product, on a GPU a small part of its memory.
CHUNK_ELEMENTS = {"cpu": 2**23, "cuda": 2**26}
# Logits summed up at once: what fits a CPU's cache is done in half the time.
CACHED_ELEMENTS = {"cpu": 2**19, "cuda": 2**26}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """What one distribution per token says about its true token; tensors of shape [T]."""

    logp_T: torch.Tensor
    mean_T: torch.Tensor
    var_T: torch.Tensor
    rank_T: torch.Tensor
    greedy_T: torch.Tensor


def token_stats(
    model: PreTrainedModel,
    examples: Sequence[Example],
    *,
    batch_tokens: int = 16384,
    cache: Path | None = None,
    key: str = "",
    progress: Done | None = None,
) -> list[TokenStats]:
    """Score the response tokens of every example, in the order of the examples; padding and batches change nothing.

    An example without response tokens gives a TokenStats of length 0. Log-probabilities that are not finite stay so, and
    are counted in the log. cache: folder where results are kept under (key, examples); key says which model
    (identity.folder_hash or model_hash): tokenizer and layout are in the examples' ids. Raises DataError for an example
    longer than the context or with unknown ids.
    """
    assert key or cache is None, "a cache needs the hash of the model in its key"
    file = stats_file(cache, key, plain(model).dtype, examples) if cache is not None else None
    if file is not None and (known := read_cache(file, examples)) is not None:
        return spanned(known, examples)
    check_examples(model, examples)
    results = [empty_stats()] * len(examples)
    rows = [k for k, example in enumerate(examples) if example.response_T.any()]
    with evaluating(model):
        features = feature_function(model)

        def run(batch: list[int]) -> None:
            chosen = [rows[k] for k in batch]
            for row, stats in zip(
                chosen, score(model, [examples[k] for k in chosen], *features), strict=True
            ):
                results[row] = stats

        limit = min(batch_tokens, CPU_BATCH_TOKENS) if model.device.type == "cpu" else batch_tokens
        lengths = [len(examples[row].ids_T) for row in rows]
        run_batches(lengths, limit, run, progress, kinds=kinds([model], lengths))
    if bad := sum(not np.isfinite(stats.logp_T).all() for stats in results):
        log.warning(
            "%s: %d of %d records have log-probabilities that are not finite",
            called(model),
            bad,
            len(results),
        )
    if file is not None:
        write_cache(file, results)
    return spanned(results, examples)


def spanned(results: Sequence[TokenStats], examples: Sequence[Example]) -> list[TokenStats]:
    """The statistics with what of its record each example stands for."""
    return [
        replace(stats, span=example.span) for stats, example in zip(results, examples, strict=True)
    ]


def stats_file(cache: Path, key: str, dtype: torch.dtype, examples: Sequence[Example]) -> Path:
    """Where the statistics of a model in memory as dtype are kept."""
    return cache_file(cache, f"{key} {dtype}", examples)


def known_stats(
    examples: Sequence[Example], *, cache: Path, key: str, dtype: str
) -> list[TokenStats] | None:
    """What token_stats would find in the cache, for who has not loaded the model; None where it is not there."""
    known = read_cache(stats_file(cache, key, getattr(torch, dtype), examples), examples)
    return None if known is None else spanned(known, examples)


def check_examples(model: PreTrainedModel, examples: Sequence[Example]) -> None:
    """Require that the model can read every example."""
    rows = embedding_rows(model)
    for example in examples:
        assert len(example.ids_T) == len(example.response_T)
        assert not example.response_T[:1].any(), "nothing predicts the first token"
        check_context(model, len(example.ids_T), what="record", name=example.record_id)
        if (
            len(example.ids_T)
            and not 0 <= int(example.ids_T.min()) <= int(example.ids_T.max()) < rows
        ):
            raise DataError(
                f"Record {example.record_id} has token ids that the model does not know.",
                f"ids {example.ids_T.min()} to {example.ids_T.max()}; the model knows 0 to {rows - 1}",
                "Tokenise the records with the model's own tokenizer.",
            )


def empty_stats() -> TokenStats:
    """The statistics of no token."""
    floats, ints = np.zeros(0, np.float32), np.zeros(0, np.int32)
    return TokenStats(
        ids_T=ints,
        logp_T=floats,
        mean_T=floats,
        var_T=floats,
        rank_T=ints,
        greedy_T=np.zeros(0, bool),
    )


Feature = tuple["Callable[[torch.Tensor], torch.Tensor]", "Callable[[torch.Tensor], torch.Tensor]"]


def feature_function(model: PreTrainedModel) -> Feature:
    """(ids_BT -> features_BTX, features_TX -> logits_TV): hidden states and head, or whole logits without such a head."""
    try:
        check_head(model)
        head: Head = head_of(model)
    except CapabilityError as error:
        log.warning(
            "%s Scoring holds the logits of whole batches instead (%s).", error.what, error.values
        )
        return (lambda ids_BT: model(input_ids=ids_BT, use_cache=False).logits), torch.Tensor.float
    return (lambda ids_BT: forward_hidden(model, ids_BT)), (
        lambda hidden_TH: project(hidden_TH, head)
    )


def score(
    model: PreTrainedModel,
    examples: Sequence[Example],
    features: Callable[[torch.Tensor], torch.Tensor],
    logits: Callable[[torch.Tensor], torch.Tensor],
) -> list[TokenStats]:
    """Score one batch, padded on the right, where a causal model never looks: no mask is needed."""
    longest = max(len(example.ids_T) for example in examples)
    ids_BT, response_BT = (
        np.zeros((len(examples), longest), np.int64),
        np.zeros((len(examples), longest), bool),
    )
    for k, example in enumerate(examples):
        ids_BT[k, : len(example.ids_T)] = example.ids_T
        response_BT[k, : len(example.ids_T)] = example.response_T
    ids = torch.from_numpy(ids_BT).to(model.device)
    before = (
        torch.from_numpy(response_BT).to(model.device).roll(-1, 1)
    )  # token t is predicted at position t - 1
    moments = moments_in_chunks(features(ids)[before], ids.roll(-1, 1)[before], logits)
    return split_rows(moments, ids_BT[response_BT], response_BT.sum(1))


def moments_in_chunks(
    features_TX: torch.Tensor,
    labels_T: torch.Tensor,
    logits: Callable[[torch.Tensor], torch.Tensor],
) -> Moments:
    """The moments of all tokens, holding the logits of a few at a time."""
    parts, start, tokens = [], 0, 1  # the first token alone tells how large the vocabulary is
    device = "cpu" if features_TX.device.type == "cpu" else "cuda"
    while start < len(labels_T):
        logits_TV = logits(features_TX[start : start + tokens])
        few, many = (
            max(1, limits[device] // logits_TV.shape[1])
            for limits in (CACHED_ELEMENTS, CHUNK_ELEMENTS)
        )
        parts.extend(
            map(moments_of, logits_TV.split(few), labels_T[start : start + tokens].split(few))
        )
        start, tokens = start + tokens, many
    names = ("logp_T", "mean_T", "var_T", "rank_T", "greedy_T")
    return Moments(
        **{name: torch.cat([getattr(part, name) for part in parts]).cpu() for name in names}
    )


def moments_of(logits_TV: torch.Tensor, labels_T: torch.Tensor) -> Moments:
    """Log-prob of the label, mean and variance of log-prob under q, rank and greedy hit; the logits are overwritten.

    With z = logits - max and S = sum exp(z): log q = z - log S; the variance is summed around the mean, so that nothing
    cancels. A row with NaN or +inf gives NaN, rank V and no greedy hit; a logit of -inf (a token ruled out) counts as q = 0.
    """
    label_T = labels_T[:, None]
    true_T1 = logits_TV.gather(1, label_T)
    rank_T = (logits_TV > true_T1).view(torch.uint8).sum(1, dtype=torch.int32)
    greedy_T = rank_T == 0
    greedy_T[greedy_T.clone()] = (
        logits_TV[greedy_T].argmax(1) == labels_T[greedy_T]
    )  # ties: the first is the argmax
    peak_T1 = logits_TV.amax(1, keepdim=True)
    z_TV = logits_TV.sub_(peak_T1)
    weight_TV = z_TV.exp()
    total_T = weight_TV.sum(1)
    mean_T = torch.linalg.vecdot(weight_TV, z_TV) / total_T
    if not bool(torch.isfinite(mean_T).all()):
        z_TV.clamp_(min=-1e4)  # 0 * -inf is NaN, but exp(-1e4) is 0 too; NaN stays NaN
        mean_T = torch.linalg.vecdot(weight_TV, z_TV) / total_T
    logp_T = (true_T1 - peak_T1)[:, 0] - total_T.log()
    z_TV.sub_(mean_T[:, None])
    var_T = torch.linalg.vecdot(weight_TV.mul_(z_TV), z_TV) / total_T
    broken_T = ~torch.isfinite(mean_T)
    return Moments(
        logp_T=torch.where(broken_T, torch.nan, logp_T),
        mean_T=mean_T - total_T.log(),
        var_T=var_T,
        rank_T=torch.where(broken_T, logits_TV.shape[1], rank_T),
        greedy_T=greedy_T & ~broken_T,
    )


def split_rows(moments: Moments, ids_T: np.ndarray, count_B: np.ndarray) -> list[TokenStats]:
    """Cut the tokens of a batch into its records."""
    ends = np.cumsum(count_B)[:-1]
    columns = (
        ids_T.astype(np.int32),
        moments.logp_T.numpy(),
        moments.mean_T.numpy(),
        moments.var_T.numpy(),
        moments.rank_T.numpy(),
        moments.greedy_T.numpy(),
    )
    return [
        TokenStats(ids_T=ids, logp_T=logp, mean_T=mean, var_T=var, rank_T=rank, greedy_T=greedy)
        for ids, logp, mean, var, rank, greedy in zip(
            *(np.split(column, ends) for column in columns), strict=True
        )
    ]
