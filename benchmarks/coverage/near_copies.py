"""What the search for near-copies sees: kinds of edits by how much was changed, families by size, and its time.

    python benchmarks/coverage/near_copies.py

Seeded; prints markdown tables, in about two minutes. Texts of random words of six characters, 60 words unless said; 200 texts
and one copy of each, among which a copy counts as found where it is in one family with its own source.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from stillage.functional.families import families
from stillage.functional.overlap import common_limit
from stillage.rng import generator

Words = list[str]
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
HAN = [chr(code) for code in range(0x4E00, 0x5200)]
PAIRS = 200


def some(rng: np.random.Generator, count: int = 60) -> Words:
    """So many random words."""
    return ["".join(row) for row in rng.choice(LETTERS, (count, 6))]


def changed(words: Words, share: float, rng: np.random.Generator) -> str:
    """A share of the words, at random places, for new ones."""
    found, count = list(words), max(1, round(share * len(words)))
    for place in rng.choice(len(words), count, replace=False):
        found[place] = some(rng, 1)[0]
    return " ".join(found)


def characters(
    words: Words,
    share: float,
    rng: np.random.Generator,
    alphabet: Words = LETTERS,
    space: str = " ",
) -> str:
    """A share of the characters, at random places, for others."""
    found = list(space.join(words))
    places = [i for i, one in enumerate(found) if one != " "]
    for place in rng.choice(places, max(1, round(share * len(places))), replace=False):
        found[place] = str(rng.choice(alphabet))
    return "".join(found)


def cut(words: Words, share: float, rng: np.random.Generator) -> str:
    """The beginning, without the share that is left out."""
    return " ".join(words[: round((1 - share) * len(words))])


def inside(words: Words, share: float, rng: np.random.Generator) -> str:
    """The whole text within another, of which the share is other words."""
    other = some(rng, round(len(words) * share / (1 - share)))
    return " ".join([*other[: len(other) // 2], *words, *other[len(other) // 2 :]])


def moved(words: Words, share: float, rng: np.random.Generator) -> str:
    """Pieces of 1 / share words each, in random order."""
    size = round(1 / share)
    pieces = [words[i : i + size] for i in range(0, len(words), size)]
    return " ".join(word for place in rng.permutation(len(pieces)) for word in pieces[place])


def half_of_both(words: Words, share: float, rng: np.random.Generator) -> str:
    """A part of the text, and as much other text as the share says."""
    kept = round((1 - share) * len(words))
    return " ".join([*words[:kept], *some(rng, len(words) - kept)])


KINDS: dict[str, Callable[[Words, float, np.random.Generator], str]] = {
    "words changed": changed,
    "characters changed": characters,
    "end left out": cut,
    "within a longer text": inside,
    "end replaced": half_of_both,
    "pieces in another order": moved,
}
SHARES = (0.01, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.6, 0.8)


def seen(sources: list[str], copies: list[str]) -> tuple[float, float]:
    """The share of copies found, and of texts that are in one family with another's."""
    count = len(sources)
    number = families([*sources, *copies], common_limit(2 * count)).number_N
    found = number[:count] == number[count:]
    return float(found.mean()), 1 - np.unique(number[:count]).size / count


def kinds() -> None:
    """Kind of edit by share changed."""
    print(
        "| what was done (share of the text) | "
        + " | ".join(f"{share:.0%}" for share in SHARES)
        + " |"
    )
    print("|---|" + "--:|" * len(SHARES))
    for words in (60, 15):
        for name, edit in KINDS.items():
            rng, cells = generator(1, name, str(words)), []
            for share in SHARES:
                sources = [some(rng, words) for _ in range(PAIRS)]
                found, wrong = seen(
                    [" ".join(one) for one in sources], [edit(one, share, rng) for one in sources]
                )
                cells.append(f"{found:.0%}" + (f" ({wrong:.0%} wrong)" if wrong else ""))
            print(f"| {name}, {words} words | " + " | ".join(cells) + " |")
    rng, cells = generator(1, "han"), []
    for share in SHARES:
        sources = [rng.choice(HAN, 100).tolist() for _ in range(PAIRS)]
        copies = [characters(one, share, rng, HAN, "") for one in sources]
        cells.append(f"{seen([''.join(one) for one in sources], copies)[0]:.0%}")
    print("| characters changed, 100 Chinese characters | " + " | ".join(cells) + " |\n")


def sizes() -> None:
    """Families of many copies, each with its own changes, among texts of their own."""
    print(
        "| copies of each text | texts | changed in each | families found / planted | seconds of one core |"
    )
    print("|--:|--:|---|--:|--:|")
    for size, families_ in ((1, 3000), (10, 30), (12, 30), (150, 20), (3000, 6), (5000, 20)):
        for share in (0.0, 0.02, 0.05):
            rng = generator(2, "sizes", str(size), str(share))
            sources = [some(rng) for _ in range(families_)]
            made = [
                changed(one, share, rng) if share else " ".join(one)
                for one in sources
                for _ in range(size)
            ]
            start = time.process_time()
            number = families(made, common_limit(len(made))).number_N
            took, whole = time.process_time() - start, number.reshape(families_, size)
            right = (
                sum(np.unique(row).size == 1 for row in whole)
                if np.unique(number).size <= families_
                else 0
            )
            print(
                f"| {size} | {len(made)} | {share:.0%} of words | {right} / {families_} | {took:.1f} |"
            )
    print()


def templates() -> None:
    """Records of one template that are otherwise different: how many are taken for near-copies."""
    print(
        "| words of the template | words of a record's own | records with it | others | taken for near-copies |"
    )
    print("|--:|--:|--:|--:|--:|")
    for template, own, count, others in (
        (300, 30, 1000, 0),
        (300, 10, 1000, 0),
        (60, 20, 200, 4000),
        (60, 8, 200, 4000),
        (35, 3, 200, 4000),
        (35, 3, 1000, 0),
        (20, 5, 200, 4000),
        (8, 1, 200, 300),
    ):
        rng = generator(3, "templates", str(template), str(own))
        start = some(rng, template)
        made = [" ".join([*start, *some(rng, own)]) for _ in range(count)] + [
            " ".join(some(rng)) for _ in range(others)
        ]
        number = families(made, common_limit(len(made))).number_N
        together = (
            1 - np.unique(number).size / len(made)
            if others == 0
            else 1 - (np.unique(number).size - others) / count
        )
        print(f"| {template} | {own} | {count} | {others} | {together:.0%} |")


if __name__ == "__main__":
    kinds()
    sizes()
    templates()
