"""A finished mosaic run as files, with plausible numbers; nothing is trained."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillage.mosaic.table_columns import BOOKS, CANARIES, LEDGER, MONITOR, POINTS, table_schema
from stillage.rng import generator
from stillage.run.folder import write_table

N, LENGTH = 10, 100
AUCS = {
    1: 0.61,
    2: 0.71,
    3: 0.77,
    4: 0.84,
    5: 0.89,
    6: 0.925,
    7: 0.95,
    8: 0.97,
    9: 0.985,
    10: 0.995,
}
RHO = {1: 0.93, 5: 0.79, 10: 0.64, 15: 0.53, 20: 0.45, 25: 0.39, 50: 0.18, 75: 0.06}
ATTACKS = {"loss": 0.0, "ratio": 0.003}
Row = dict[str, Any]


def experiments() -> list[Row]:
    """The experiments as the metadata of points names them."""
    gpt_neo = [0.898, 0.781, 0.646, 0.52, 0.452, 0.401, 0.186, 0.081]
    shuffled = (0.526, 0.346, 0.24, 0.181), (0.643, 0.501, 0.386, 0.334)
    told = [
        ("exact_copies", "Exact copies", "exact copies", "auc", ()),
        (
            "replacement",
            "Tokens replaced",
            f"tokens replaced, of {LENGTH}",
            "rho",
            [("", x, y) for x, y in zip(RHO, gpt_neo, strict=True)],
        ),
        (
            "shuffle",
            "Pieces in another order",
            "share of token pairs in the other order (tau)",
            "rho",
            [
                (f"n = {n}", x, y)
                for n, line in zip((2, 5), shuffled, strict=True)
                for x, y in zip((0.1, 0.2, 0.3, 0.4), line, strict=True)
            ],
        ),
        ("candidates", "Where replacements come from", "candidates", "rho", ()),
        ("distillation", "Mosaic through distillation", "tokens replaced", "rho", ()),
        ("extraction", "Extraction", "tokens replaced", "recital", ()),
        ("distances", "Which distance tells it best?", "distance", "distance", ()),
    ]
    keys = ("name", "title", "axis", "shows", "published")
    note = {"shuffle": "Published: pieces of 2 and 5 tokens."}
    return [
        {**dict(zip(keys, one, strict=True)), "note": note.get(one[0], ""), "copies": N}
        for one in told
    ]


def auc_of(copies: float) -> float:
    """The AUC of so many exact copies, between those of AUCS."""
    low = min(N - 1, max(1, int(copies)))
    return AUCS[low] + (copies - low) * (AUCS[low + 1] - AUCS[low])


def point(experiment: str, attack: str, x: float, rho: float, **others: object) -> Row:
    """A point of near-copies worth `rho`."""
    copies, shift = 1 + rho * (N - 1), ATTACKS[attack]
    auc, wide = min(1.0, auc_of(copies) + shift), 0.05 + 0.06 * rho
    changed = others.get("changed", x)
    assert isinstance(changed, float | int)
    row: Row = {
        **dict.fromkeys(POINTS),
        "experiment": experiment,
        "series": "",
        "label": "",
        "x": float(x),
        "attack": attack,
        "condition": f"near-{experiment}-{x:g}",
        "auc": auc,
        "auc_low": auc - 0.4 * (1 - auc),
        "auc_high": auc + 0.3 * (1 - auc),
        "copies": 1 + (rho + shift) * (N - 1),
        "rho": rho + shift,
        "rho_low": rho + shift - wide,
        "rho_high": rho + shift + wide,
        "rho_isotonic": rho + shift - 0.015,
        "rho_isotonic_low": rho + shift - 0.015 - wide,
        "rho_isotonic_high": rho + shift - 0.015 + wide,
        "branch": "interp",
        "flags": [],
        "levenshtein": 0.97 * changed,
        "damerau": 0.96 * changed,
        "indel": 1.9 * changed,
        "token_overlap": changed / LENGTH,
        "token_jaccard": min(1.0, 1.6 * changed / LENGTH),
        "gram_jaccard": 1 - (1 - changed / LENGTH) ** 13,
        "survived": 1.0,
        "members": 100,
        "nonmembers": 100,
    }
    row |= {name: value for name, value in others.items() if name in POINTS}
    return row


def points() -> list[Row]:
    """The points of all experiments under every attack."""
    rows = list[Row]()
    for attack in ATTACKS:
        for copies in AUCS:
            rows.append(
                point(
                    "exact_copies",
                    attack,
                    copies,
                    (copies - 1) / (N - 1),
                    condition=f"exact-{copies}",
                )
            )
        for x, rho in RHO.items():
            flags = ["extrapolated"] if x == 1 and attack == "ratio" else []
            rows.append(point("replacement", attack, x, rho, flags=flags))
            bleu = 0.05 + 0.2 * rho
            recited = {"bleu": bleu, "bleu_low": bleu - 0.02, "bleu_high": bleu + 0.03}
            recited |= {f"edit_similarity{k[4:]}": v + 0.06 for k, v in recited.items()}
            rows.append(point("extraction", attack, x, rho, series="near-copies", **recited))
        for n, rhos in {2: (0.5, 0.33, 0.22, 0.17), 5: (0.6, 0.46, 0.36, 0.31)}.items():
            for x, rho in zip((0.1, 0.2, 0.3, 0.4), rhos, strict=True):
                rows.append(point("shuffle", attack, x, rho, series=f"n = {n}", changed=100 * x))
        for place, (label, rho) in enumerate(
            {
                "masked, top 10": 0.64,
                "masked, top 1,000": 0.58,
                "any of the vocabulary": 0.55,
            }.items()
        ):
            rows.append(point("candidates", attack, place, rho, label=label, changed=10))
        for method, rho in {"sft": 0.02, "kd": 0.55, "seqkd": 0.2, "gkd": 0.5}.items():
            for x, less in {10: 1.0, 50: 0.3}.items():
                rows.append(point("distillation", attack, x, rho * less, series=method))
        for changed, rho in RHO.items():
            for series, loss in (("replaced", 0.0), ("shuffled", 0.15)):
                worth = max(0.0, rho - loss)
                rows.append(point("distances", attack, changed, worth, series=series))
    return rows


def about() -> Row:
    """The metadata "run" of points."""
    return {
        "model": "models/from_scratch_4x192",
        "tokenizer": "bpe-4096",
        "canaries": {"members": 100, "nonmembers": 100, "length": LENGTH},
        "hosts": 1,
        "seed": 1,
        "copies": N,
        "attacks": list(ATTACKS),
        "level": 0.95,
        "resamples": 1000,
        "inject": "tokens",
        "device": "cpu",
    }


def write(
    path: Path, columns: Mapping[str, str], rows: Sequence[Row], about: Mapping[str, object]
) -> None:
    """Write a table of a mosaic stage with its metadata."""
    told = {name: json.dumps(value) for name, value in about.items()}
    write_table(path, pa.Table.from_pylist(list(rows), schema=table_schema(columns)), told)


def build(
    folder: Path,
    *,
    rows: Sequence[Row] | None = None,
    told: Mapping[str, object] | None = None,
    titles: Sequence[str] = ("pride_and_prejudice",),
) -> Path:
    """Write a run's folder. rows: other points; told: other metadata "run"."""
    shown = points() if rows is None else rows
    heads = {"experiments": experiments(), "run": about() if told is None else dict(told)}
    write(folder / "mosaic" / "points.parquet", POINTS, shown, heads)
    write_books(folder, titles)
    write_canaries(folder)
    for copies in AUCS:
        write_condition(folder / f"exact-{copies}", copies)
    return folder


