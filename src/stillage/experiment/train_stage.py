"""The training stages, one per model: gather what it learns from, and train."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from stillage.audit.draw_records import some_records
from stillage.data.tokenise import make_examples
from stillage.experiment.inputs import (
    load_finished,
    load_untrained,
    records_of,
    start_of,
    tokenizer_of,
    use_threads,
)
from stillage.experiment.specs import INIT, ModelSpec, reads_corpus, trains_on_answers
from stillage.models.limits import device_name, shortest_context
from stillage.run.folder import remove
from stillage.run.parse import to_plain
from stillage.types import Record

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.corpus.lm_text import PlainTextLoss
    from stillage.data.split import Split
    from stillage.distill.task import TrainingTask
    from stillage.experiment.context import Context


def train_model(context: Context, spec: ModelSpec, folder: Path) -> None:
    """Train one model, continuing from its newest good checkpoint if there is one.

    Every process of a run calls this; the first then calls the others, and it alone writes.
    """
    from stillage.corpus.lm_text import PACKED
    from stillage.data.split import read_split
    from stillage.distill.train import train
    from stillage.experiment.data_stage import check_split
    from stillage.models.load import load_tokenizer

    split = read_split(context.run / "data")
    check_split(context, split)  # the records may have been drawn for a run with other models
    use_threads(context)
    tokenizer = load_tokenizer(str(context.run / "tokenizer"))
    corpus = corpus_of(context, spec, tokenizer, folder)
    if context.is_first and context.team is not None:
        context.team.call(order_to_train(context, spec, folder))
    task = training_task(context, spec, split, tokenizer, corpus, folder)
    settings = {"train": to_plain(spec.train), "method": spec.method, **dict(spec.params)}
    with context.stop.deferred(), reporting(context, spec.name, folder, settings) as report:
        train(task, folder, should_stop=context.stop, report=report)
    if context.is_first:
        remove(folder / PACKED)


def training_task(
    context: Context,
    spec: ModelSpec,
    split: Split,
    tokenizer: PreTrainedTokenizerFast,
    corpus: PlainTextLoss | None,
    folder: Path,
) -> TrainingTask:
    """Load the models of a training, and tokenise what it reads."""
    from stillage.distill.batches import as_long_as_with_a_teacher
    from stillage.distill.methods import METHODS
    from stillage.distill.settings import params_from
    from stillage.distill.task import TrainingTask
    from stillage.rng import derive

    assert spec.train is not None
    config, method = context.config, METHODS[spec.method]
    named = spec.imitates or spec.name
    kind = named if spec.shadow else "teacher" if named.startswith("teacher") else "student"
    student = untrained_model(
        context, spec, tokenizer, derive(config.seed, "weights", kind), folder
    )
    teacher = teacher_of(context, spec, tokenizer)
    limit = shortest_context(student, teacher)
    records, options = training_records(context, spec), spec.train
    validation = split.records_by_part.get("validation", [])
    if spec.is_student:
        prompts = len(split.records_by_part.get("public", ()))
        options = as_long_as_with_a_teacher(options, len(records), prompts)
    examples = partial(make_examples, tokenizer=tokenizer, data=config.data, context_tokens=limit)
    return TrainingTask(
        student=student,
        tokenizer=tokenizer,
        teacher=teacher,
        method=method,
        params=params_from(method, dict(spec.params)),
        examples=examples(records, what=f"{spec.name}, {spec.trained_on}"),
        validation=examples(validation, what=f"{spec.name}, validation"),
        options=options,
        seed=derive(config.seed, "train", INIT if spec.name == INIT else kind),
        corpus=corpus,
    )


def untrained_model(
    context: Context, spec: ModelSpec, tokenizer: PreTrainedTokenizerFast, seed: int, folder: Path
) -> PreTrainedModel:
    """Load a model as its training starts from it. seed: of weights that are drawn."""
    from stillage.models.load import load_tokenizer
    from stillage.models.lora import load_trainable
    from stillage.models.pair import check_same_tokenizer

    if spec.start.source:
        check_same_tokenizer(tokenizer, load_tokenizer(spec.start.source, spec.start.revision))
    with TemporaryDirectory() as elsewhere:
        return load_trainable(
            start_of(context, spec),
            tokenizer=tokenizer,
            seed=seed,
            device=device_name(),
            base_folder=(folder if context.is_first else Path(elsewhere)) / "base",
            base=pruned_base(context, spec, tokenizer),
        )


def teacher_of(
    context: Context, spec: ModelSpec, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel | None:
    """Load the model that teaches this one, if any."""
    from stillage.models.pair import check_same_tokenizer

    if not spec.teacher:
        return None
    teacher = context.model(spec.teacher)
    check_same_tokenizer(tokenizer_of(context, teacher), tokenizer)
    return load_finished(context, teacher, tokenizer)


def training_records(context: Context, spec: ModelSpec) -> list[Record]:
    """List a model's training records: of a part, a shadow's draw, or for prompts.

    Prompts alone are left out where the method trains on the records' own answers.
    """
    from stillage.data.unanswered import with_answers
    from stillage.experiment.shadows import records_in

    assert spec.trained_on is not None
    if spec.shadow and spec.trained_on == "private":
        return records_in(context, spec.shadow)
    found = records_of(context, spec.trained_on)
    if spec.imitates:
        most = context.config.audit.self_prompt_texts
        pool = sorted(found, key=lambda record: record.id)
        return some_records(pool, most, context.config.seed, "self_prompt")
    return with_answers(found) if trains_on_answers(spec) else found


def corpus_of(
    context: Context, spec: ModelSpec, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> PlainTextLoss | None:
    """Open the plain text that a model also learns; only the first process packs it."""
    from stillage.corpus.lm_text import PACKED, PACKED_SUFFIX, open_corpus

    if not reads_corpus(context.config, spec):
        return None
    lm = context.config.lm
    if not context.is_first and Path(lm.path).suffix != PACKED_SUFFIX:
        lm = replace(lm, path=str(folder / PACKED))
    return open_corpus(lm, tokenizer, folder)


def order_to_train(context: Context, spec: ModelSpec, folder: Path) -> dict[str, object]:
    """Say what the other processes of a run need to take part in a training."""
    from stillage.run.parse import to_yaml

    return {
        "config": to_yaml(context.config),
        "model": spec.name,
        "folder": str(folder.resolve()),
        "plugins": [plugin.sha256 for plugin in context.plugins],
    }


@contextmanager
def reporting(
    context: Context, name: str, folder: Path, settings: Mapping[str, object]
) -> Iterator[Callable[[dict[str, object]], None]]:
    """Pass a training's numbers to the progress bar and, if asked for, the tracker."""
    from stillage.distill.track import Tracker

    def report(facts: dict[str, object]) -> None:
        context.progress(name, facts)
        if tracker is not None and "step" in facts:  # not while the teacher writes
            tracker.log(facts)

    with ExitStack() as opened:
        tracker = None
        if context.config.track != "none" and context.is_first:
            track, run = context.config.track, context.run_id
            tracker = Tracker(track, run=run, model=name, folder=folder, settings=dict(settings))
            opened.enter_context(closing(tracker))
        yield report


def pruned_base(
    context: Context, spec: ModelSpec, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel | None:
    """Cut a student's start from a teacher; None for its own folder or from scratch."""
    import torch

    from stillage.models.prune import prune

    if spec.base is not None:
        large = load_untrained(context, spec.base, tokenizer, "teacher")
    elif spec.pruned_from:
        large = load_finished(context, context.model(spec.pruned_from), tokenizer)
    else:
        return None
    return prune(large, spec.start.prune_teacher_to).to(getattr(torch, spec.start.dtype))
