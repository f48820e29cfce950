"""Everything a run can say about its own audit: which checks can be made of it, their facts, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.controls import check_controls
from stillage.audit.duplicates import check_overlap, check_training_overlap
from stillage.audit.validity import (
    Check,
    check_answers,
    check_order,
    check_provenance,
    check_records,
    check_sources,
    check_truncation,
    judge,
)
from stillage.data.grouping import cluster_numbers, prompt_text, whole_text
from stillage.experiment.controls import ALONE, TEXT, controls_of, untrained_controls
from stillage.experiment.inputs import parts_of
from stillage.experiment.left_out import Why, left_out, saying
from stillage.experiment.readings import readings_of
from stillage.run.folder import read_json, read_table, sha256_file
from stillage.run.stages import MANIFEST
from stillage.types import Array, Record

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.data.split import Split
    from stillage.experiment.plan import Context
    from stillage.experiment.readings import Reading

NOTHING: Mapping[str, Why] = {}


def judge_run(
    context: Context,
    records: Sequence[Record],
    scores: pa.Table,
    *,
    readings: Sequence[Reading] = (),
    seen: Sequence[Check] = (),
) -> dict[str, object]:
    """validity.json: may the membership claim be printed? What could not be checked is listed with its reason.

    records: the audited ones, in their order. scores: audit/scores.parquet. readings: how the models read the records;
    empty: they are read here. seen: checks made while the models were asked (sight_checks).
    """
    from stillage.data.split import read_split

    split = read_split(context.run / "data")
    left = left_out(context, split)
    unchecked: dict[str, str] = {}
    controls = controls_of(scores) | untrained_controls(context, split, records, unchecked)
    found = [
        provenance(context, split, unchecked),
        overlap(split, left),
        training_overlap(context, split, unchecked, left),
        order(split, unchecked),
        truncation(context, split, records, readings),
        check_records([record.id for record in records], ids_by_score(scores)),
        check_sources(*fingerprints(context))
        if any(spec.is_trained for spec in context.specs)
        else None,
        check_answers(answers(scores)),
        *seen,
        check_controls(controls, context.config.audit.level, drawn_by_us=split.drawn_by_us),
    ]
    checks = [check for check in found if check is not None]
    return judge(checks, unchecked).as_json() | {"drawn_by_us": split.drawn_by_us}


def sides(split: Split) -> tuple[list[Record], list[Record]]:
    """Members and nonmembers, all of them, audited or not."""
    members, nonmembers = (
        list(split.records_by_part.get(kind, ())) for kind in ("private", "nonmembers")
    )
    return members, nonmembers


def provenance(context: Context, split: Split, unchecked: dict[str, str]) -> Check | None:
    """Where each record went, as the stages of this run wrote it down."""
    given = [spec.name for spec in context.asked if not spec.is_trained]
    if given:
        unchecked["provenance"] = (
            f"what was trained elsewhere is not known here: {', '.join(given)}"
        )
    reached = ids_by_stage(context)
    if not reached:
        return None
    return check_provenance(
        reached,
        {record.id: part for part, found in split.records_by_part.items() for record in found},
    )


def ids_by_stage(context: Context) -> dict[str, list[str]]:
    """The ids of the records that each stage of this run learned from, as it wrote them down."""
    names = ["tokenizer", *(spec.name for spec in context.specs if spec.is_trained)]
    paths = {name: context.run / name / "provenance.parquet" for name in names}
    return {
        name: read_table(path).column("id").to_pylist()
        for name, path in paths.items()
        if path.is_file()
    }


def overlap(split: Split, left: Mapping[str, Why] = NOTHING) -> Check:
    """Members that are nonmembers too, or nearly. left: who leaves the evaluation (`left_out`)."""
    members, nonmembers = sides(split)
    found = check_overlap(
        [record.id for record in members],
        [record.id for record in nonmembers],
        [whole_text(record) for record in members],
        [whole_text(record) for record in nonmembers],
    )
    if split.copies:
        found = replace(found, detail=f"{found.detail} {split.copies}.")
    return saying(found, split, left, "near")


def training_overlap(
    context: Context, split: Split, unchecked: dict[str, str], left: Mapping[str, Why] = NOTHING
) -> Check | None:
    """Members and nonmembers that the students of this run were trained on by themselves, or nearly. left: as `overlap`."""
    if not any(spec.trained_on == "public" for spec in context.specs):
        unchecked["training_overlap"] = "no student was trained here"
        return None
    if context.config.lm.path:
        unchecked["plain text"] = (
            "the corpus that the students read beside their records was not searched for members"
        )
    audited, public = [*sides(split)[0], *sides(split)[1]], split.records_by_part.get("public", [])
    found = check_training_overlap(
        [prompt_text(record) for record in audited],
        [whole_text(record) for record in audited],
        [prompt_text(record) for record in public],
        [whole_text(record) for record in public],
    )
    return saying(found, split, left, "trained")


def order(split: Split, unchecked: dict[str, str]) -> Check | None:
    """The place in the pool, where members and nonmembers come from one."""
    members, nonmembers = sides(split)
    place = places([*members, *nonmembers])
    if not split.drawn_by_us or place is None:
        unchecked["order"] = (
            "the records do not say where in a file they stood"
            if split.drawn_by_us
            else "members and nonmembers come from files of their own"
        )
        return None
    clusters = drawn_together(split, [*members, *nonmembers])
    return check_order(place, np.arange(place.size) < len(members), clusters=clusters)


def drawn_together(split: Split, records: Sequence[Record]) -> Array:
    """int[n]: equal numbers for records that were drawn as one."""
    return cluster_numbers([record.id for record in records], split.group_names(records))


def places(records: Sequence[Record]) -> Array | None:
    """Each record's place in the pool, int[n]: by file name, then line; None where a source names no line."""
    found = [
        (name, int(line))
        for name, _, line in (r.source.rpartition(":") for r in records)
        if line.isdigit()
    ]
    if len(found) < len(records):
        return None
    rank = {place: number for number, place in enumerate(sorted(set(found)))}
    return np.array([rank[place] for place in found])


