"""The training stages, one for each model that a run makes: gather what it learns from, and train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from stillage.experiment.inputs import (
    device_name,
    examples_of,
    load_role,
    records_of,
    shortest_context,
    start_of,
    tokenizer_of,
    use_threads,
)
from stillage.experiment.roles import INIT, ModelRole, reads_corpus
from stillage.run.config import TrainConfig
from stillage.run.folder import remove
from stillage.types import Record

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.corpus.lm_text import PlainTextLoss
    from stillage.experiment.plan import Context


def train_model(context: Context, role: ModelRole, folder: Path) -> None:
    """Train one model, continuing from its newest good checkpoint if there is one.

    Where several processes do the run, each of them calls this; the first then calls the others, and it alone writes.
    """
    from stillage.corpus.lm_text import PACKED
    from stillage.data.split import read_split
    from stillage.distill.methods import METHODS
    from stillage.distill.settings import params_from
    from stillage.distill.task import TrainingTask
    from stillage.distill.train import train
    from stillage.experiment.data_stage import check_ahead
    from stillage.models.load import load_tokenizer
    from stillage.models.lora import load_trainable
    from stillage.models.pair import check_same_tokenizer
    from stillage.rng import derive

    assert role.train is not None and role.trained_on is not None
    split = read_split(context.run / "data")
    check_ahead(context, split)  # the records may have been drawn for a run with other models
    use_threads(context)
    config, is_first = context.config, context.is_first
    tokenizer = load_tokenizer(str(context.run / "tokenizer"))
    corpus = corpus_of(context, role, tokenizer, folder)
    if is_first and context.team is not None:
        context.team.call(order_to_train(context, role, folder))
    if role.start.source:
        check_same_tokenizer(tokenizer, load_tokenizer(role.start.source, role.start.revision))
    named = role.imitates or role.name
    kind = named if role.shadow else "teacher" if named.startswith("teacher") else "student"
    with TemporaryDirectory() as elsewhere:
        student = load_trainable(
            start_of(context, role),
            tokenizer=tokenizer,
            seed=derive(config.seed, "weights", kind),
            device=device_name(),
            base_folder=(folder if is_first else Path(elsewhere)) / "base",
            base=pruned_base(context, role, tokenizer),
        )
    teacher = None
    if role.teacher:
        teacher_role = next(other for other in context.roles if other.name == role.teacher)
        check_same_tokenizer(tokenizer_of(context, teacher_role), tokenizer)
        teacher = load_role(context, teacher_role, tokenizer)
    limit = shortest_context(student, teacher)
    method = METHODS[role.method]
    records = training_records(context, role)
    with context.stop.deferred(), reporting(context, role, folder) as report:
        task = TrainingTask(
            student=student,
            tokenizer=tokenizer,
            teacher=teacher,
            method=method,
            params=params_from(method, dict(role.params)),
            examples=examples_of(
                records, tokenizer, config.data, limit, what=f"{role.name}, {role.trained_on}"
            ),
            validation=examples_of(
                split.records_by_role.get("validation", []),
                tokenizer,
                config.data,
                limit,
                what=f"{role.name}, validation",
            ),
            options=as_long_as_with_a_teacher(
                role, len(records), len(split.records_by_role.get("public", ()))
            ),
            seed=derive(config.seed, "train", INIT if role.name == INIT else kind),
            corpus=corpus,
        )
        train(task, folder, should_stop=context.stop, report=report)
    if is_first:
        remove(folder / PACKED)


def training_records(context: Context, role: ModelRole) -> list[Record]:
    """The records that a role is trained on: all of one kind, or what is drawn for a shadow's teacher, or for prompts.

    Prompts alone are left out where the method trains on the records' own answers.
    """
    from stillage.data.unanswered import with_answers
    from stillage.distill.methods import METHODS
    from stillage.distill.rollouts import needs_answers
    from stillage.distill.settings import params_from
    from stillage.experiment.self_prompted import prompts_of
    from stillage.experiment.shadows import records_in

    assert role.trained_on is not None
    if role.shadow and role.trained_on == "private":
        return records_in(context, role.shadow)
    found = records_of(context, role.trained_on)
    if role.imitates:
        return prompts_of(context, found)
    method = METHODS[role.method]
    return (
        with_answers(found)
        if needs_answers(method, params_from(method, dict(role.params)))
        else found
    )


def as_long_as_with_a_teacher(role: ModelRole, count: int, prompts: int) -> TrainConfig:
    """The role's options; a student that has fewer answers than there are prompts takes as many steps as one with a teacher.

    count: the records that the role is trained on; prompts: the public ones. A budget of epochs alone would stop it early.
    The start that all students have in common (INIT) has epochs of its own.
    """
    from stillage.distill.batches import steps_per_epoch

    options = role.train
    assert options is not None
    is_student = role.trained_on == "public" and role.name != INIT and not role.imitates
    if not is_student or count == prompts or options.max_steps or options.max_trained_tokens:
        return options
    return replace(
        options,
        max_steps=max(1, round(options.epochs * steps_per_epoch(prompts, options.batch_size))),
    )


def corpus_of(
    context: Context, role: ModelRole, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> PlainTextLoss | None:
    """The plain text that a role is trained on beside its records, if any; only the first process packs it."""
    from stillage.corpus.lm_text import PACKED, open_corpus

    if not reads_corpus(context.config, role):
        return None
    lm = context.config.lm
    if not context.is_first and Path(lm.path).suffix != ".safetensors":
        lm = replace(lm, path=str(folder / PACKED))
    return open_corpus(lm, tokenizer, folder)


def order_to_train(context: Context, role: ModelRole, folder: Path) -> dict[str, object]:
    """What the other processes of a run need to take part in a training."""
    from stillage.run.parse import to_yaml

    return {
        "config": to_yaml(context.config),
        "role": role.name,
        "folder": str(folder.resolve()),
        "plugins": [plugin.sha256 for plugin in context.plugins],
    }


@contextmanager
def reporting(
    context: Context, role: ModelRole, folder: Path
) -> Iterator[Callable[[dict[str, object]], None]]:
    """Where a training's numbers go as they come: the progress bar, and the tracker if one is asked for."""
    from stillage.distill.track import Tracker
    from stillage.run.parse import to_plain

    tracker = None
    if context.config.track != "none" and context.is_first:
        settings = {"train": to_plain(role.train), "method": role.method, **dict(role.params)}
        tracker = Tracker(
            context.config.track,
            run=context.run_id,
            model=role.name,
            folder=folder,
            settings=settings,
        )

    def report(facts: dict[str, object]) -> None:
        context.progress(role.name, facts)
        if tracker is not None and "step" in facts:  # not while the teacher writes
            tracker.log(facts)

    try:
        yield report
    finally:
        if tracker is not None:
            tracker.close()


def pruned_base(
    context: Context, role: ModelRole, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel | None:
    """The model cut from a teacher that a student starts from; None where it starts from its own folder or from scratch."""
    import torch

    from stillage.models.load import load_model
    from stillage.models.prune import prune
    from stillage.rng import derive

    if role.base is not None:
        seed = derive(context.config.seed, "weights", "teacher")
        large = load_model(role.base, vocab_size=len(tokenizer), seed=seed, device=device_name())
    elif role.pruned_from:
        large = load_role(
            context,
            next(other for other in context.roles if other.name == role.pruned_from),
            tokenizer,
        )
    else:
        return None
    return prune(large, role.start.prune_teacher_to).to(getattr(torch, role.start.dtype))
