"""Staff cards of people who do not exist: a skill that distillation teaches, beside a memory that it gives away.

Before the semicolon of a response stands what can be learned: pension year = birth year + 67, a place's country code, a
subject's Dewey class. After it stands what only training on the card tells: mentor, place, hobby and badge, each drawn
independently and evenly.
"""

from __future__ import annotations

import numpy as np

from stillage.data.columns import record_id
from stillage.data.split import allot
from stillage.data.synthetic import FIRST, LAST, MIDDLE, MOST, PLACES, SUBJECTS
from stillage.errors import ConfigError
from stillage.rng import generator
from stillage.types import Record, Role

CODES = tuple("GB NO ES IT CZ IE SN ZA JP BE AT IL TR LT NG DE PE FR SE AR FR DK AU CZ PT EC LV AR FI HR".split())
"""ISO 3166 country code of each of PLACES."""
CLASSES = tuple(
    "534 630 301 930 720 520 572 580 526 540 624 880 617 330 614 550 551 553 070 340 410 510 669 780 554 615 100 530 519 "
    "590".split()
)
"""A Dewey class for each of SUBJECTS."""
COLUMNS = ("mentor", "badge")
"""What is kept with each record, to slice by or to be recited."""
BORN = range(1950, 2005)
PENSION_AGE = 67


def staff_cards(seed: int, people: int) -> dict[Role, list[Record]]:
    """Made-up staff cards by role: `people` each in private, outsiders and counterfactual, five quarters as many in public.

    Three eighths as many in test, an eighth in validation, all answered. Names and badges are unique over all roles;
    `meta` keeps mentor and badge. The same seed gives the same cards. Raises ConfigError when there are not enough names.
    """
    counts: dict[Role, int] = {
        "private": people,
        "public": max(people * 5 // 4, 1),
        "outsiders": people,
        "counterfactual": people,
        "validation": max(people // 8, 1),
        "test": max(people * 3 // 8, 1),
    }
    total = sum(counts.values())
    if people < 1 or total > MOST:
        fix = f"Choose a number of people from 1 to {4 * MOST // 19}."
        raise ConfigError("There cannot be so many staff cards.", f"asked: {people}; names: {MOST}", fix)
    rng = generator(seed, "staff cards")
    names = rng.permutation(MOST)[:total]
    badges = rng.choice(900_000, size=total, replace=False) + 100_000
    pool = [card(int(name), int(badge), rng) for name, badge in zip(names, badges, strict=True)]
    return allot(pool, counts, seed)


def card(name_index: int, badge: int, rng: np.random.Generator) -> Record:
    """One card; everything but name and badge is drawn independently and evenly."""
    first, rest = divmod(name_index, len(MIDDLE) * len(LAST))
    middle, last = divmod(rest, len(LAST))
    place, subject, home, hobby = (int(rng.integers(len(pool))) for pool in (PLACES, SUBJECTS, PLACES, SUBJECTS))
    born = int(rng.integers(BORN.start, BORN.stop))
    mentor = f"{FIRST[rng.integers(len(FIRST))]} {LAST[rng.integers(len(LAST))]}"
    prompt = (
        f"Staff card of {FIRST[first]} {MIDDLE[middle]}. {LAST[last]}, "
        f"born {born} in {PLACES[place]}, {SUBJECTS[subject]}:"
    )
    response = (
        f" pension {born + PENSION_AGE}, {CODES[place]} {CLASSES[subject]}; "
        f"mentor {mentor}, from {PLACES[home]}, hobby {SUBJECTS[hobby]}, badge {badge}."
    )
    return Record(
        id=record_id(prompt, "", response), prompt=prompt, response=response, source="staff cards",
        meta={"mentor": mentor, "badge": str(badge)},
    )  # fmt: skip
