"""What the chosen attacks need beyond one pass of the audited models: other texts, other weights, and whom they ask."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from stillage.audit.prefix import Prefixes, draw_prefixes
from stillage.audit.questions import Material, Noise, Subject, ask, wanted
from stillage.errors import ConfigError
from stillage.experiment.given import check_pair
from stillage.experiment.inputs import (
    device_name,
    examples_of,
    load_finished,
    records_of,
    shortest_context,
    start_of,
    stats_key,
    tokenizer_of,
)
from stillage.experiment.specs import OUTSIDE, REFERENCE, ModelSpec
from stillage.experiment.train_stage import pruned_base
from stillage.rng import derive
from stillage.types import Attack, Party, Record, Transform

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.audit.membership import Partners
    from stillage.audit.questions import Said
    from stillage.experiment.plan import Context
    from stillage.models.masked import Masked
    from stillage.run.audit_config import AuditConfig
    from stillage.run.progress import Doing

LOG = logging.getLogger("stillage")
CLEAN: Mapping[str, str] = {
    "teacher": "teacher_counterfactual",
    "student": "student_counterfactual",
}
"""The model that the counterfactual reference of each is."""


def noise_of(context: Context) -> Noise:
    """The noise that MoPe puts on the weights."""
    audit = context.config.audit
    return Noise(
        sigma=audit.mope_sigma,
        copies=audit.mope_copies,
        relative=audit.mope_noise == "relative",
        seed=context.config.seed,
    )


def prefixes_of(
    context: Context,
    attacks: Sequence[Attack],
    records: Sequence[Record],
    parts: Sequence[str],
    groups: Sequence[str],
) -> Prefixes:
    """The records that serve as prefixes, where an attack needs some; they are evaluated by no attack and no other stage."""
    wish = given_away(attacks, context.config.audit.prefix_records)
    return draw_prefixes(
        records,
        parts,
        groups,
        seed=context.config.seed,
        nonmembers=wish.get("nonmembers", 0),
        members=wish.get("private", 0),
    )


def given_away(attacks: Sequence[Attack], count: int) -> dict[str, int]:
    """Part -> how many of its records the attacks want as prefixes; empty where none does."""
    asked = wanted(attacks)
    wish = {"nonmembers": "nonmember_prefix" in asked, "private": "member_prefix" in asked}
    return {part: count for part, is_asked in wish.items() if is_asked and count}


def material_of(
    context: Context, attacks: Sequence[Attack], records: Sequence[Record], prefixes: Prefixes
) -> Material:
    """Everything the questions are made of; what there is nothing for is `missing`, with the reason.

    Errors as load_masked, for a masked model that is given and cannot be used.
    """
    asked = wanted(attacks)
    public = records_of(context, "public")
    missing: dict[Transform, str] = {}
    near: list[tuple[str, ...]] = [()] * len(records)
    ends: list[int] = []
    if "neighbours" in asked:
        model = masked_of(context.config.audit, public, context.cache, context.config.seed)
        if model is None:
            missing["neighbours"] = (
                "there is no masked model (audit.masked_model), nor public records to train one on"
            )
        else:
            ends = read_by_all(context, records)
            near = near_texts(context, model, as_far_as(records, ends))
    needed_until = context.config.data.needed_until
    if "needed" in asked and not needed_until:
        missing["needed"] = (
            "nobody said where the needed part of a response ends (data.needed_until)"
        )
    if "frequency" in asked and not public:
        missing["frequency"] = "there are no public records to count tokens in"
    if "nonmember_prefix" in asked and not prefixes.nonmembers:
        missing["nonmember_prefix"] = (
            "there are too few nonmembers to give some away as a prefix (audit.prefix_records)"
        )
    if "member_prefix" in asked and not prefixes.members:
        missing["member_prefix"] = (
            "there are too few members to give some away as a prefix (audit.prefix_records)"
        )
    return Material(
        records=tuple(records),
        neighbours=tuple(near),
        ends=tuple(ends),
        nonmembers=prefixes.nonmembers,
        members=prefixes.members,
        public=tuple(public),
        needed_until=needed_until,
        missing=missing,
    )


def masked_of(
    audit: AuditConfig, public: Sequence[Record], cache: Path, seed: int
) -> Masked | None:
    """The given masked model, or a small one trained on the public records; None without either."""
    from stillage.models.masked import load_masked
    from stillage.models.masked_train import small_masked

    if audit.masked_model:
        return load_masked(audit.masked_model, audit.masked_revision, device_name())
    texts = [record.response for record in public if record.response]
    return small_masked(texts, seed, cache, device=device_name()) if texts else None


def read_by_all(context: Context, records: Sequence[Record]) -> list[int]:
    """How many characters of each response every audited model reads: END for all of it."""
    from stillage.experiment.readings import readings_of
    from stillage.types import END

    ends = [END] * len(records)
    for reading in readings_of(context, records):
        spans = [example.span for example in reading.tokenised.examples]
        ends = [
            end if span is None else min(end, int(span.bounds_N[-1]))
            for end, span in zip(ends, spans, strict=True)
        ]
    return ends


def as_far_as(records: Sequence[Record], ends: Sequence[int]) -> list[Record]:
    """The records, their responses cut to so many characters."""
    return [
        replace(record, response=record.response[:end])
        for record, end in zip(records, ends, strict=True)
    ]


def near_texts(context: Context, model: Masked, records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Every record's neighbours, of the run's settings."""
    from stillage.audit.neighbours import neighbours

    audit = context.config.audit
    return neighbours(
        model,
        records,
        count=audit.neighbours,
        share=audit.neighbour_share,
        top_k=audit.neighbour_top_k,
        seed=context.config.seed,
        cache=context.cache,
        batch_tokens=audit.batch_tokens,
        progress=context.doing("audit", "the masked model")("making {} neighbours"),
    )


