"""How often the controls of an audit catch a shift, and refuse an honest split, by how many attacks on controls there are.

    python benchmarks/simulations/checks.py [--repeats 300] [--records 400]

Texts of random words, as many members as nonmembers; in a shifted split some members have one word more often. The blind
attackers are the real ones. Attacks on controls are scores at chance that resemble each other (correlation 0.8: all see how
hard a text is). "One family": Holm over all controls at 5 %; "own family": check_controls. Prints a Markdown table.
"""

from __future__ import annotations

import argparse

import numpy as np

from stillage.audit.blind import N_FOLDS, blind_scores
from stillage.audit.controls import FAMILY_LEVELS, Control, check_controls
from stillage.audit.scores import Scored
from stillage.audit.validity import chance_p
from stillage.functional.multiplicity import holm
from stillage.functional.stats import roc_auc
from stillage.rng import generator
from stillage.types import Array

WORDS = np.array(
    [
        f"{a}{b}"
        for a in ("bar", "cor", "den", "fel", "gor", "hin", "jul", "kar")
        for b in "aeiouxyz"
    ]
)
COUNTS = (0, 3, 20, 80)
ALIKE = 0.8


def texts(rng: np.random.Generator, is_member: Array, share: float) -> list[str]:
    """Fifteen to twenty random words; one of eight words more in so large a share of the members."""
    found = []
    for member in is_member:
        said = rng.choice(WORDS, 15 + int(rng.integers(0, 5))).tolist()
        found.append(" ".join([*said, "novel"] if member and rng.random() < share else said))
    return found


def controls(
    rng: np.random.Generator, is_member: Array, share: float, seed: int, count: int
) -> dict[str, Control]:
    """The blind attackers, and `count` attacks on controls."""
    alone = np.arange(is_member.size)
    hard = rng.normal(size=is_member.size)

    def scored(scores: Array, n_folds: int = 0) -> Scored:
        return Scored(scores=scores, is_member=is_member, clusters=alone, n_folds=n_folds)

    blind = blind_scores(texts(rng, is_member, share), is_member, seed)
    found = {
        name: Control(family="blind", scored=scored(scores, N_FOLDS))
        for name, scores in blind.items()
    }
    for index in range(count):
        scores = np.sqrt(ALIKE) * hard + np.sqrt(1 - ALIKE) * rng.normal(size=is_member.size)
        found[f"model {index:02}"] = Control(family="trained", scored=scored(scores))
    return found


def main() -> None:
    """Both tables in one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--records", type=int, default=400, help="of each side")
    options = parser.parse_args()
    is_member = np.arange(2 * options.records) < options.records
    print(
        f"{options.records} members and nonmembers, {options.repeats} repeats, levels {dict(FAMILY_LEVELS)}\n"
    )
    print("| split | blind AUC | attacks on controls | fails, one family | fails, own family |")
    print("|---|---|---|---|---|")
    for name, share in (("honest", 0.0), ("shifted", 0.14)):
        together, apart = np.zeros(len(COUNTS)), np.zeros(len(COUNTS))
        reached = 0.0
        for repeat in range(options.repeats):
            rng = generator(0, "checks", name, str(repeat))
            given = controls(rng, is_member, share, repeat, max(COUNTS))
            reached += max(
                roc_auc(c.scored.scores, is_member) for c in given.values() if c.family == "blind"
            )
            p = {key: chance_p(control.scored.auc(0.95)) for key, control in given.items()}
            for index, count in enumerate(COUNTS):
                kept = {key: control for key, control in given.items() if key < f"model {count:02}"}
                together[index] += holm(np.array([p[key] for key in kept])).min() < 0.05
                apart[index] += not check_controls(kept).passed
        for index, count in enumerate(COUNTS):
            rates = (
                f"{together[index] / options.repeats:.1%} | {apart[index] / options.repeats:.1%}"
            )
            print(f"| {name} | {reached / options.repeats:.3f} | {count} | {rates} |")


if __name__ == "__main__":
    main()
