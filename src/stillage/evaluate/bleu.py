"""Corpus BLEU and chrF by sacrebleu, any number of references per answer, with a bootstrap interval over records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stillage.evaluate.rouge import check_references
from stillage.functional.binomial import Interval, check_level
from stillage.functional.words import UNSPACED
from stillage.versions import overlap_counts, overlap_score

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF


def corpus_overlap(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    generator: np.random.Generator,
    level: float = 0.95,
    resamples: int = 300,
) -> dict[str, Interval]:
    """How much of the references' n-grams the answers keep, over the whole corpus, 0 to 100: {"bleu", "chrf"}.

    BLEU: words (tokenizer_of the references), up to 4-grams, brevity penalty (Papineni et al. 2002; Post 2018); of
    several references an n-gram counts in any. chrF: characters, up to 6-grams, beta 2 (Popovic 2015); of several
    references the best counts. Interval: percentile bootstrap over records; nan for fewer than two. DataError for lists
    of different length, or an answer without reference.
    """
    check_references(predictions, references)
    alpha = check_level(level)
    if not predictions:
        return {name: Interval(value=np.nan, low=np.nan, high=np.nan, level=level) for name in ("bleu", "chrf")}
    count = len(predictions)
    weight_BR = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    found = metrics(tokenizer_of(references))
    return {name: _interval(metric, predictions, references, weight_BR, alpha) for name, metric in found.items()}


def tokenizer_of(references: Sequence[Sequence[str]]) -> str:
    """sacrebleu's tokenizer for the script that most letters of the references are in.

    zh for Chinese; char for Japanese and the other scripts without spaces, for which sacrebleu has none that needs no
    further program; 13a, its usual one, for all others.
    """
    import regex

    letters = regex.sub(r"\P{L}", "", "".join(one for some in references for one in some))
    count = {name: len(regex.findall(rf"\p{{Script={name}}}", letters)) for name in UNSPACED}
    unspaced, kana = sum(count.values()), count["Hiragana"] + count["Katakana"]
    if 2 * unspaced <= len(letters):
        return "13a"
    return "zh" if 2 * count["Han"] > unspaced and 10 * kana < unspaced else "char"


def metrics(tokenizer: str) -> dict[str, BLEU | CHRF]:
    """sacrebleu's metrics at their published settings, by our names; tokenizer: how BLEU cuts words."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return {"bleu": BLEU(force=True, tokenize=tokenizer), "chrf": CHRF()}


def signatures(references: Sequence[Sequence[str]]) -> dict[str, str]:
    """What sacrebleu wants printed with each number, so that it can be compared (Post 2018): settings and version."""
    counts = {len(some) for some in references}
    found = metrics(tokenizer_of(references))
    for metric in found.values():
        metric.num_refs = min(counts) if len(counts) == 1 else -1  # what it notes itself when it has read a corpus
    return {name: str(metric.get_signature()) for name, metric in found.items()}


def _interval(
    metric: Metric, predictions: Sequence[str], references: Sequence[Sequence[str]], weight_BR: np.ndarray, alpha: float
) -> Interval:
    """The metric of the corpus, and of its resamples: both are functions of summed counts, so texts are read once."""
    streams = [  # sacrebleu wants the first references, then the second ones, ...; None where there is none
        [some[k] if k < len(some) else None for some in references] for k in range(max(map(len, references)))
    ]
    # its own bootstrap has a fixed level and takes its seed from the environment, hence its inner counts
    counts_RK = np.array(overlap_counts(metric, predictions, streams), dtype=np.int64)
    value = overlap_score(metric, counts_RK.sum(0).tolist())
    if len(predictions) < 2:
        return Interval(value=value, low=np.nan, high=np.nan, level=1 - alpha)
    draws = [overlap_score(metric, summed_K) for summed_K in (weight_BR @ counts_RK).tolist()]
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2])
    return Interval(value=value, low=float(low), high=float(high), level=1 - alpha)