def write_books(folder: Path, titles: Sequence[str]) -> None:
    """The hosts, and seven other documents."""
    rows = [
        {
            "document": at,
            "title": title,
            "text": "",
            "sha256": "0" * 64,
            "is_host": at < len(titles),
        }
        for at, title in enumerate([*titles, *(f"other_{number}" for number in range(7))])
    ]
    write(folder / "books" / "books.parquet", BOOKS, rows, {})


def write_canaries(folder: Path) -> None:
    """100 members and 100 nonmembers with perplexities."""
    made = {
        "tokenizer": "sha256:1234",
        "generator": "base",
        "sampling": {"temperature": 1.0, "top_k": 0, "top_p": 1.0},
        "rejected": {"too short": 14, "too like another": 3, "does not round-trip": 9},
    }
    perplexity = generator(1, "perplexity").lognormal(4, 0.5, size=200)
    rows = [
        {
            "canary": at,
            "role": "member" if at < 100 else "nonmember",
            "text": "secret words of a canary",
            "ids": [1, 2],
            "perplexity": float(perplexity[at]),
            "bucket": None,
            "seed": 1,
        }
        for at in range(200)
    ]
    path = folder / "canaries" / "canaries.parquet"
    write(path, CANARIES, rows, {"canaries": made})


def write_condition(folder: Path, copies: int) -> None:
    """What was monitored and injected in one training."""
    monitor = [
        {
            "step": step,
            "attack": attack,
            "auc": 0.5 + (AUCS[copies] - 0.5) * (1 - math.exp(-step / 20)),
        }
        for attack in ATTACKS
        for step in range(0, 101, 20)
    ]
    write(folder / "monitor.parquet", MONITOR, monitor, {})
    ledger = [
        {
            "canary": canary,
            "variation": -1,
            "piece": 0,
            "copy": copy,
            "document": 0,
            "start": 0,
            "end": LENGTH,
            "survived": (canary, copy) != (0, 1),
            "ids": [],
        }
        for canary in range(100)
        for copy in range(copies)
    ]
    write(folder / "ledger.parquet", LEDGER, ledger, {})
