"""Copies in documents: every one once, in its place, whatever the condition; hosts as they were."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from stillage.errors import ConfigError, DataError
from stillage.mosaic.condition import Condition
from stillage.mosaic.injection import Injected, Mode, inject
from stillage.mosaic.ledger import survived_share, verify_ledger
from stillage.mosaic.table_columns import CANARIES, VARIATIONS, table_schema
from stillage.rng import generator

GOLDEN = Path(__file__).parents[1] / "golden"
LOWER, UPPER = "acdehilmnorstu", "AEFMNT"  # of hosts, of canaries: never of both


def golden(name: str, *, trimmed: bool = False) -> PreTrainedTokenizerFast:
    inner = Tokenizer.from_file(str(GOLDEN / f"cross_vocabulary_tokenizer_{name}.json"))
    if trimmed:
        inner.post_processor = processors.ByteLevel(trim_offsets=True)
    return PreTrainedTokenizerFast(tokenizer_object=inner)


TOKENIZERS = {
    "byte-level": golden("A_bytelevel"),
    "trimmed": golden("A_bytelevel", trimmed=True),
    "metaspace": golden("B_metaspace"),
}
KINDS = pytest.mark.parametrize("kind", list(TOKENIZERS))


def ids_of(text: str, kind: str) -> list[int]:
    return TOKENIZERS[kind](text, add_special_tokens=False)["input_ids"]


def text_of(ids: object, kind: str) -> str:
    return TOKENIZERS[kind].decode(ids, clean_up_tokenization_spaces=False)


def canaries(count: int, kind: str, space: str = "", nonmembers: int = 2) -> pa.Table:
    """Canaries "AAA AAE ...", each of other words."""
    rows = []
    for number in range(count + nonmembers):
        names = ["".join(UPPER[(number * 4 + k) // 6**n % 6] for n in (2, 1, 0)) for k in range(4)]
        text = space + " ".join(names)
        role = "member" if number < count else "nonmember"
        rows.append({"canary": number, "role": role, "text": text, "ids": ids_of(text, kind)})
    return pa.Table.from_pylist(rows, schema=table_schema(CANARIES))


def near_copies(table: pa.Table, count: int, kind: str, pieces: int = 1) -> pa.Table:
    """Near-copies with the tokens in reverse, in so many pieces."""
    rows = []
    for row in table.to_pylist():
        for variation in range(count):
            for piece, part in enumerate(np.array_split(row["ids"][::-1], pieces)):
                given = {"canary": row["canary"], "variation": variation, "piece": piece}
                given |= {"ids": part.tolist(), "text": text_of(part.tolist(), kind)}
                rows.append(given)
    return pa.Table.from_pylist(rows, schema=table_schema(VARIATIONS))


def injected(
    hosts: list[str],
    table: pa.Table,
    kind: str,
    variations: pa.Table | None = None,
    *,
    exact: int = 3,
    near: int = 0,
    mode: Mode = "tokens",
    seed: int = 1,
) -> Injected:
    found = inject(
        hosts,
        table,
        variations,
        condition=Condition(exact=exact, near=near),
        tokenizer=TOKENIZERS[kind],
        mode=mode,
        seed=seed,
    )
    verify_ledger(found.documents, found.ledger)
    return found


def without_copies(found: Injected) -> list[list[int]]:
    """The documents' tokens outside of all copies and what leads to them."""
    rests = [document.tolist() for document in found.documents]
    for row in sorted(found.ledger.to_pylist(), key=lambda row: -row["start"]):
        del rests[row["document"]][row["start"] - row["lead"] : row["end"]]
    return rests


def places(found: Injected, kind: str) -> dict[tuple[int, int, int], tuple[int, int]]:
    """(canary, number among its copies, piece) -> (document, words of the host before)."""
    rows = found.ledger.to_pylist()
    exact = max((row["copy"] + 1 for row in rows if row["variation"] < 0), default=0)
    found_at = {}
    for row in rows:
        number = row["copy"] if row["variation"] < 0 else exact + row["variation"]
        before = text_of(found.documents[row["document"]][: row["start"]], kind).split()
        words = sum(word.islower() for word in before)
        found_at[row["canary"], number, row["piece"]] = (row["document"], words)
    return found_at


def hosts_of(seed: int, kind: str) -> list[str]:
    """One to three documents of 60 to 80 words, and white space of several kinds."""
    rng = generator(seed, "hosts")
    gaps = [" ", "  "] if kind == "metaspace" else [" ", "  ", "\n", "\n\n", " \n\t"]
    hosts = []
    for _ in range(int(rng.integers(1, 4))):
        sizes = rng.integers(1, 5, int(rng.integers(60, 81)))
        words = ["".join(rng.choice(list(LOWER), size)) for size in sizes]
        hosts.append("".join(word + rng.choice(gaps) for word in words).strip())
    return hosts


