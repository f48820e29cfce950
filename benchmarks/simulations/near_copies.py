"""What the search for near-copies sees: kinds of edits by how much was changed, families by size, and its time.

    python benchmarks/simulations/near_copies.py

Seeded; prints markdown tables, in about ten minutes. Texts of random words of six characters, 60 words unless said; 200 texts
and one copy of each, among which a copy counts as found where it is in one family with its own source.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from stillage.corpus.families import families
from stillage.corpus.near_copies import common_limit
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


def around(own: Words, text: Words, place: str) -> str:
    """The text after, before, or in the middle of other words."""
    cut = {"first": 0, "last": len(own), "middle": len(own) // 2}[place]
    return " ".join([*own[:cut], *text, *own[cut:]])


def quoted() -> None:
    """Texts that stand whole in so many others, alone among 2,000 texts and more."""
    held = (5, 11, 30, 100, 400)
    print(
        "| text, words of it | other words | held by " + " | held by ".join(map(str, held)) + " |"
    )
    print("|---|--:|" + "--:|" * len(held))
    for place in ("middle", "last", "first"):
        for words, own in ((60, 60), (60, 300), (15, 15)):
            rng, cells = generator(4, "quoted", place, str(words), str(own)), []
            for count in held:
                sources = [some(rng, words) for _ in range(5)]
                made = [" ".join(one) for one in sources] + [
                    around(some(rng, own), one, place) for one in sources for _ in range(count)
                ]
                made += [" ".join(some(rng)) for _ in range(2000)]
                number = families(made, common_limit(len(made))).number_N
                holders = number[5 : 5 + 5 * count].reshape(5, count)
                cells.append(f"{(holders == number[:5, None]).mean():.0%}")
            print(f"| {place}, {words} | {own} | " + " | ".join(cells) + " |")
    print()


def alone() -> None:
    """A task's wording that stands alone as a record too: how many of the task are taken for near-copies."""
    print("| wording, words of it | own words | records with it | others | taken for near-copies |")
    print("|---|--:|--:|--:|--:|")
    for place, words, own, count, others in (
        ("before the rest", 60, 30, 200, 4000),
        ("before the rest", 12, 15, 200, 4000),
        ("before the rest", 60, 60, 1000, 0),
        ("form with two slots", 60, 30, 200, 4000),
        ("form with six slots", 150, 60, 200, 4000),
        ("after the rest, of a whole pool", 60, 30, 1000, 0),
        ("after the rest, of one task among others", 60, 30, 200, 4000),
        ("after the rest, of at most nine words", 9, 15, 200, 4000),
    ):
        rng = generator(5, "alone", place, str(words))
        wording, slots = some(rng, words), {"two": 2, "six": 6}.get(place.split()[-2], 0)
        pieces = [piece.tolist() for piece in np.array_split(np.array(wording), slots + 1)]

        def filled(
            pieces: list[Words] = pieces,
            wording: Words = wording,
            slots: int = slots,
            own: int = own,
            place: str = place,
            rng: np.random.Generator = rng,
        ) -> str:
            if not slots:
                return around(some(rng, own), wording, "first" if "before" in place else "last")
            return " ".join(word for piece in pieces for word in (*piece, *some(rng, own // slots)))

        made = [" ".join(wording)] + [filled() for _ in range(count)]
        made += [" ".join(some(rng)) for _ in range(others)]
        number = families(made, common_limit(len(made))).number_N
        together = (number[1 : count + 1] == number[0]).mean()
        print(f"| {place}, {words} | {own} | {count} | {others} | {together:.0%} |")
    print()


def every(count: int, extra: str) -> Callable[[Words, np.random.Generator], str]:
    """An edit that puts something after so many words, again and again."""
    return lambda words, _: " ".join(
        f"{word} {extra.format(i)}" if i % count == count - 1 else word
        for i, word in enumerate(words)
    )


WRITTEN: dict[str, tuple[int, Callable[[Words, np.random.Generator], str]]] = {
    "a zero-width or ignorable character in each word": (
        60,
        lambda words, _: " ".join(f"{word[:3]}\ufe0f{word[3:]}" for word in words),
    ),
    "a control character in each word": (
        60,
        lambda words, _: " ".join(f"{word[:3]}\x1f{word[3:]}" for word in words),
    ),
    "full-width letters": (
        60,
        lambda words, _: " ".join(
            "".join(chr(ord(one) + 0xFEE0) for one in word) for word in words
        ),
    ),
    "every fourth word broken at a line's end": (
        60,
        lambda words, _: " ".join(
            f"{word[:3]}-\n{word[3:]}" if i % 4 == 0 else word for i, word in enumerate(words)
        ),
    ),
    "`&nbsp;` or a literal `\\n` for spaces": (
        60,
        lambda words, _: "&nbsp;".join(words[:30]) + "\\n" + "\\n".join(words[30:]),
    ),
    "emphasis inside each word": (
        60,
        lambda words, _: " ".join(f"**{word[:1]}**{word[1:]}" for word in words),
    ),
    "7 words, within 20 others": (7, lambda words, rng: around(some(rng, 20), words, "middle")),
    "6 words, within 20 others": (6, lambda words, rng: around(some(rng, 20), words, "middle")),
    "5 words, within 20 others": (5, lambda words, rng: around(some(rng, 20), words, "middle")),
    "one word of 4 changed": (4, lambda words, rng: changed(words, 0.25, rng)),
    "the middle word of 9 changed": (
        9,
        lambda words, rng: " ".join([*words[:4], *some(rng, 1), *words[5:]]),
    ),
    "a filler after each 10th word": (60, every(10, "um")),
    "a filler after each 4th word": (60, every(4, "um")),
    "a line number or a time after each 6th word": (60, every(6, "00 {}")),
    "every 10th word dropped": (
        60,
        lambda words, _: " ".join(word for i, word in enumerate(words) if i % 10),
    ),
    "every 8th word dropped": (
        60,
        lambda words, _: " ".join(word for i, word in enumerate(words) if i % 8),
    ),
    "look-alike letters of another script": (
        60,
        lambda words, _: " ".join(words).translate(str.maketrans("aeocp", "аеоср")),
    ),
    "accents left out of each word": (60, lambda words, _: " ".join(f"{one}e" for one in words)),
    "no spaces, or spaced letters": (60, lambda words, _: "".join(words)),
}


def written() -> None:
    """Whole copies, written otherwise."""
    print("| what was done | found | unrelated texts taken for near-copies |")
    print("|---|--:|--:|")
    for name, (count, edit) in WRITTEN.items():
        rng = generator(6, "written", name)
        sources = [some(rng, count) for _ in range(PAIRS)]
        originals = [
            " ".join(f"{one}é" for one in words) if name.startswith("accents") else " ".join(words)
            for words in sources
        ]
        found, wrong = seen(originals, [edit(one, rng) for one in sources])
        print(f"| {name} | {found:.0%} | {wrong:.0%} |")
    print()


def times() -> None:
    """Time of 100,000 texts of each sort."""
    print("| 100,000 texts | families | seconds of one core |")
    print("|---|--:|--:|")
    rng = generator(7, "times")
    tasks, texts = [some(rng) for _ in range(10)], [some(rng) for _ in range(200)]
    sorts = {
        "each its own": lambda: [" ".join(some(rng)) for _ in range(100_000)],
        "10 templates of 60 words, 30 own words": lambda: [
            " ".join([*tasks[i % 10], *some(rng, 30)]) for i in range(100_000)
        ],
        "200 texts, each in 400 others, and 19,800": lambda: [
            *map(" ".join, texts),
            *(around(some(rng), texts[i % 200], "middle") for i in range(80_000)),
            *(" ".join(some(rng)) for _ in range(19_800)),
        ],
    }
    for name, make in sorts.items():
        made = make()
        start = time.process_time()
        number = families(made, common_limit(len(made))).number_N
        took = time.process_time() - start
        print(f"| {name} | {np.unique(number).size} | {took:.0f} |")
    print()


if __name__ == "__main__":
    kinds()
    quoted()
    alone()
    written()
    times()
    sizes()
    templates()
