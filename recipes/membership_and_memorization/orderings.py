"""Which published orderings hold on this grid, which are reversed, and which these records cannot tell.

Each claim is a paired test on the same records, pooled over seeds (stats.pooled_auc_test, near-duplicates counted once);
"holds" and "reversed" ask for Holm's p below 0.05 over all tests of one table; in brackets, for the test's own p only.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from markdown_table import print_table
from points import (
    NO_TEACHER,
    STUDENT,
    Grid,
    Place,
    attacks_on,
    auc,
    categories,
    recited,
    scores,
)

from stillage.audit.compare import RunScores, auc_difference, by_seed, scored_by_all
from stillage.audit.inheritance import spearman
from stillage.functional.stats import PairedTest, holm
from stillage.types import Result

PUBLISHED_METHODS = {
    "gpt2": ("imitkd", "seqkd", "kd", "gkd", "distillm", "minillm"),
    "opt": ("seqkd", "imitkd", "kd", "distillm", "gkd", "minillm"),
}
"""By mean AUC over sizes and attacks, the leakiest first (arXiv:2508.07054); the LLaMA table was not released."""

PUBLISHED_ATTACKS = ("reference", "min_k", "loss", "min_k_plus_plus", "zlib")
SIZES = ("large", "medium", "small")
PRIMARY = "reference"


def verdicts(tests: Sequence[PairedTest]) -> list[str]:
    """holds, (holds), reversed, (reversed) or undecided, for tests of "the first leaks more"."""
    adjusted = holm(np.array([test.p for test in tests]))
    words = ["holds" if test.difference > 0 else "reversed" for test in tests]
    return [
        word if p < 0.05 else f"({word})" if test.p < 0.05 else "undecided"
        for word, test, p in zip(words, tests, adjusted, strict=True)
    ]


def cells(tests: Sequence[PairedTest]) -> list[str]:
    """The difference with its 95 % interval, and the verdict."""
    return [
        f"{test.difference:+.3f} [{test.low:+.3f}, {test.high:+.3f}] {verdict}"
        for test, verdict in zip(tests, verdicts(tests), strict=True)
    ]


def difference(a: Sequence[RunScores], b: Sequence[RunScores]) -> PairedTest:
    """AUC(a) - AUC(b), over the seeds."""
    seeds = scored_by_all(by_seed(a, b, "audit"))
    row = Result(run="", stage="audit", model=STUDENT, metric="auc", value=np.nan, attack=PRIMARY)
    return auc_difference(seeds, row)


def print_methods(grid: Grid, family: str) -> None:
    """Every pair of methods in the published order, per student size, under the reference attack."""
    sizes = [
        size
        for size in SIZES
        if any((place.family, place.size) == (family, size) for place in grid)
    ]
    order = PUBLISHED_METHODS.get(family, PUBLISHED_METHODS["gpt2"])
    pairs = [
        (a, b)
        for a, b in itertools.combinations(order, 2)
        if all(Place(family, size, method) in grid for size in sizes for method in (a, b))
    ]
    if not pairs:
        return
    tests = [
        difference(
            *([scores(run, STUDENT, PRIMARY) for run in grid[Place(family, size, m)]] for m in pair)
        )
        for pair in pairs
        for size in sizes
    ]
    said = iter(cells(tests))
    print(f"\n{family}: does the first method leak more? AUC({PRIMARY}), first minus second")
    head = ["published", *(f"{size} student" for size in sizes)]
    print_table(head, [[f"{a} > {b}", *itertools.islice(said, len(sizes))] for a, b in pairs])
    print(f"\nOf {len(tests)}: {tally(tests)}.")


def print_sizes(grid: Grid, family: str) -> None:
    """Does the larger student leak more?"""
    rows = [
        (place.method, larger, smaller)
        for place in sorted(grid)
        for larger, smaller in itertools.pairwise(SIZES)
        if place.family == family
        and place.size == smaller
        and Place(family, larger, place.method) in grid
    ]
    if not rows:
        return
    tests = [
        difference(
            *(
                [scores(run, STUDENT, PRIMARY) for run in grid[Place(family, s, method)]]
                for s in sizes
            )
        )
        for method, *sizes in rows
    ]
    print(f"\n{family}: does the larger student leak more? AUC({PRIMARY})")
    lines = [
        [method, f"{large} > {small}", said]
        for (method, large, small), said in zip(rows, cells(tests), strict=True)
    ]
    print_table(["method", "published", "here"], lines)


def print_attacks(grid: Grid, family: str) -> None:
    """Is the published order of attacks found on each student?"""
    places = [place for place in sorted(grid) if place.family == family]
    lines = []
    for a, b in itertools.pairwise(PUBLISHED_ATTACKS):
        both = [place for place in places if {a, b} <= set(attacks_on(grid[place][0], STUDENT))]
        if not both:
            continue
        tests = [
            difference(
                *([scores(run, STUDENT, attack) for run in grid[place]] for attack in (a, b))
            )
            for place in both
        ]
        mean = float(np.mean([test.difference for test in tests]))
        lines.append([f"{a} > {b}", f"{tally(tests)} of {len(tests)}", f"{mean:+.3f}"])
    print(f"\n{family}: is the first attack stronger?")
    print_table(["published", "students", "mean difference of AUC"], lines)


def tally(tests: Sequence[PairedTest]) -> str:
    """ "3 (+2) hold, 1 (+0) reversed, 2 undecided": in brackets those that only their own p decides."""
    found = Counter(verdicts(tests))
    hold, turned = (f"{found[word]} (+{found[f'({word})']})" for word in ("holds", "reversed"))
    return f"{hold} hold, {turned} reversed, {found['undecided']} undecided"


def print_ranks(grid: Grid, family: str) -> None:
    """What is a matter of ranks: methods over all attacks, categories, recital against leakage; and the control."""
    of_family = {place: runs for place, runs in grid.items() if place.family == family}
    leak = {
        place: float(
            np.mean([auc(runs, STUDENT, attack).value for attack in attacks_on(runs[0], STUDENT)])
        )
        for place, runs in of_family.items()
    }
    by_method = means((place.method, value) for place, value in leak.items())
    print(f"\n{family}, mean AUC over sizes and attacks: {ranked(by_method)}")
    order = PUBLISHED_METHODS.get(family, ())
    if order and set(order) <= set(by_method):
        rho = spearman(np.arange(len(order)), np.array([-by_method[name] for name in order])).value
        print(
            f"  published: {' > '.join(order)}; rank correlation {rho:.2f} over {len(order)} methods"
        )
    names = sorted(
        {name for runs in of_family.values() for run in runs for name in categories(run).values()}
    )
    of_category = means(
        (name, auc(runs, STUDENT, PRIMARY, name).value)
        for runs in of_family.values()
        for name in names
    )
    print(f"  by category, {PRIMARY}: {ranked(of_category)}")
    print(
        "  (published, other data: creative writing, general QA and brainstorming most; classification, summaries least)"
    )
    if len(of_family) > 2:
        said = [recited(runs, STUDENT)[0] for runs in of_family.values()]
        rho = spearman(np.array(list(leak.values())), np.array(said)).value
        print(
            f"  leakage against what is recited: rank correlation {rho:.2f} over {len(said)} students"
        )
        print("  (published: they disagree)")
    away = [
        f"{place.size}, {attack} {auc(runs, NO_TEACHER, attack).value:.3f}"
        for place, runs in sorted(of_family.items())
        for attack in attacks_on(runs[0], NO_TEACHER)
        if place.method == "kd" and not auc(runs, NO_TEACHER, attack).contains(0.5)
    ]
    print(
        "  student without a teacher: "
        + (f"away from chance: {'; '.join(away)}" if away else "at chance everywhere")
    )


def means(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean of each name's values, those that are no number left out."""
    found: dict[str, list[float]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {
        name: float(np.nanmean(values))
        for name, values in found.items()
        if np.isfinite(values).any()
    }


def ranked(values: Mapping[str, float]) -> str:
    """The names from the largest value to the smallest."""
    return " > ".join(
        f"{name} {values[name]:.3f}" for name in sorted(values, key=lambda name: -values[name])
    )