@KINDS
@settings(max_examples=25)
@given(
    seed=st.integers(0, 999),
    dose=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    pieces=st.integers(1, 3),
    members=st.integers(1, 4),
    mode=st.sampled_from(["tokens", "text"]),
    space=st.sampled_from(["", " "]),
)
def test_every_copy_is_there_once_between_whole_words(
    kind: str,
    seed: int,
    dose: tuple[int, int],
    pieces: int,
    members: int,
    mode: Mode,
    space: str,
) -> None:
    space = "" if kind == "metaspace" else space  # its texts bring no space of their own
    hosts, (exact, near) = hosts_of(seed, kind), dose
    table = canaries(members, kind, space)
    variations = near_copies(table, near, kind, pieces)
    found = injected(hosts, table, kind, variations, exact=exact, near=near, mode=mode)
    rows = found.ledger.to_pylist()
    names = [(row["canary"], row["variation"], row["copy"], row["piece"]) for row in rows]
    wanted = [
        name
        for canary in range(members)
        for name in [(canary, v, 0, piece) for v in range(near) for piece in range(pieces)]
        + [(canary, -1, copy, 0) for copy in range(exact)]
    ]
    assert names == sorted(wanted)
    assert all(row["document"] == row["canary"] % len(hosts) for row in rows)
    assert len(set(places(found, kind).values())) == len(rows)  # none touches another
    for document, host in zip(found.documents, hosts, strict=True):
        words = text_of(document, kind).split()
        assert [word for word in words if word.islower()] == host.split()
        assert all(word.islower() or word.isupper() for word in words)
    if mode == "tokens":
        texts = {row["canary"]: row["ids"] for row in table.to_pylist()}
        assert without_copies(found) == [ids_of(host, kind) for host in hosts]
        assert all(row["survived"] for row in rows)
        assert all(row["ids"] == texts[row["canary"]] for row in rows if row["variation"] < 0)


@KINDS
@settings(max_examples=10)
@given(
    seed=st.integers(0, 999),
    exact=st.integers(1, 9),
    pieces=st.integers(1, 3),
    mode=st.sampled_from(["tokens", "text"]),
)
def test_a_copy_stands_in_the_same_place_in_every_condition(
    kind: str, seed: int, exact: int, pieces: int, mode: Mode
) -> None:
    hosts, table = hosts_of(seed, kind), canaries(2, kind)
    ten = places(injected(hosts, table, kind, exact=10), kind)
    fewer = places(injected(hosts, table, kind, exact=exact), kind)
    assert fewer == {name: at for name, at in ten.items() if name[1] < exact}
    near = near_copies(table, 9, kind, pieces)
    mixed = places(injected(hosts, table, kind, near, exact=1, near=9), kind)
    assert {name: at for name, at in mixed.items() if name[2] == 0} == ten
    assert len(set(mixed.values())) == len(mixed) == 2 * (1 + 9 * pieces)
    some = places(injected(hosts, table, kind, near, exact=1, near=exact - 1), kind)
    assert some.items() <= mixed.items()


@KINDS
def test_as_text_copies_stand_in_the_same_order_as_tokens(kind: str) -> None:
    host = " ".join("in the sea and on the land" for _ in range(20))
    table = canaries(5, kind)

    def order(mode: Mode) -> list[tuple[int, int]]:
        rows = injected([host], table, kind, mode=mode).ledger.to_pylist()
        return [(row["canary"], row["copy"]) for row in sorted(rows, key=lambda row: row["start"])]

    assert order("text") == order("tokens")


def test_the_original_stands_anywhere_among_the_copies() -> None:
    host, kind = " ".join("in the sea and on the land" for _ in range(200)), "byte-level"
    found = places(injected([host], canaries(50, kind), kind, exact=4), kind)
    ranks = Counter(
        sum(found[canary, k, 0] < found[canary, 0, 0] for k in range(4)) for canary in range(50)
    )
    assert min(ranks[rank] for rank in range(4)) >= 4  # of 12.5 expected
    other = places(injected([host], canaries(50, kind), kind, exact=4, seed=2), kind)
    assert other != found


@KINDS
def test_what_the_model_reads_before_a_copy(kind: str) -> None:
    bare, spaced = canaries(1, kind), canaries(1, kind, " ")
    host = "the sea " * 20
    read = text_of(injected([host], bare, kind).documents[0], kind)
    text = bare.column("text")[0].as_py()
    assert read.count(f"{' ' if kind == 'metaspace' else chr(10)}{text} ") == 3
    if kind != "metaspace":
        read = text_of(injected([host], spaced, kind).documents[0], kind)
        assert read.count(f" {text} ") == 3 and "\n" not in read


