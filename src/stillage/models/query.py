"""Score records: all that cheap attacks and metrics need, in one pass per model.

For a scored token y after prefix x, with l = log q(. | x) in float32 over the whole vocabulary:
logp = l[y];  mean = sum_v q_v l_v;  var = sum_v q_v (l_v - mean)^2;  rank = #{v: l_v > l_y};
greedy = (y = argmax_v l_v). These are the inputs of min-k++ (Zhang et al. 2024, arXiv 2404.02936,
eq. 3) and of every one-pass attack.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from stillage.functional.readout import logits, map_chunks
from stillage.models.batching import batch_limit, map_batches
from stillage.models.decoder import called, plain, read
from stillage.models.padding import split_rows
from stillage.models.score_cache import COLUMNS, cache_file, read_stats, stats_of, write_rows
from stillage.types import TokenStats

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from stillage.run.progress import Done
    from stillage.types import Batch, Example, Readout

log = logging.getLogger("stillage")
CHUNK_ELEMENTS = 2**23  # logits held at once on a CPU: enough rows for a fast product
# Logits summed up at once: what fits a CPU's cache is done in half the time.
CACHED_ELEMENTS = {"cpu": 2**19, "cuda": 2**26}


class TokenMoments(NamedTuple):
    """What one distribution per token says about its true token; tensors [T]."""

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
    """Score the response tokens of every example; padding and batches change nothing.

    An example without response tokens gives a TokenStats of length 0. Log-probabilities that are
    not finite stay so, and are counted in the log. cache: folder where results are kept under (key,
    examples); key says which model (identity.folder_hash or model_hash). Raises DataError for an
    example longer than the context or with unknown ids.
    """
    assert key or cache is None, "a cache needs the hash of the model in its key"
    full_key = f"{key} {plain(model).dtype}"
    file = None if cache is None else cache_file(cache, full_key, examples)
    if file is not None and (known := read_stats(file, examples)) is not None:
        return known
    results = map_batches(
        lambda batch: batch_stats(read(model, batch), batch),
        [model],
        examples,
        nothing=stats_of(
            np.zeros(0, kind.value_type.to_pandas_dtype()) for kind in COLUMNS.values()
        ),
        batch_tokens=batch_limit(model, batch_tokens),
        progress=progress,
    )
    if bad := sum(not np.isfinite(stats.logp_T).all() for stats in results):
        notice = "%s: %d of %d records have log-probabilities that are not finite"
        log.warning(notice, called(model), bad, len(results))
    if file is not None:
        write_rows(file, COLUMNS, results)
    pairs = zip(results, examples, strict=True)
    return [replace(stats, span=example.span) for stats, example in pairs]


def known_stats(
    examples: Sequence[Example], *, cache: Path, key: str, dtype: str
) -> list[TokenStats] | None:
    """Read what token_stats would find in the cache; None where it is not there."""
    return read_stats(cache_file(cache, f"{key} {getattr(torch, dtype)}", examples), examples)


def batch_stats(readout: Readout, batch: Batch) -> list[TokenStats]:
    """Compute the statistics of a batch, and cut them into those of each row."""
    parts = map_chunks(
        chunk_moments, readout, batch.labels_T, elements=CHUNK_ELEMENTS, first_alone=True
    )
    moments = zip(*(one for part in parts for one in part), strict=True)
    values = [batch.labels_T.cpu().numpy().astype(np.int32)]
    values += [torch.cat(tensors).cpu().numpy() for tensors in moments]
    columns = (split_rows(batch, values_T) for values_T in values)
    return list(map(stats_of, zip(*columns, strict=True)))


def chunk_moments(readout: Readout, labels_C: torch.Tensor) -> list[TokenMoments]:
    """Compute the moments of a chunk, as many at a time as a CPU's cache holds."""
    logits_CV = logits(readout)
    elements = CACHED_ELEMENTS["cpu" if logits_CV.device.type == "cpu" else "cuda"]
    few = max(1, elements // logits_CV.shape[1])
    return list(map(token_moments, logits_CV.split(few), labels_C.split(few)))


def token_moments(logits_TV: torch.Tensor, labels_T: torch.Tensor) -> TokenMoments:
    """Compute log-prob, its mean and variance under q, rank and greedy hit of labels.

    The logits are overwritten. With z = logits - max and S = sum exp(z): log q = z - log S; the
    variance is summed around the mean, so that nothing cancels. A row with NaN or +inf gives NaN,
    rank V and no greedy hit; a logit of -inf (a token ruled out) counts as q = 0.
    """
    label_T = labels_T[:, None]
    true_T1 = logits_TV.gather(1, label_T)
    rank_T = (logits_TV > true_T1).view(torch.uint8).sum(1, dtype=torch.int32)
    greedy_T = rank_T == 0
    # ties: the first is the argmax
    greedy_T[greedy_T.clone()] = logits_TV[greedy_T].argmax(1) == labels_T[greedy_T]
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
    return TokenMoments(
        logp_T=torch.where(broken_T, torch.nan, logp_T),
        mean_T=mean_T - total_T.log(),
        var_T=var_T,
        rank_T=torch.where(broken_T, logits_TV.shape[1], rank_T),
        greedy_T=greedy_T & ~broken_T,
    )
