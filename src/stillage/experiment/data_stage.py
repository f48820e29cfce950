"""The data and tokenizer stages: what later ones read, checked before training."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.audit.few_records import few_records_words
from stillage.errors import DataError
from stillage.experiment.inputs import records_of, write_ids
from stillage.experiment.specs import OUTSIDE, needed_parts, reads_corpus, trains_on_answers
from stillage.measures.dp import check_coins
from stillage.models.outside import tokenizer_source
from stillage.types import Part, Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from stillage.data.split import Split
    from stillage.experiment.context import Context

LOG = logging.getLogger("stillage")
LEAST_RECORDS: Mapping[Part, int] = {"private": 2, "nonmembers": 2}
"""Of other parts one record is enough."""


def make_data(context: Context, folder: Path) -> None:
    """Draw or read the split, and check that it serves this run."""
    from stillage.data.from_config import split_from_config
    from stillage.data.split import UNDRAWN, write_split
    from stillage.experiment.context import kept_columns

    config = context.config
    split = split_from_config(
        config.data, config.seed, keep=kept_columns(config), audits="audit" in config.stages
    )
    check_split(context, split)
    if split.copies:
        LOG.warning("%s", split.copies)
    few = few_records_words(context.config, split.counts, split.notes.get(UNDRAWN, 0))
    if few:
        LOG.warning("%s", few)
    if config.audit.dp and "audit" in config.stages:
        check_coins(split, config.audit.dp_guesses)
    write_split(folder, split)


def check_split(context: Context, split: Split) -> None:
    """Refuse records that a training or a measurement would fail on or silently skip.

    For each run anew: records drawn for one may serve another with other models and stages.
    DataError for a model with too few records; else errors as `values_of`,
    `check_public_answers` and `check_needed`.
    """
    from stillage.audit.extraction import values_of
    from stillage.data.needed import check_needed
    from stillage.experiment.context import kept_columns

    config = context.config
    for part in needed_parts(config, context.specs):
        count, least = len(split.records_by_part.get(part, [])), LEAST_RECORDS.get(part, 1)
        if count < least:
            left = {"counterfactual": ": --audit.counterfactual false."}.get(part, " (--stages).")
            raise DataError(
                f"The part {part} has too few records for this run.",
                f"{part}: {count}, needed: {least}; all parts: {split.counts}",
                "Give a file for it (data.files), a larger share (data.shares), or leave out what "
                f"needs it{left}",
            )
    if "audit" in config.stages:
        asked = [*split.records_by_part["private"], *split.records_by_part["nonmembers"]]
        for column in kept_columns(config):  # the audit would stumble here, after the training
            values_of(asked, column)
    check_public_answers(context, split.records_by_part.get("public", []))
    check_needed(split, context.config.data.needed_until)


def check_public_answers(context: Context, public: Sequence[Record]) -> None:
    """Refuse prompts alone that need answers to train on: one DataError names all.

    The student's method may train on the records' own answers, of which some are missing; and where
    there are none at all, other models may learn from nothing else.
    """
    from stillage.data.unanswered import with_answers

    having = len(with_answers(public))
    if having == len(public):
        return
    needing = {
        spec.name: spec.method
        for spec in context.specs
        if spec.trained_on == "public" and trains_on_answers(spec)
    }
    method = needing.get("student")
    others = [name for name, used in needing.items() if name != "student" and used != method]
    what, fix = [], []
    if method:
        own = "trains on the records' own answers, and not every public record has one."
        what.append(f"{method} {own}")
        complete = context.config.data.public_answers == 1
        mend = "answer them all." if complete else "keep them all (data.public_answers: 1)."
        fix.append(f"Use --method seqkd or minillm, which have every answer written; or {mend}")
    if others and not having:
        also = f" (like {', '.join(others[1:])})" if others[1:] else ""
        what.append(f"{others[0]} needs answers of its own{also}, and no public record has one.")
        mend = "(--audit.no-teacher false, --distill.init-epochs 0)"
        fix.append(f"For {' and '.join(others)}: answer a few of them, or leave it out {mend}.")
    if what:
        values = f"public: {len(public)}, of them answered: {having}"
        raise DataError(" ".join(what), values, " ".join(fix))


def make_tokenizer(context: Context, folder: Path) -> None:
    """Take the given tokenizer, or fit a BPE on public records and record their ids."""
    from stillage.data.bpe import train_bpe
    from stillage.data.chat_templates import AS_CHAT, as_chat, chosen_template
    from stillage.data.templates import render_prompt
    from stillage.models.load import load_tokenizer

    path, revision = tokenizer_source(context.config)
    used: list[Record] = []
    if path:
        tokenizer = load_tokenizer(path, revision)
    else:
        used = records_of(context, "public")
        if not used:
            what = "There are no public records to fit a tokenizer on."
            raise DataError(what, "public: 0", "Give --tokenizer.path.")
        template = context.config.data.template
        texts = [render_prompt(record, template, None) + record.response for record in used]
        tokenizer = train_bpe(texts, context.config.tokenizer.vocab_size)
    check_models(context, tokenizer)
    layout = chosen_template(context.config.data.template, tokenizer)
    if layout in AS_CHAT:  # for what is trained here, whatever the tokenizer's folder said
        tokenizer.chat_template = as_chat(layout, tokenizer)
    tokenizer.save_pretrained(folder)
    write_ids(folder / "provenance.parquet", [record.id for record in used])


def check_models(context: Context, tokenizer: PreTrainedTokenizerFast) -> None:
    """Refuse limits, shapes and tokenizers that would stop a later stage.

    Errors as `tokenise`, `from_scratch`, `load_model`, `open_corpus` and `check_same_tokenizer`.
    """
    from stillage.corpus.lm_text import check_corpus_ahead
    from stillage.data.tokenise import prompt_limit
    from stillage.models.limits import context_in
    from stillage.models.load import check_ahead, load_tokenizer
    from stillage.models.pair import check_same_tokenizer
    from stillage.models.scratch import config_from_file, config_from_numbers

    data = context.config.data
    teachers = {spec.teacher for spec in context.specs}
    for spec in context.specs:
        start, teaches = spec.start, spec.name in teachers
        settings = None
        if start.source and (spec.is_trained or teaches):
            settings = check_ahead(start, vocab_size=len(tokenizer))
            own = load_tokenizer(start.source, start.revision)
            check_same_tokenizer(*((own, tokenizer) if teaches else (tokenizer, own)))
        elif spec.name == OUTSIDE:  # it reads with a tokenizer of its own
            check_ahead(start, vocab_size=len(load_tokenizer(start.source, start.revision)))
        elif start.config:
            settings = config_from_file(Path(start.config), len(tokenizer))
        elif not start.source:
            settings = config_from_numbers(start, len(tokenizer))
        cut = spec.pruned_from or spec.base is not None  # with the context of the larger model
        reads = None if cut or settings is None else context_in(settings)
        prompt_limit(data.max_tokens, data.max_prompt_tokens, reads)
        if reads_corpus(context.config, spec):
            check_corpus_ahead(context.config.lm, tokenizer, reads)
