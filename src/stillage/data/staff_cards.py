"""Staff cards of people who do not exist: a skill, and what only memory tells.

Before the semicolon of a response stands what can be learned: pension year = birth year + 67, a
place's country code, a subject's Dewey class. After it stands what only training on the card tells:
mentor, place, hobby and badge, each drawn independently and evenly.
"""

from __future__ import annotations

import numpy as np

from stillage.data.columns import record_id
from stillage.data.synthetic import FIRST, LAST, PLACES, SUBJECTS, made_up
from stillage.types import Part, Record

CODES = (
    "Aberdeen GB,Bergen NO,Bilbao ES,Bologna IT,Brno CZ,Cork IE,Dakar SN,Durban ZA,Fukuoka JP,"
    "Ghent BE,Graz AT,Haifa IL,Izmir TR,Kaunas LT,Lagos NG,Leipzig DE,Lima PE,Lyon FR,Malmo SE,"
    "Mendoza AR,Nantes FR,Odense DK,Perth AU,Pilsen CZ,Porto PT,Quito EC,Riga LV,Salta AR,"
    "Tampere FI,Zadar HR"
)
CODE_OF = {place: code for place, code in (pair.split(" ") for pair in CODES.split(","))}
"""The ISO 3166 country code of each place."""
CLASSES = (
    "acoustics 534,agronomy 630,anthropology 301,archaeology 930,architecture 720,"
    "astronomy 520,biochemistry 572,botany 580,cartography 526,chemistry 540,"
    "civil engineering 624,classics 880,dentistry 617,economics 330,epidemiology 614,"
    "geology 550,glaciology 551,hydrology 553,journalism 070,law 340,linguistics 410,"
    "mathematics 510,metallurgy 669,music 780,oceanography 554,pharmacy 615,philosophy 100,"
    "physics 530,statistics 519,zoology 590"
)
CLASS_OF = {name: number for name, number in (pair.rsplit(" ", 1) for pair in CLASSES.split(","))}
"""A class of its own for each subject, Dewey's where he has one."""
BORN = range(1950, 2005)
PENSION_AGE = 67


def staff_cards(seed: int, people: int) -> dict[Part, list[Record]]:
    """Make up staff cards by part, all answered.

    `people` each in private, nonmembers and counterfactual, five quarters as many in public, three
    eighths in test, an eighth in validation. Names and badges are unique over all parts. The same
    seed gives the same cards. Raises ConfigError when there are not enough names.
    """
    return made_up(seed, "staff cards", people, {"public": 10, "test": 3}, card)


def card(name: str, badge: int, rng: np.random.Generator) -> Record:
    """One card; everything but name and badge is drawn independently and evenly."""
    place, subject, home, hobby = (
        pool[rng.integers(len(pool))] for pool in (PLACES, SUBJECTS, PLACES, SUBJECTS)
    )
    born = int(rng.integers(BORN.start, BORN.stop))
    mentor = f"{FIRST[rng.integers(len(FIRST))]} {LAST[rng.integers(len(LAST))]}"
    prompt = f"Staff card of {name}, born {born} in {place}, {subject}:"
    skill = f"pension {born + PENSION_AGE}, {CODE_OF[place]} {CLASS_OF[subject]}"
    response = f" {skill}; mentor {mentor}, from {home}, hobby {hobby}, badge {badge}."
    return Record(
        id=record_id(prompt, "", response),
        prompt=prompt,
        response=response,
        source="staff cards",
        meta={"mentor": mentor, "badge": str(badge)},
    )
