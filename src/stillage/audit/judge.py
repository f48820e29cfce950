"""Judge an audit: which checks can be made of it, their facts, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.attacks import ATTACKS
from stillage.audit.control_models import STUDENT
from stillage.audit.control_scores import AS_IS, TEXT, controls_of, untrained_controls
from stillage.audit.controls import check_controls
from stillage.audit.duplicates import Sides, check_overlap, check_training_overlap
from stillage.audit.left_out import Why, saying
from stillage.audit.scores import Scores
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
from stillage.data.grouping import cluster_numbers
from stillage.types import Array, Record

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.audit.audit_records import AuditRecords
    from stillage.audit.given import AuditModel, AuditSettings, TrainingFacts
    from stillage.audit.record_readings import Reading
    from stillage.data.split import Split


def judge_audit(
    records: AuditRecords,
    models: Sequence[AuditModel],
    facts: TrainingFacts,
    scores: pa.Table,
    readings: Sequence[Reading],
    settings: AuditSettings,
    seen: Sequence[Check] = (),
) -> dict[str, object]:
    """Judge whether the membership claim may be printed (validity.json).

    What could not be checked is listed with its reason. scores: audit/scores.parquet. readings: how
    the models read the records. seen: checks made while the models were asked (`sight_checks`).
    """
    split, sides, left = records.split, records.sides, records.left
    unchecked: dict[str, str] = {}
    student = next((model for model in models if model.name == STUDENT), None)
    controls = controls_of(scores)
    controls |= untrained_controls(facts, student, records, settings)
    if facts.load_untrained is None:
        unchecked["untrained student"] = facts.why_no_untrained
    given = [model.name for model in models if not model.is_trained]
    checks = [
        provenance(split, facts, given, unchecked),
        overlap(sides, left),
        training_overlap(sides, facts, unchecked, left),
        order(sides, unchecked),
        truncation(records, readings),
        check_records(records.audited.ids, ids_by_score(scores)),
        check_sources(*facts.fingerprints()) if facts.fingerprints is not None else None,
        check_answers(answers(scores)),
        *seen,
        check_controls(controls, settings.audit.level, drawn_by_us=split.drawn_by_us),
    ]
    made = [check for check in checks if check is not None]
    return judge(made, unchecked).as_json() | {"drawn_by_us": split.drawn_by_us}


def provenance(
    split: Split, facts: TrainingFacts, given: Sequence[str], unchecked: dict[str, str]
) -> Check | None:
    """Check where each record went, as the stages of this run wrote it down."""
    if given:
        unchecked["provenance"] = (
            f"what was trained elsewhere is not known here: {', '.join(given)}"
        )
    if not facts.met:
        return None
    return check_provenance(
        facts.met,
        {record.id: part for part, records in split.records_by_part.items() for record in records},
    )


def overlap(sides: Sides, left: Mapping[str, Why]) -> Check:
    """Look for members that are nonmembers too, or nearly. left: as `left_out`."""
    members, nonmembers = ([record.id for record in side] for side in sides.records)
    check = check_overlap(members, nonmembers, sides.across)
    if copies := sides.split.copies:
        check = replace(check, detail=f"{check.detail} {copies}.")
    return saying(check, sides, left, "near")


def training_overlap(
    sides: Sides, facts: TrainingFacts, unchecked: dict[str, str], left: Mapping[str, Why]
) -> Check | None:
    """Look for members and nonmembers that students were trained on, or nearly."""
    if not facts.learns_public:
        unchecked["training_overlap"] = "no student was trained here"
        return None
    if facts.reads_corpus:
        unchecked["plain text"] = (
            "the corpus that the students read beside their records was not searched for members"
        )
    return saying(check_training_overlap(*sides.trained), sides, left, "trained")


def order(sides: Sides, unchecked: dict[str, str]) -> Check | None:
    """Compare the places in the pool, where members and nonmembers come from one."""
    members, nonmembers = sides.records
    records = [*members, *nonmembers]
    place = places(records)
    if not sides.split.drawn_by_us or place is None:
        unchecked["order"] = (
            "the records do not say where in a file they stood"
            if sides.split.drawn_by_us
            else "members and nonmembers come from files of their own"
        )
        return None
    groups = sides.split.group_names(records)
    clusters = cluster_numbers([record.id for record in records], groups)
    return check_order(place, np.arange(place.size) < len(members), clusters=clusters)


def places(records: Sequence[Record]) -> Array | None:
    """Return each record's place in the pool, int[n]; None where a source names none."""
    stood = [
        (name, int(line))
        for name, _, line in (record.source.rpartition(":") for record in records)
        if line.isdigit()
    ]
    if len(stood) < len(records):
        return None
    rank = {place: number for number, place in enumerate(sorted(set(stood)))}
    return np.array([rank[place] for place in stood])


def truncation(records: AuditRecords, readings: Sequence[Reading]) -> Check:
    """Compare how often members and nonmembers were cut, by the most unequal model."""
    audited = records.audited
    checks = [
        check_truncation(reading.was_cut, audited.is_member, clusters=audited.clusters)
        for reading in readings
    ]
    return min(checks, key=lambda check: float(str(check.values["p"])))


def ids_by_score(scores: pa.Table) -> dict[str, list[str]]:
    """Return the ids of every column of scores."""
    read = Scores(scores)
    return {
        f"{attack} on {model}": read.of(model, attack, with_missing=True).ids.tolist()
        for model, attack in read.pairs
    }


def answers(scores: pa.Table) -> dict[str, list[Array]]:
    """Return each model's scores under the attacks that ask it alone.

    Attacks that also read the text count for a model that has no other.
    """
    read, columns = Scores(scores), dict[str, list[Array]]()
    for model in read.models:
        found = read.attacks_on(model).scores
        for wanted in ({AS_IS}, {AS_IS, TEXT}):
            asking = [
                name for name in found if name in ATTACKS and set(ATTACKS[name].queries) == wanted
            ]
            if asking:
                columns[model] = [found[name] for name in asking]
                break
    return columns