def test_as_text_a_first_token_without_a_space_is_lost_and_the_ledger_says_so() -> None:
    def share(text: str, kind: str) -> tuple[float | None, str]:
        row = {"canary": 0, "role": "member", "text": text, "ids": ids_of(text, kind)}
        table = pa.Table.from_pylist([row], schema=table_schema(CANARIES))
        found = injected(["and so on " * 30], table, kind, mode="text").ledger
        return survived_share(found), text_of(found["ids"][0].as_py(), kind)

    assert share(" the land", "byte-level") == (1.0, " the land")
    assert share("the land", "byte-level") == (0.0, " the land")
    assert share("the land", "metaspace") == (1.0, "the land")


@pytest.mark.parametrize("kind", ["byte-level", "trimmed"])
@pytest.mark.parametrize("text", [" AEF ", "  AEF", " \nAEF\n", " F\u00e9\U0001f40b"])
def test_as_text_spaces_at_the_ends_are_part_of_the_copy(kind: str, text: str) -> None:
    row = {"canary": 0, "role": "member", "text": text, "ids": ids_of(text, kind)}
    table = pa.Table.from_pylist([row], schema=table_schema(CANARIES))
    found = injected(["the sea " * 20], table, kind, mode="text")
    assert survived_share(found.ledger) == 1.0
    assert [text_of(ids, kind) for ids in found.ledger["ids"].to_pylist()] == [text] * 3


@pytest.mark.parametrize("kind", ["byte-level", "trimmed"])
@pytest.mark.parametrize("mode", ["tokens", "text"])
def test_no_character_of_several_bytes_is_cut(kind: str, mode: Mode) -> None:
    host = "鯨は海に住む。\U0001f40b\u00e9 caf\u00e9\u3000大きい \U0001f40b\U0001f40b x"
    found = injected([host], canaries(4, kind), kind, exact=3, mode=mode)
    read = text_of(found.documents[0], kind)
    assert "\ufffd" not in read
    assert [one for one in read if one in host and not one.isspace()] == list("".join(host.split()))
    for text in canaries(4, kind)["text"].to_pylist()[:4] if mode == "text" else []:
        assert len(re.findall(rf"(?<=\s){text}(?=\s)", read)) == 3


def test_members_without_near_copies_stay_out_and_move_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kind = "byte-level"
    host, table = "the sea and the land " * 20, canaries(4, kind)
    all_near = near_copies(table, 2, kind)
    first = all_near.filter(pa.compute.less(all_near["canary"], 2))
    whole = places(injected([host], table, kind, all_near, exact=1, near=2), kind)
    part = places(injected([host], table, kind, first, exact=1, near=2), kind)
    assert part == {name: at for name, at in whole.items() if name[0] < 2}
    assert "2 canaries stay out" in caplog.text


def test_nothing_injected_leaves_the_hosts() -> None:
    found = injected(["the sea", ""], canaries(1, "byte-level"), "byte-level", exact=0)
    assert [document.tolist() for document in found.documents] == [
        ids_of("the sea", "byte-level"),
        [],
    ]
    assert found.ledger.num_rows == 0 and survived_share(found.ledger) is None
    assert all(document.dtype == np.int32 for document in found.documents)


@pytest.mark.parametrize(
    ("hosts", "exact", "near", "message"),
    [
        ([], 1, 0, "nothing to inject, or nowhere"),
        (["the sea and the land"], 3, 0, "5 words, 4 places; needed for 2 canaries: 6"),
        (["the"], 1, 0, "1 words, 0 places; needed for 2 canaries: 2"),
        ([""], 1, 0, "needed for 2 canaries: 2"),
        (["the sea " * 40], 1, 3, "canary 0: near-copy 2, counted from 0, is missing"),
    ],
)
@pytest.mark.parametrize("mode", ["tokens", "text"])
def test_what_cannot_be_injected(
    hosts: list[str], exact: int, near: int, message: str, mode: Mode
) -> None:
    table = canaries(2, "byte-level")
    variations = near_copies(table, 2, "byte-level")
    with pytest.raises(DataError, match=message):
        injected(hosts, table, "byte-level", variations, exact=exact, near=near, mode=mode)


def test_doses_and_canaries_that_do_not_fit() -> None:
    table = canaries(2, "byte-level")
    with pytest.raises(ConfigError, match="exact: -1"):
        injected(["the sea"], table, "byte-level", exact=-1)
    with pytest.raises(DataError, match="no near-copies"):
        injected(["the sea " * 9], table, "byte-level", exact=1, near=1)
    with pytest.raises(DataError, match="members among the canaries: 0"):
        injected(["the sea"], canaries(0, "byte-level"), "byte-level")
    with pytest.raises(DataError, match=r"another tokenizer.\n.*canary 0"):
        injected(["the sea"], table, "metaspace")
    empty = near_copies(table, 1, "byte-level", pieces=200)
    with pytest.raises(DataError, match="near-copy 0, counted from 0, is empty"):
        injected(["the sea " * 900], table, "byte-level", empty, exact=1, near=1)