def truncation(
    context: Context, split: Split, records: Sequence[Record], readings: Sequence[Reading] = ()
) -> Check:
    """How unequally members and nonmembers were cut, under the model that reads them most unequally."""
    member = np.array([part == "private" for part in parts_of(split, records)])
    clusters = drawn_together(split, records)
    found = [
        check_truncation(reading.was_cut, member, clusters=clusters)
        for reading in readings or readings_of(context, records)
    ]
    return min(found, key=lambda check: float(str(check.values["p"])))


def fingerprints(context: Context) -> tuple[dict[str, str], dict[str, str]]:
    """(sha256 that each stage wrote down, sha256 now) of the records, the tokenizer and every trained model's files."""
    expected: dict[str, str] = {}
    for name in ("data", "tokenizer", *(spec.name for spec in context.specs if spec.is_trained)):
        manifest = context.run / name / MANIFEST
        files: Mapping[str, str] = read_json(manifest)["files"] if manifest.is_file() else {}
        kept = [
            path for path in files if name == "data" or path.startswith(("model/", "tokenizer"))
        ]
        expected |= {f"{name}/{path}": files[path] for path in kept}
    now = {path: context.run / path for path in expected}
    return expected, {
        path: sha256_file(file) if file.is_file() else "nothing" for path, file in now.items()
    }


def ids_by_score(scores: pa.Table) -> dict[str, list[str]]:
    """The ids of every column of scores."""
    found: dict[str, list[str]] = {}
    for row in scores.select(["model", "attack", "id"]).to_pylist():
        found.setdefault(f"{row['attack']} on {row['model']}", []).append(row["id"])
    return found


def answers(scores: pa.Table) -> dict[str, list[Array]]:
    """Each model's scores under the attacks that ask it alone; those that also read the text, where there is no other."""
    from stillage.audit.attacks import ATTACKS

    model, attack, ids, score = (
        scores.column(name).to_numpy(zero_copy_only=False)
        for name in ("model", "attack", "id", "score")
    )
    of_model = {
        name: np.unique(ids[model == name].astype(str)) for name in dict.fromkeys(model.tolist())
    }
    found: dict[str, list[Array]] = {}
    for wanted in ({ALONE}, {ALONE, TEXT}):
        names = {
            name
            for name in set(attack.tolist()) & set(ATTACKS)
            if set(ATTACKS[name].queries) == wanted
        }
        for pair in dict.fromkeys(zip(model.tolist(), attack.tolist(), strict=True)):
            if pair[1] in names and (pair[0] not in found or wanted == {ALONE}):
                chosen = np.flatnonzero((model == pair[0]) & (attack == pair[1]))
                values = np.full(
                    of_model[pair[0]].size, np.nan
                )  # a record that was lost has no score
                values[np.searchsorted(of_model[pair[0]], ids[chosen].astype(str))] = score[chosen]
                found.setdefault(pair[0], []).append(values)
    return found
