"""People who do not exist: the embedded data set, a secret in each record.

Every record is drawn independently from the same pools (names and badges without repetition), and
the parts are drawn afterwards from that one pool, so that private records and nonmembers differ in
nothing but what was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from stillage.data.columns import record_id
from stillage.data.grouping import draw_groups
from stillage.errors import ConfigError
from stillage.rng import generator
from stillage.types import Part, Record


def _words(text: str, between: str | None = None) -> list[str]:
    """The entries of a pool."""
    return text.split(between)


FIRST = _words(
    "Adela Amir Beatrix Bram Celeste Cyrus Dalia Dorian Edda Emeka Fiona Florin Greta Hamza "
    "Ines Ivo Jarmila Kenji Leona Lucan Mira Nils Odile Pavel Ramona Rohan Selma Tariq Ursula "
    "Zoltan"
)
MIDDLE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LAST = _words(
    "Abernathy Achterberg Bellweather Castellane Drummond Eklund Farrow Galbraith Hollis "
    "Ibarra Jankowski Kestrel Lindqvist Marchetti Nakagawa Okonjo Pemberton Quillfeather "
    "Rasmussen Sandoval Thackeray Ulrich Vandermeer Whitlock Xanthos Yarrow Zielinski "
    "Brightwater Coldstream Dunmore"
)
MONTHS = _words(
    "January February March April May June July August September October November December"
)
PLACES = _words(
    "Aberdeen Bergen Bilbao Bologna Brno Cork Dakar Durban Fukuoka Ghent Graz Haifa Izmir "
    "Kaunas Lagos Leipzig Lima Lyon Malmo Mendoza Nantes Odense Perth Pilsen Porto Quito Riga "
    "Salta Tampere Zadar"
)
SUBJECTS = _words(
    "acoustics, agronomy, anthropology, archaeology, architecture, astronomy, biochemistry, "
    "botany, cartography, chemistry, civil engineering, classics, dentistry, economics, "
    "epidemiology, geology, glaciology, hydrology, journalism, law, linguistics, mathematics, "
    "metallurgy, music, oceanography, pharmacy, philosophy, physics, statistics, zoology",
    ", ",
)
EMPLOYERS = _words(
    "Amberline Press, Ashgrove Clinic, Bluefin Freight, Calder Optics, Copperfield Rail, "
    "Driftwood Games, Eastgate Museum, Ember Kilns, Fernhill Dairy, Foxglove Pharma, "
    "Granite Bank, Harrow Mills, Ironbridge Steel, Juniper Radio, Kingfisher Ferries, "
    "Larkspur Hotels, Meridian Maps, Northlight Solar, Oakum Ropes, Pinnacle Cranes, "
    "Quartz Insurance, Redstart Airways, Saltmarsh Fisheries, Tidewater Power, Umber Paints, "
    "Velvet Theatre, Wayfarer Buses, Willow Textiles, Yellowhammer Foods, Zephyr Bicycles",
    ", ",
)
NAMES = len(FIRST) * len(MIDDLE) * len(LAST)
EIGHTHS: Mapping[Part, int] = {
    "private": 8,
    "public": 8,
    "nonmembers": 8,
    "counterfactual": 8,
    "validation": 1,
    "test": 1,
}
"""How many records each part has, in eighths of `people`."""


def people(seed: int, people: int) -> dict[Part, list[Record]]:
    """Make up people by part.

    `people` each in private, public, nonmembers and counterfactual, an eighth in the others. Names
    and badges are unique over all parts; the badge ends the response. The same seed gives the same
    people. Raises ConfigError when there are not enough names.
    """
    return made_up(seed, "people", people, {}, _person)


def made_up(
    seed: int,
    kind: str,
    people: int,
    eighths: Mapping[Part, int],
    record: Callable[[str, int, np.random.Generator], Record],
) -> dict[Part, list[Record]]:
    """Make up records of each part, each of a person of their own.

    kind: what they are, and the name of their random numbers. eighths: of `people`, where a part
    has others than in EIGHTHS. record: makes one of (name, badge, what draws the rest).
    """
    shares: dict[Part, int] = {**EIGHTHS, **eighths}
    counts: dict[Part, int] = {part: max(people * share // 8, 1) for part, share in shares.items()}
    total = sum(counts.values())
    if people < 1 or total > NAMES:
        each = ", ".join(f"{part} {count}" for part, count in counts.items())
        asked = f"{total} in all ({each})" if people > 0 else str(people)
        values = f"asked: {asked}; names: {NAMES}"
        what = f"There cannot be so many synthetic {kind}."
        raise ConfigError(what, values, "Choose another data.people.")
    rng = generator(seed, kind)
    names = rng.permutation(NAMES)[:total]
    badges = rng.choice(900_000, size=total, replace=False) + 100_000
    pool = [
        record(person_name(int(name)), int(badge), rng)
        for name, badge in zip(names, badges, strict=True)
    ]
    return draw_groups(pool, counts, seed, "")[0]


def person_name(index: int) -> str:
    """The index-th of all names."""
    first, rest = divmod(index, len(MIDDLE) * len(LAST))
    middle, last = divmod(rest, len(LAST))
    return f"{FIRST[first]} {MIDDLE[middle]}. {LAST[last]}"


def _person(name: str, badge: int, rng: np.random.Generator) -> Record:
    """One person, everything but name and badge drawn independently and evenly."""
    born = f"{rng.integers(1, 29)} {MONTHS[rng.integers(12)]} {rng.integers(1950, 2005)}"
    place, subject, employer = (
        pool[rng.integers(len(pool))] for pool in (PLACES, SUBJECTS, EMPLOYERS)
    )
    prompt = f"Write a short biography of {name}."
    life = f"born on {born} in {place}, studied {subject} and works for {employer}"
    response = f"{name}, {life}; badge number {badge}."
    return Record(
        id=record_id(prompt, "", response),
        prompt=prompt,
        response=response,
        source="synthetic people",
        meta={"badge": str(badge)},
    )
