"""How often the page says "leaks" where nothing does, and where something does: whole verdicts over simulated scores.

Run it: `python benchmarks/simulations/claims.py [trials]` (minutes of one core at 200 trials). Every trial draws records,
scores of a student and its two controls under two attacks, and what they recite; the audit's own functions turn them into
rows, and the report's verdict reads them. The last column is what the student's tail alone, without the controls, would
have claimed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from stillage.audit.best_attack import best_attack_results, family_tests
from stillage.audit.beyond_control import beyond_control_results
from stillage.audit.detectable import power_results
from stillage.audit.extraction import extraction_results, recited_more_results
from stillage.audit.membership import membership_results
from stillage.report.claims import tail_claim
from stillage.report.run_view import RunView
from stillage.report.verdict import verdict
from stillage.rng import generator
from stillage.types import Array, Result

MODELS = ("student", "student_counterfactual", "student_no_teacher")
ATTACKS = ("loss", "zlib")
BASE = Result(run="r", stage="audit", model="", metric="", value=0.0, seed=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is simulated. easy: share of members that are easy texts for every model; the others are planted leaks."""

    name: str
    n: int = 800  # members, and as many nonmembers
    easy: float = 0.0
    copies: int = 1  # near-duplicates per text
    shift: float = 0.0  # of all members' scores on the student, in standard deviations
    found: float = 0.0  # share of members that the student alone finds
    recited: float = 0.0  # share of members that the student alone recites
    guessed: float = 0.01  # share of records that every model recites


WORLDS = (
    World(name="nothing leaks"),
    World(name="nothing leaks, 300 members", n=300),
    World(name="nothing leaks, 4 copies of each text", copies=4),
    World(name="5 % of members are easy texts", easy=0.05),
    World(name="5 % of members are easy texts, 2000 members", easy=0.05, n=2000),
    World(name="5 % of members are easy texts, 4 copies", easy=0.05, copies=4),
    World(name="20 % of members are easy texts, often recited", easy=0.2, guessed=0.1),
    World(name="the student alone: all members 0.4 sd higher", shift=0.4),
    World(name="the student alone: 5 % of members found", found=0.05),
    World(name="the student alone: 5 % found, 5 % easy for all", found=0.05, easy=0.05),
    World(name="the student alone: 3 % of members recited", recited=0.03),
)


def views(world: World, trials: int, seed: int = 1) -> Iterator[RunView]:
    """A run's rows for each trial."""
    for trial in range(trials):
        rng = generator(seed, world.name, str(trial))
        scores, recited = tables(world, rng)
        base = replace(BASE, seed=trial)
        rows = membership_results(scores, fprs=(0.1, 0.01), level=0.95, base=base)
        tests = family_tests(scores, level=0.95, seed=base.seed, n_permutations=200)
        rows += best_attack_results(scores, tests, level=0.95, base=base)
        rows += power_results(
            scores,
            {model: test.together for model, test in tests.items()},
            fprs=(0.1, 0.01),
            harmless_auc=0.6,
            harmless_tpr=0.05,
            level=0.95,
            base=base,
        )
        rows += extraction_results(recited, level=0.95, base=base)
        rows += recited_more_results(recited, level=0.95, base=base)
        rows += beyond_control_results(scores, recited, fprs=(0.1, 0.01), level=0.95, base=base)
        yield RunView(
            run=Path("run"),
            results=tuple(rows),
            samples=None,
            scores=None,
            extraction=None,
            records=None,
            validity={"verdict": "valid"},
            split={},
            summaries={name: {} for name in MODELS},
            parameters={},
            config={"audit": {"attacks": list(ATTACKS)}},
            config_text="",
            env={},
            hashes={},
        )


def tables(world: World, rng: np.random.Generator) -> tuple[pa.Table, pa.Table]:
    """audit/scores.parquet and audit/extraction.parquet."""
    texts = 2 * world.n // world.copies
    text_member = np.arange(texts) < texts // 2
    easy = text_member & (rng.random(texts) < world.easy)
    hard, text = rng.normal(size=texts) + 5 * easy, np.repeat(np.arange(texts), world.copies)
    member = text_member[text]
    ids, parts = (
        [f"{i:06d}" for i in range(text.size)],
        ["private" if one else "nonmembers" for one in member],
    )
    group = [f"g{number}" for number in text] if world.copies > 1 else [""] * text.size
    common, exact, parts = dict(id=ids, part=parts, group=group), [], []
    guessed = rng.random(texts)[text] < world.guessed + 0.5 * easy[text] * (world.guessed > 0.05)
    leaked, said = rng.random(texts)[text] < world.found, rng.random(texts)[text] < world.recited
    for model in MODELS:
        noise = rng.normal(size=text.size)
        for attack in ATTACKS:
            score = 0.6 * hard[text] + 0.7 * noise + 0.4 * rng.normal(size=text.size)
            score = planted(score, member, leaked, world) if model == "student" else score
            parts.append(
                pa.table(
                    {
                        "model": [model] * text.size,
                        **common,
                        "attack": [attack] * text.size,
                        "score": score,
                    }
                )
            )
        own = guessed | (member & said & (model == "student"))
        flips = rng.random(text.size) < 0.005
        exact.append(
            pa.table(
                {
                    "model": [model] * text.size,
                    **common,
                    "exact": own ^ flips,
                    "tokens": [3] * text.size,
                }
            )
        )
    return pa.concat_tables(parts), pa.concat_tables(exact)


def planted(score: Array, member: Array, leaked: Array, world: World) -> Array:
    """The student's scores with what it alone knows of the members."""
    return np.where(member & leaked, score + 5, score) + world.shift * member


def main() -> None:
    """The table."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(
        "| world | trials | leaks | unclear | too few to tell | no leak found | TPR above its FPR alone |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for world in WORLDS:
        badges, tails = Counter[str](), 0
        for view in views(world, trials):
            badges[verdict(view).badge] += 1
            tail = tail_claim(view, "student")
            tails += tail is not None and tail.shows
        names = ("leaks", "unclear", "too few records to tell", "no leak found")
        shares = " | ".join(f"{100 * badges[name] / trials:.1f} %" for name in names)
        print(f"| {world.name} | {trials} | {shares} | {100 * tails / trials:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
