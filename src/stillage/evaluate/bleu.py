"""Corpus BLEU and chrF by sacrebleu, with an interval over records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stillage.evaluate.rouge import check_references
from stillage.functional.binomial import Interval, check_level
from stillage.functional.means import mean_interval
from stillage.functional.scored import cluster_groups
from stillage.functional.words import UNSPACED
from stillage.types import Array
from stillage.versions import overlap_counts, overlap_score

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF


LEAST = 20  # clusters below which no limits are given: those of a low BLEU covered 88 % at 10


def corpus_overlap(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    level: float = 0.95,
    clusters: Array | None = None,
) -> dict[str, Interval]:
    """Measure how much of the references' n-grams the answers keep, {"bleu", "chrf"}.

    Over the whole corpus, 0 to 100. BLEU: words (bleu_tokenizer of the references), up to 4-grams,
    brevity penalty (Papineni et al. 2002; Post 2018); of several references an n-gram counts in
    any. chrF: characters, up to 6-grams, beta 2 (Popovic 2015); of several references the best
    counts. Interval: `jackknife_limits` over records, near-duplicates (clusters int[n]) as one.
    DataError for lists of different length, or an answer without reference.
    """
    check_references(predictions, references)
    check_level(level)
    if not predictions:
        return dict.fromkeys(("bleu", "chrf"), Interval(value=np.nan, level=level))
    groups = cluster_groups(clusters, len(predictions))
    return {
        name: _interval(metric, predictions, references, groups, level)
        for name, metric in metrics(bleu_tokenizer(references)).items()
    }


def bleu_tokenizer(references: Sequence[Sequence[str]]) -> str:
    """Choose sacrebleu's tokenizer for the script that most letters are in.

    zh for Chinese; char for Japanese and other scripts without spaces, for which sacrebleu has none
    without a further program; else 13a, its usual one.
    """
    import regex

    letters = regex.sub(r"\P{L}", "", "".join(one for some in references for one in some))
    count = {name: len(regex.findall(rf"\p{{Script={name}}}", letters)) for name in UNSPACED}
    unspaced, kana = sum(count.values()), count["Hiragana"] + count["Katakana"]
    if 2 * unspaced <= len(letters):
        return "13a"
    return "zh" if 2 * count["Han"] > unspaced and 10 * kana < unspaced else "char"


def metrics(tokenizer: str) -> dict[str, BLEU | CHRF]:
    """Build sacrebleu's metrics at their published settings; tokenizer: of BLEU."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return {"bleu": BLEU(force=True, tokenize=tokenizer), "chrf": CHRF()}


def signatures(references: Sequence[Sequence[str]]) -> dict[str, str]:
    """Describe the settings and version of each metric as sacrebleu wants (Post 2018)."""
    counts = {len(some) for some in references}
    found = metrics(bleu_tokenizer(references))
    for metric in found.values():
        # what it notes itself when it has read a corpus
        metric.num_refs = min(counts) if len(counts) == 1 else -1
    return {name: str(metric.get_signature()) for name, metric in found.items()}


def _interval(
    metric: Metric,
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    groups: Array,
    level: float,
) -> Interval:
    """Score the corpus, and it without each cluster, from counts that are read once."""
    # sacrebleu wants the first references, then the second ones, ...; None where there is none
    streams = [
        [some[k] if k < len(some) else None for some in references]
        for k in range(max(map(len, references)))
    ]
    # its own bootstrap has a fixed level and takes its seed from the environment
    counts_RK = np.array(overlap_counts(metric, predictions, streams), dtype=np.int64)
    total_K = counts_RK.sum(0)
    value = overlap_score(metric, total_K.tolist())
    counts_GK = np.zeros((int(groups.max()) + 1, total_K.size), dtype=np.int64)
    np.add.at(counts_GK, groups, counts_RK)
    if len(counts_GK) < LEAST:
        return Interval(value=value, level=level)
    without_G = [overlap_score(metric, row) for row in (total_K - counts_GK).tolist()]
    return jackknife_limits(value, np.array(without_G), level)


def jackknife_limits(value: float, without_G: Array, level: float) -> Interval:
    """Compute limits of a number in [0, 100] from what it is without each cluster.

    Pseudo-values G f(value) - (G - 1) f(without), f(x) = log(x / (100 - x)), go into mean_interval;
    its limits are moved so that f(value) is their middle, and taken back. None (NaN) where the
    number is 0 or 100 with a cluster or without it: then one cluster decides all. Source: Efron and
    Tibshirani 1993, section 11.5.
    """
    if min(value, *without_G) <= 0 or max(value, *without_G) >= 100 - 1e-9:
        return Interval(value=value, level=level)
    whole, parts_G = np.log(value / (100 - value)), np.log(without_G / (100 - without_G))
    # pseudo-values less their mean
    rest = mean_interval((len(parts_G) - 1) * (parts_G.mean() - parts_G), level)
    low, high = (100 / (1 + np.exp(-(whole + limit))) for limit in (rest.low, rest.high))
    return Interval(value=value, low=float(low), high=float(high), level=level)