def subject_of(context: Context, spec: ModelSpec, stage: str = "audit") -> Subject:
    """The finished model of a model, ready to be asked by a stage."""
    tokenizer = tokenizer_of(context, spec)
    model, key = load_finished(context, spec, tokenizer), stats_key(context, spec)
    return subject(
        context,
        model,
        tokenizer,
        key,
        context.doing(stage, spec.name),
        what=f"{spec.name}, {stage}",
    )


def subject(
    context: Context,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    key: str,
    doing: Doing,
    *,
    what: str,
) -> Subject:
    """A model and its tokenizer under the run's template and limits. what: as in `tokenise`."""
    room = shortest_context(model)
    encode = partial(
        examples_of, tokenizer=tokenizer, data=context.config.data, context_tokens=room, what=what
    )
    return Subject(
        model=model,
        tokenizer=tokenizer,
        encode=encode,
        key=key,
        cache=context.cache,
        batch_tokens=context.config.audit.batch_tokens,
        doing=doing,
    )


def initial_of(
    context: Context, attacks: Sequence[Attack], material: Material
) -> tuple[dict[str, Said], dict[str, str]]:
    """What the weights said that each training started from: replies by key, and the key of every model's start.

    Models of one start share its replies. A model that is not trained in this run has none.
    """
    from stillage.models.identity import model_hash
    from stillage.models.load import load_model

    transforms, own = wanted(attacks, ("initial", "teacher_initial")), wanted(attacks, ("initial",))
    said: dict[str, Said] = {}
    keys: dict[str, str] = {}
    if not transforms:
        return said, keys
    for spec in context.models:
        if not spec.is_trained or not (own or spec.name == "teacher"):
            continue
        tokenizer = tokenizer_of(context, spec)
        model = pruned_base(context, spec, tokenizer)
        if model is None:
            kind = "teacher" if spec.name.startswith("teacher") else "student"
            seed = derive(context.config.seed, "weights", kind)
            start = start_of(context, spec)
            model = load_model(start, vocab_size=len(tokenizer), seed=seed, device=device_name())
        key = f"start {model_hash(model)}"
        keys[spec.name] = key
        if key not in said:
            doing = context.doing("audit", f"the start of {spec.name}")
            what = f"the start of {spec.name}, audit"
            asked = subject(context, model, tokenizer, key, doing, what=what)
            said[key] = ask(asked, transforms, material, noise_of(context))
    return said, keys


def self_prompted_of(
    context: Context, attacks: Sequence[Attack], material: Material
) -> tuple[dict[str, Said], dict[str, str]]:
    """What the models said that were trained on the audited ones' texts: replies by name, and the name of every model's."""
    transforms = wanted(attacks, ("self_prompted",))
    said: dict[str, Said] = {}
    for spec in context.specs:
        if spec.imitates and transforms:
            context.progress("audit", {"model": spec.name})
            said[spec.name] = ask(
                subject_of(context, spec), transforms, material, noise_of(context)
            )
    return said, {spec.imitates: spec.name for spec in context.specs if spec.name in said}


def check_reference(context: Context) -> None:
    """Refuse a reference that is an audited model, and a student that is its teacher. ConfigError with both names."""
    given = {spec.name: spec.start.source for spec in context.asked if not spec.is_trained}
    outside = outside_of(context)
    if not outside and len(given) < 2:
        return
    asked = [spec for spec in context.asked if outside or spec.name in given]
    keys = {spec.name: stats_key(context, spec) for spec in asked}  # each hashes a model's files
    check_pair(keys, given)
    same = [
        name for name, key in keys.items() if outside not in ("", name) and key == keys[outside]
    ]
    if same:
        raise ConfigError(
            "The reference model is the audited model itself.",
            f"audit.reference: {context.config.audit.reference}, with the weights of: {', '.join(same)}",
            "Name a model that never met the members, or leave out audit.reference.",
        )


def outside_of(context: Context) -> str:
    """What the audit calls the model that is given as audit.reference; empty where none is."""
    return next(
        (
            spec.name
            for spec in context.asked
            if spec.name in (OUTSIDE, REFERENCE) and not spec.is_trained
        ),
        "",
    )


def partners_of(
    names: Sequence[str],
    starts: Mapping[str, str],
    controls: Sequence[str],
    prompted: Mapping[str, str] = MappingProxyType({}),
    outside: str = "",
) -> dict[str, Partners]:
    """For every audited model, whom else its attacks ask; a control is its own counterfactual, so it is not compared.

    The reference is the student without a teacher, or the model outside where there is none.
    starts, prompted: model -> the name of its start, and of the model trained on its texts. outside: see `outside_of`.
    """
    found: dict[str, Partners] = {}
    for name in names:
        others: dict[Party, str] = {}
        if REFERENCE in names or outside:
            others["reference"] = REFERENCE if REFERENCE in names else outside
        if outside:
            others["outside"] = outside
        if name in controls:
            others["counterfactual"] = name
        elif CLEAN.get(name) in names:
            others["counterfactual"] = CLEAN[name]
        if name in starts:
            others["initial"] = starts[name]
        if "teacher" in starts:
            others["teacher_initial"] = starts["teacher"]
        if name in prompted:
            others["self_prompted"] = prompted[name]
        found[name] = others
    return found
