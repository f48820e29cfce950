"""A membership attack that no single token can sway: `--plugin attack.py --audit.attacks loss median`."""

import numpy as np

from stillage.types import Attack, Query, TokenStats


def median(stats: TokenStats) -> float:
    """The median log-probability of the record's tokens. Higher = more likely a member; NaN where nothing was scored."""
    return float(np.median(stats.logp_T)) if len(stats.logp_T) else float("nan")


MEDIAN = Attack(
    name="median",
    paper="your own",
    access="logprob",  # what the attacker needs: none, text, logprob or weights
    queries=(Query(party="target"),),  # one reply each, in this order: here the target's TokenStats
    score=median,
)
ATTACKS = {"median": MEDIAN}
