"""How often blind attackers refuse an honest split, and how often they see a real shift: a simulation, seeded.

python benchmarks/simulations/blind.py [repetitions]   prints a markdown table; a few minutes on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from stillage.audit.blind import BLIND, N_FOLDS, blind_scores
from stillage.audit.blind_features import marked_text
from stillage.audit.validity import chance_p
from stillage.data.bpe import train_bpe
from stillage.data.tokenise import tokenise
from stillage.functional.multiplicity import holm
from stillage.functional.stats import auc_interval
from stillage.rng import generator
from stillage.types import Array, Record

WORDS = [
    start + end
    for start in ("bar", "cor", "den", "fel", "gor", "hin", "jul", "kar")
    for end in "aeiouxyz"
]
BEFORE_ORDER = ("bag_of_words", "character_ngrams", "length_and_zlib")
CONSTANT = "All of it is true."
Change = Callable[[Record, bool, np.random.Generator], Record]


def records(rng: np.random.Generator, count: int) -> list[Record]:
    """Records of three sentences."""
    found = []
    for number in range(count):
        said = [" ".join(rng.choice(WORDS, int(rng.integers(4, 9)))) + "." for _ in range(3)]
        found.append(
            Record(id=str(number), prompt=f"Tell of {rng.choice(WORDS)}.", response=" ".join(said))
        )
    return found


def words_more(record: Record, member: bool, rng: np.random.Generator) -> Record:
    """A word that 33 % of the members and 17 % of the others have: AUC 0.58."""
    return replace(
        record,
        response=f"{record.response} Novel."
        if rng.random() < (0.33 if member else 0.17)
        else record.response,
    )


def longer(record: Record, member: bool, rng: np.random.Generator) -> Record:
    """Lengths of equal spread, 0.2855 of it apart: AUC 0.58."""
    size = max(2, round(30 + 8 * (rng.normal() + 0.2855 * member)))
    return replace(record, response=" ".join(rng.choice(WORDS, size)))


def trailing(record: Record, member: bool, rng: np.random.Generator) -> Record:
    """One space at the end of the members."""
    return replace(record, response=record.response + " " * member)


def moved(record: Record, member: bool, rng: np.random.Generator) -> Record:
    """One sentence that all have, before the members and after the others."""
    text = f"{CONSTANT} {record.response}" if member else f"{record.response} {CONSTANT}"
    return replace(record, response=text)


def inside(record: Record, member: bool, rng: np.random.Generator) -> Record:
    """The same sentence after the first of the members' sentences, and before the last of the others'."""
    parts = record.response.split(". ")
    parts.insert(1 if member else 2, CONSTANT.removesuffix("."))
    return replace(record, response=". ".join(parts))


def system_turn(record: Record, member: bool, rng: np.random.Generator) -> Record:
    """A system turn without a word, before the members."""
    turns = (("system", ""),) * member
    return replace(record, messages=(*turns, ("user", record.prompt)))


def tool_turn(record: Record, member: bool, rng: np.random.Generator) -> Record:
    """What a tool said, before the members' answers."""
    return replace(
        record, messages=(("user", record.prompt), *((("tool", str(rng.choice(WORDS))),) * member))
    )


def cut(record: Record, member: bool, rng: np.random.Generator) -> Record:
    """The members' responses end in the middle of a word, and are as long as the others'."""
    if not member:
        return record
    return replace(
        record,
        response=f"{record.response} {rng.choice(WORDS)}"[
            : len(record.response) + int(rng.integers(-4, 1))
        ],
    )


SHIFTS: dict[str, Change] = {
    "a word, AUC 0.58": words_more,
    "length, AUC 0.58": longer,
    "one trailing space": trailing,
    "a sentence before, not after": moved,
    "a sentence second, not third": inside,
    "an empty system turn": system_turn,
    "a tool's turn": tool_turn,
    "cut in the middle of a word": cut,
}


def partly(change: Change, share: float) -> Change:
    """The change on a share of the records alone."""
    return lambda record, member, rng: change(record, member and bool(rng.random() < share), rng)


def p_values(rows: Sequence[Record], is_member: Array, seed: int) -> dict[str, float]:
    """p of every blind attacker."""
    tokenizer = train_bpe([f"{row.prompt}{row.response}" for row in rows[:40]], 300)
    ids = [
        example.ids_T
        for example in tokenise(rows, tokenizer, template="raw", max_tokens=512).examples
    ]
    found = blind_scores([marked_text(row) for row in rows], is_member, seed, readers=[ids])
    intervals = {
        name: auc_interval(scores, is_member, n_folds=N_FOLDS) for name, scores in found.items()
    }
    return {name: chance_p(interval) for name, interval in intervals.items()}


def refused(change: Change | None, each: int, repetitions: int) -> tuple[float, float, str]:
    """How often Holm's test over all attackers, and over the three that ignore order, refuses; and who saw most."""
    both, alone, seen = [0, 0], dict.fromkeys(BLIND, 0), np.arange(2 * each) < each
    for seed in range(repetitions):
        rng = generator(seed, "blind coverage")
        rows = records(rng, 2 * each)
        if change is not None:
            rows = [change(row, bool(member), rng) for row, member in zip(rows, seen, strict=True)]
        p = p_values(rows, seen, seed)
        for index, names in enumerate((BLIND, BEFORE_ORDER)):
            both[index] += bool((holm(np.array([p[name] for name in names])) < 0.05).any())
        for name in BLIND:
            alone[name] += p[name] < 0.05
    best = max(alone, key=lambda name: alone[name])
    return both[0] / repetitions, both[1] / repetitions, f"{best} ({alone[best] / repetitions:.0%})"


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print(
        "| what differs | records a side | refused | by words, characters and lengths alone | best attacker (p < 0.05) |"
    )
    print("|---|---:|---:|---:|---|")
    for each in (40, 200):
        print(
            "| {} | {} | {:.1%} | {:.1%} | {} |".format(
                "nothing", each, *refused(None, each, 2 * repetitions)
            ),
            flush=True,
        )
    for name, change in SHIFTS.items():
        each = 400 if "0.58" in name else 100
        print(
            "| {} | {} | {:.1%} | {:.1%} | {} |".format(
                name, each, *refused(change, each, repetitions // 2)
            ),
            flush=True,
        )
    for name in (
        "one trailing space",
        "a sentence before, not after",
        "cut in the middle of a word",
    ):
        found = refused(partly(SHIFTS[name], 0.3), 100, repetitions // 2)
        print(
            "| {}, 30 % of the members | 100 | {:.1%} | {:.1%} | {} |".format(name, *found),
            flush=True,
        )


if __name__ == "__main__":
    main()
