"""A plug-in: a divergence and an attack of your own, and an experiment that uses them.

On the command line: stillage run biographies --plugin examples/own_entries.py
                       --distill.params.divergence hellinger --audit.attacks loss worst_token
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import stillage as st
from stillage.types import Attack, Query, TokenStats

if TYPE_CHECKING:
    from torch import Tensor


def hellinger(p: Tensor, q: Tensor) -> Tensor:
    """Return 1 - sum_v sqrt(p q), of log-probabilities: 0 where both are equal."""
    return 1 - ((p + q) / 2).exp().sum(-1)


def worst_token(stats: TokenStats) -> float:
    """Score a record by its least expected token; higher means more likely a member."""
    return float(stats.logp_T.min()) if len(stats.logp_T) else float("nan")


DIVERGENCES = {"hellinger": hellinger}
ATTACKS = {
    "worst_token": Attack(
        name="worst_token",
        paper="none: an example",
        access="logprob",
        queries=(Query(party="target"),),
        score=worst_token,
    )
}
SMALL = {
    "data": {"people": 200, "template": "raw"},
    "teacher": {"layers": 1, "width": 64, "heads": 2},
    "student": {"layers": 1, "width": 32, "heads": 2},
    "distill": {"params": {"divergence": "hellinger"}},
    "audit": {"attacks": ["loss", "worst_token"]},
}


def main(out: Path = Path("runs/own-entries"), settings: Mapping[str, object] = {}) -> st.Run:
    """Run an experiment with both."""
    return st.run_experiment(SMALL, settings=settings, out=out, plugins=[__file__])


if __name__ == "__main__":
    print(main().table())
