"""What each stage of a mosaic run does.

Each reads the folders of earlier ones, and fills its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import DataError
from stillage.experiment.inputs import use_threads
from stillage.experiment.mosaic_inputs import (
    arm_start,
    canaries_in,
    condition_start,
    encoded_documents,
    masked_in,
    other_models,
    progress_of,
    reader_of,
    texts_in,
    tokenizer_in,
)
from stillage.experiment.mosaic_models import names_of
from stillage.experiment.mosaic_settings import (
    BOOKS_FILE,
    CANARIES_FILE,
    LEDGER_FILE,
    VARIATIONS_FILE,
    asks_for,
    asks_recital,
    attacks_of_scores,
    file_of_canaries,
    method_params,
    needs_masked,
    options_of,
    temperature_of,
    variations_name,
)
from stillage.experiment.train_stage import reporting
from stillage.mosaic.asked import teacher_condition
from stillage.mosaic.condition import Arm, Condition
from stillage.mosaic.kinds import Kind, Paraphrase, Scanned
from stillage.mosaic.names import condition_name
from stillage.run.config import Config, ModelConfig, TrainConfig
from stillage.run.folder import read_table, remove, write_json, write_table, write_with_metadata
from stillage.run.parse import to_plain

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.experiment.context import Context
    from stillage.mosaic.measured import ConditionMeasures
    from stillage.mosaic.train_condition import Watch


@contextmanager
def watch_training(
    context: Context, folder: Path, options: TrainConfig, method: str
) -> Iterator[Watch]:
    """Let a training be stopped at its next step, and tell of it."""
    from stillage.mosaic.train_condition import Watch

    settings = {"train": to_plain(options), "method": method}
    with context.stop.deferred(), reporting(context, folder.name, folder, settings) as report:
        yield Watch(should_stop=context.stop, report=report)


def other_texts(context: Context, what_for: str, instead: str) -> list[str]:
    """Read the documents without canaries; DataError where there are none."""
    texts = texts_in(context, hosts=False)
    if not texts:
        raise DataError(
            f"Every document holds canaries, and none is left to {what_for}.",
            f"documents: {len(texts_in(context))}; mosaic.hosts: {context.config.mosaic.hosts}",
            f"Give more documents, fewer hosts, or {instead}.",
        )
    return texts


def do_books(context: Context, folder: Path) -> None:
    """Read the documents, and choose those that hold canaries."""
    from stillage.mosaic.books import BookRules, choose_books
    from stillage.mosaic.titles import read_titles

    mosaic = context.config.mosaic
    rules = BookRules(
        hosts=mosaic.hosts,
        titles=read_titles(mosaic.titles),
        text_column=mosaic.text_column,
        title_column=mosaic.title_column,
        max_documents=mosaic.max_documents,
        revision=mosaic.books_revision,
    )
    tell = partial(context.progress, folder.name)
    table = choose_books(mosaic.books, rules, seed=context.config.seed, progress=tell)
    write_with_metadata(folder / BOOKS_FILE, table)


def do_tokenizer(context: Context, folder: Path) -> None:
    """Take the given tokenizer, or fit a BPE on the documents without canaries."""
    from stillage.data.bpe import train_bpe
    from stillage.models.load import load_tokenizer
    from stillage.models.outside import tokenizer_source

    path, revision = tokenizer_source(replace(context.config, student=ModelConfig()))
    if path:
        tokenizer = load_tokenizer(path, revision)
    else:
        texts = other_texts(context, "fit a tokenizer on", "--tokenizer.path")
        tokenizer = train_bpe(texts, context.config.tokenizer.vocab_size)
    tokenizer.save_pretrained(folder)


def base_options(config: Config) -> TrainConfig:
    """Return how a model from scratch is trained on the documents without canaries."""
    from stillage.mosaic.train_condition import pretraining

    return pretraining(
        config.teacher_train,
        epochs=config.mosaic.pretrain_epochs,
        lr_peak=config.mosaic.pretrain_lr,
        batch_size=config.mosaic.pretrain_batch_size,
    )


def do_base(context: Context, start: ModelConfig, folder: Path) -> None:
    """Train a model from scratch on the documents without canaries."""
    from stillage.mosaic.train_condition import Passes, train_on_documents

    use_threads(context)
    mosaic, options = context.config.mosaic, base_options(context.config)
    texts = other_texts(context, "train the base on", "--teacher.path")
    passes = Passes(options=options, block_tokens=mosaic.block_tokens, seed=mosaic.pretrain_seed)
    with watch_training(context, folder, options, "sft") as watch:
        reader = reader_of(context, start)
        train_on_documents(reader, encoded_documents(context, texts), passes, folder, watch)


def do_canaries(
    context: Context, arm: Arm, scanned: Sequence[Scanned], count: int, folder: Path
) -> None:
    """Sample an arm's canaries, or take those of a file or of its scan.

    scanned, count: the kinds that the arm is asked for, and near-copies of each.
    """
    from stillage.mosaic.canaries import given_canaries
    from stillage.mosaic.canaries import make_canaries as sampled
    from stillage.mosaic.occurrences import with_occurrences
    from stillage.mosaic.scanned_canaries import scanned_canaries

    use_threads(context)
    config, tokenizer = context.config, tokenizer_in(context)
    options = config.mosaic.canaries
    if scanned:
        table = scanned_canaries(
            scanned, count, tokenizer, max_jaccard=options.max_jaccard, seed=config.seed
        )
    elif file := file_of_canaries(config, arm):
        table = given_canaries(Path(file), tokenizer)
    else:
        writer = names_of(config).writer()
        start = writer if writer.source else arm_start(context, Arm())
        reader = reader_of(context, start, own_tokenizer=bool(options.generator))
        table = sampled(
            reader.model,
            reader.tokenizer,
            tokenizer,
            replace(options, sampling_temperature=temperature_of(config, arm)),
            seed=config.seed,
            progress=progress_of(context, folder.name, "sampling {} canaries"),
        )
    hosts, others = texts_in(context, hosts=True), texts_in(context, hosts=False)
    ids = encoded_documents(context, [*hosts, *others])
    table = with_occurrences(table, ids[: len(hosts)], ids[len(hosts) :])
    write_with_metadata(folder / CANARIES_FILE, table)


def do_masked(context: Context, folder: Path) -> None:
    """Take the given masked model, or train a small one on documents without canaries."""
    from stillage.models.masked_train import small_masked

    use_threads(context)
    mosaic = context.config.mosaic
    if mosaic.masked_model:
        write_json(folder / "given.json", {"masked_model": mosaic.masked_model})
        return
    texts = other_texts(context, "train a masked model on", "--mosaic.masked-model")
    small_masked(texts, mosaic.pretrain_seed, folder, tokenizer=tokenizer_in(context))
    remove(folder / ".locks")


def do_variations(context: Context, kind: Kind, arm: Arm, count: int, folder: Path) -> None:
    """Make the near-copies of a kind, of the members."""
    from stillage.mosaic.variations import variations_of_ids as made

    use_threads(context)
    members = members_in(context, arm)
    if isinstance(kind, Paraphrase):
        table = rephrased(context, members, kind, count, folder)
    else:
        table = made(
            members["ids"].to_pylist(),
            kind,
            count=count,
            seed=context.config.seed,
            tokenizer=tokenizer_in(context),
            masked=masked_in(context) if needs_masked(kind) else None,
        )
    write_with_metadata(folder / VARIATIONS_FILE, table)


def members_in(context: Context, arm: Arm) -> pa.Table:
    """Read the canaries of an arm that are injected: the first of the table."""
    canaries = canaries_in(context, arm)
    count = canaries["role"].to_pylist().count("member")
    members = canaries.slice(0, count)
    assert members["canary"].to_pylist() == list(range(count)), "members come first, from 0"
    return members


def rephrased(
    context: Context, members: pa.Table, kind: Paraphrase, count: int, folder: Path
) -> pa.Table:
    """Have members rephrased.

    Answers are kept in the run's cache, whatever stops the stage.
    """
    from stillage.mosaic.paraphrase import Asking, paraphrases
    from stillage.mosaic.variations import with_distances

    texts = dict(zip(members["canary"].to_pylist(), members["text"].to_pylist(), strict=True))
    with context.stop.deferred():
        table = paraphrases(
            texts,
            kind,
            Asking(count=count, seed=context.config.seed),
            tokenizer=tokenizer_in(context),
            keep=context.cache / "paraphrases",
            progress=progress_of(context, folder.name, "written {} paraphrases"),
            should_stop=context.stop,
        )
    return with_distances(table, members["ids"].to_pylist())


def condition_measures(context: Context, condition: Condition) -> ConditionMeasures:
    """Gather what is asked of the model of a condition."""
    from stillage.mosaic.measured import ConditionMeasures
    from stillage.mosaic.scoring import ScoreSettings

    config = context.config
    settings = ScoreSettings(
        audit=config.audit,
        seed=config.seed,
        cache=context.cache,
        masked=masked_in(context) if asks_for(config, "neighbours") else None,
        public=tuple(texts_in(context, hosts=False)) if asks_for(config, "frequency") else (),
    )
    return ConditionMeasures(
        canaries=canaries_in(context, condition.arm),
        attacks=attacks_of_scores(config),
        settings=settings,
        others=other_models(context, condition),
        recites=asks_recital(condition),
    )


def forget_scores(folder: Path, *, keeps_model: bool) -> None:
    """Have a training done again whose weights went and are to be kept now."""
    from stillage.mosaic.measured import SCORES_FILE

    if keeps_model and not (folder / "model").is_dir():
        remove(folder / SCORES_FILE)


def do_condition(context: Context, condition: Condition, keeps: bool, folder: Path) -> None:
    """Inject, train, score and recite."""
    from stillage.mosaic.injection import inject
    from stillage.mosaic.ledger import verify_ledger
    from stillage.mosaic.run_condition import ConditionTask, run_condition
    from stillage.mosaic.train_condition import Passes

    use_threads(context)
    forget_scores(folder, keeps_model=keeps)
    config, mosaic, arm = context.config, context.config.mosaic, condition.arm
    variations = None
    if condition.kind is not None:
        path = context.run / variations_name(condition.kind, arm) / VARIATIONS_FILE
        variations = read_table(path)
    injected = inject(
        texts_in(context, hosts=True),
        canaries_in(context, arm),
        variations,
        condition=condition,
        tokenizer=tokenizer_in(context),
        mode=mosaic.inject,
        seed=config.seed,
    )
    verify_ledger(injected.documents, injected.ledger)
    write_table(folder / LEDGER_FILE, injected.ledger)
    options = options_of(config, arm)
    with watch_training(context, folder, options, "sft") as watch:
        task = ConditionTask(
            start=reader_of(context, condition_start(context, condition)),
            documents=injected.documents,
            passes=Passes(options=options, block_tokens=mosaic.block_tokens, seed=config.seed),
            measured=condition_measures(context, condition),
            monitor_every=mosaic.monitor_every,
            keeps_model=keeps,
        )
        run_condition(task, folder, watch)


def do_student(context: Context, condition: Condition, folder: Path) -> None:
    """Teach a student on documents without a canary, and score its teacher's canaries."""
    from stillage.mosaic.students import StudentTask, StudentWindows, run_student

    use_threads(context)
    config, mosaic = context.config, context.config.mosaic
    forget_scores(folder, keeps_model=mosaic.keep_models)
    hosts = {"others": False, "hosts": True, "all": None}[mosaic.student_reads]
    teacher = context.run / condition_name(teacher_condition(condition)) / "model"
    options = config.student_train
    with watch_training(context, folder, options, condition.method) as watch:
        task = StudentTask(
            start=reader_of(context, condition_start(context, condition)),
            teacher=reader_of(context, ModelConfig(path=str(teacher))).model,
            public=encoded_documents(context, texts_in(context, hosts=hosts)),
            method=condition.method,
            params=method_params(config, condition.method),
            windows=StudentWindows(
                count=mosaic.student_windows,
                prompt_tokens=mosaic.student_prompt_tokens,
                response_tokens=mosaic.student_response_tokens,
                validation=max(1, mosaic.student_windows // 8),
            ),
            options=options,
            seed=config.seed,
            measured=condition_measures(context, condition),
            monitor_every=mosaic.monitor_every,
            keeps_model=mosaic.keep_models,
        )
        run_student(task, folder, watch)
