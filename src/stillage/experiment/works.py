"""What each stage does: read the folders before it, call one room, write its own folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from stillage.errors import ConfigError, DataError
from stillage.experiment.roles import INIT, ModelRole, data_roles, reads_corpus
from stillage.run.config import DataConfig, ModelConfig
from stillage.run.folder import remove, write_table
from stillage.run.results import write_results
from stillage.types import Example, Record, Result, Role, TokenStats

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.distill.corpus import Corpus
    from stillage.experiment.plan import Context

LEAST_RECORDS: Mapping[Role, int] = {"private": 2, "outsiders": 2, "public": 1, "counterfactual": 1, "test": 1}


def make_data(context: Context, folder: Path) -> None:
    """Draw or read the split, and check that every role has the records it needs."""
    from stillage.audit.extraction import values_of
    from stillage.data.prepare import prepare
    from stillage.data.split import write_split
    from stillage.experiment.plan import kept_columns

    config = context.config
    split = prepare(config.data, config.seed, keep=kept_columns(config), audits="audit" in config.stages)
    for role in data_roles(config, context.roles):
        count = len(split.records_by_role.get(role, []))
        if count < LEAST_RECORDS.get(role, 1):
            raise DataError(
                f"The role {role} has too few records for this run.",
                f"{role}: {count}, needed: {LEAST_RECORDS.get(role, 1)}; all roles: {split.counts}",
                "Give a file for it (data.files), a larger share (data.shares), or leave out the stage that needs it.",
            )
    for column in kept_columns(config):  # what the audit would stumble over, after hours of training
        values_of([record for role in ("private", "outsiders") for record in split.records_by_role[role]], column)
    write_split(folder, split)


def records_of(context: Context, role: Role) -> list[Record]:
    """The records of one role, as the data stage wrote them."""
    from stillage.data.split import read_split

    return list(read_split(context.run / "data").records_by_role.get(role, []))


def make_tokenizer(context: Context, folder: Path) -> None:
    """Take the tokenizer that is given, or fit a BPE on the public records (recorded, for the provenance check)."""
    from stillage.data.bpe import train_bpe
    from stillage.data.templates import AS_CHAT, render
    from stillage.experiment.plan import tokenizer_source
    from stillage.models.load import load_tokenizer

    path, revision = tokenizer_source(context.config)
    used: list[Record] = []
    if path:
        tokenizer = load_tokenizer(path, revision)
    else:
        used = records_of(context, "public")
        if not used:
            raise DataError("There are no public records to fit a tokenizer on.", "public: 0", "Give --tokenizer.path.")
        template = context.config.data.template
        texts = [render(record, template, None) + record.response for record in used]
        tokenizer = train_bpe(texts, context.config.tokenizer.vocab_size)
    check_models(context, tokenizer)
    if not tokenizer.chat_template:
        tokenizer.chat_template = AS_CHAT.get(context.config.data.template)
    tokenizer.save_pretrained(folder)
    write_ids(folder / "provenance.parquet", [record.id for record in used])


def check_models(context: Context, tokenizer: PreTrainedTokenizerFast) -> None:
    """Refuse, before anything is trained, what would stop a later stage: limits, shapes, and other tokenizers.

    Raises the errors of `tokenise`, `from_scratch`, `load_model`, `open_corpus` and `check_same_tokenizer`.
    """
    from stillage.data.tokenise import prompt_limit
    from stillage.distill.corpus import check_ahead as check_text
    from stillage.models.load import check_ahead, load_tokenizer
    from stillage.models.pair import check_same_tokenizer, context_in
    from stillage.models.scratch import config_from_file, config_from_numbers

    prompt_limit(context.config.data.max_tokens, context.config.data.max_prompt_tokens)
    teachers = {role.teacher for role in context.roles}
    for role in context.roles:
        start, teaches = role.start, role.name in teachers
        settings = None
        if start.source and (role.is_trained or teaches):
            settings = check_ahead(start, vocab_size=len(tokenizer))
            own = load_tokenizer(start.source, start.revision)
            check_same_tokenizer(*((own, tokenizer) if teaches else (tokenizer, own)))
        elif start.config:
            settings = config_from_file(Path(start.config), len(tokenizer))
        elif not start.source:
            settings = config_from_numbers(start, len(tokenizer))
        if reads_corpus(context.config, role):
            cut = role.pruned_from or role.base is not None  # its context is that of the model it is cut from
            check_text(context.config.lm, tokenizer, None if cut or settings is None else context_in(settings))


def write_ids(path: Path, ids: Sequence[str]) -> None:
    """Record which records reached a stage."""
    import pyarrow as pa

    write_table(path, pa.table({"id": pa.array(sorted(set(ids)), pa.string())}))


def examples_of(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerFast, data: DataConfig, context_tokens: int | None = None
) -> list[Example]:
    """Records as token ids under the run's template and limits. context_tokens: the model's."""
    from stillage.data.tokenise import tokenise

    most = min(data.max_tokens, context_tokens or data.max_tokens)
    done = tokenise(
        records, tokenizer, template=data.template, max_tokens=most, max_prompt_tokens=data.max_prompt_tokens
    )
    return done.examples


def model_source(context: Context, role: ModelRole) -> ModelConfig:
    """Where the finished weights of a role are."""
    if not role.is_trained:
        return role.start
    return ModelConfig(path=str(context.run / role.name / "model"), dtype=role.start.dtype)


def tokenizer_of(context: Context, role: ModelRole) -> PreTrainedTokenizerFast:
    """The tokenizer that a role's model reads with."""
    from stillage.models.load import load_tokenizer

    if role.is_trained or not role.start.source:
        return load_tokenizer(str(context.run / "tokenizer"))
    return load_tokenizer(role.start.source, role.start.revision)


def start_of(context: Context, role: ModelRole) -> ModelConfig:
    """What a role's training starts from: its own start, or the finished weights of another role of this run."""
    if not role.starts_from:
        return role.start
    return model_source(context, next(other for other in context.roles if other.name == role.starts_from))


def use_threads(context: Context) -> None:
    """Compute on as many CPU threads as the config says."""
    import torch

    if context.config.threads:
        torch.set_num_threads(context.config.threads)


def load_role(context: Context, role: ModelRole, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """The finished model of a role, on the best device."""
    from stillage.models.load import load_model

    return load_model(model_source(context, role), vocab_size=len(tokenizer), seed=0, device=device_name())


def device_name() -> str:
    """An accelerator where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def train_model(context: Context, role: ModelRole, folder: Path) -> None:
    """Train one model, continuing from its newest good checkpoint if there is one.

    Where several processes do the run, each of them calls this; the first then calls the others, and it alone writes.
    """
    from stillage.distill.corpus import PACKED
    from stillage.distill.methods import METHODS
    from stillage.distill.settings import params_from
    from stillage.distill.train import train
    from stillage.models.load import load_tokenizer
    from stillage.models.lora import load_trainable
    from stillage.models.pair import check_same_tokenizer
    from stillage.rng import derive

    assert role.train is not None and role.trained_on is not None
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
            start_of(context, role), tokenizer=tokenizer, seed=derive(config.seed, "weights", kind), device=device_name(),
            base_folder=(folder if is_first else Path(elsewhere)) / "base", base=pruned_base(context, role, tokenizer),
        )  # fmt: skip
    teacher = None
    if role.teacher:
        teacher_role = next(other for other in context.roles if other.name == role.teacher)
        check_same_tokenizer(tokenizer_of(context, teacher_role), tokenizer)
        teacher = load_role(context, teacher_role, tokenizer)
    limit = shortest_context(student, teacher)
    method = METHODS[role.method]
    with context.stop.deferred(), reporting(context, role, folder) as report:
        train(
            student=student,
            tokenizer=tokenizer,
            teacher=teacher,
            method=method,
            params=params_from(method, dict(role.params)),
            examples=examples_of(training_records(context, role), tokenizer, config.data, limit),
            validation=examples_of(records_of(context, "validation"), tokenizer, config.data, limit),
            options=role.train,
            folder=folder,
            seed=derive(config.seed, "train", INIT if role.name == INIT else kind),
            should_stop=context.stop,
            report=report,
            corpus=corpus,
        )
    if is_first:
        remove(folder / PACKED)


def training_records(context: Context, role: ModelRole) -> list[Record]:
    """The records that a role is trained on: all of one kind, or what is drawn for a shadow's teacher, or for prompts."""
    from stillage.experiment.self_prompted import prompts_of
    from stillage.experiment.shadows import records_in

    assert role.trained_on is not None
    if role.shadow and role.trained_on == "private":
        return records_in(context, role.shadow)
    found = records_of(context, role.trained_on)
    return prompts_of(context, found) if role.imitates else found


def corpus_of(context: Context, role: ModelRole, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Corpus | None:
    """The plain text that a role is trained on beside its records, if any; only the first process packs it."""
    from stillage.distill.corpus import PACKED, open_corpus

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
        "config": to_yaml(context.config), "role": role.name, "folder": str(folder.resolve()),
        "plugins": [plugin.sha256 for plugin in context.plugins],
    }  # fmt: skip


@contextmanager
def reporting(context: Context, role: ModelRole, folder: Path) -> Iterator[Callable[[dict[str, object]], None]]:
    """Where a training's numbers go as they come: the progress bar, and the tracker if one is asked for."""
    from stillage.distill.track import Tracker
    from stillage.run.parse import to_plain

    tracker = None
    if context.config.track != "none" and context.is_first:
        settings = {"train": to_plain(role.train), "method": role.method, **dict(role.params)}
        tracker = Tracker(context.config.track, run=context.run_id, model=role.name, folder=folder, settings=settings)

    def report(facts: dict[str, object]) -> None:
        context.progress(role.name, facts)
        if tracker is not None:
            tracker.log(facts)

    try:
        yield report
    finally:
        if tracker is not None:
            tracker.close()


def pruned_base(context: Context, role: ModelRole, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel | None:
    """The model cut from a teacher that a student starts from; None where it starts from its own folder or from scratch."""
    import torch

    from stillage.models.load import load_model
    from stillage.models.prune import prune
    from stillage.rng import derive

    if role.base is not None:
        seed = derive(context.config.seed, "weights", "teacher")
        large = load_model(role.base, vocab_size=len(tokenizer), seed=seed, device=device_name())
    elif role.pruned_from:
        large = load_role(context, next(other for other in context.roles if other.name == role.pruned_from), tokenizer)
    else:
        return None
    return prune(large, role.start.prune_teacher_to).to(getattr(torch, role.start.dtype))


def shortest_context(*models: PreTrainedModel | None) -> int | None:
    """The shortest context of the models, in tokens; None where none has a limit."""
    from stillage.models.pair import context_of

    limits = [context_of(model) for model in models if model is not None]
    return min((limit for limit in limits if limit is not None), default=None)


def stats_of(
    context: Context, role: ModelRole, records: Sequence[Record]
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, list[Example], list[TokenStats]]:
    """One forward pass of a role's model over records: its TokenStats, cached by content in the run folder."""
    from stillage.models.query import token_stats

    tokenizer = tokenizer_of(context, role)
    model = load_role(context, role, tokenizer)
    examples = examples_of(records, tokenizer, context.config.data, shortest_context(model))
    stats = token_stats(
        model, examples, batch_tokens=context.config.audit.batch_tokens, cache=context.cache,
        key=stats_key(context, role),
    )  # fmt: skip
    return model, tokenizer, examples, stats


def stats_key(context: Context, role: ModelRole) -> str:
    """What decides a role's TokenStats besides the examples: its weights."""
    from stillage.models.load import adapter_of, model_hash
    from stillage.models.source import find

    source = model_source(context, role)
    folders = [find(source.path, source.revision)] if source.path else []
    folders += [adapter_of(source.adapter)] if source.adapter else []
    return " ".join([*map(model_hash, folders), *([source.quantize] if source.quantize != "none" else [])])


def base_result(context: Context, stage: str) -> Result:
    """The fields that every result of a stage shares; the report writes the run's id into them."""
    return Result(
        run="", stage=stage, model="", metric="", value=float("nan"), seed=context.config.seed,
        method=context.config.distill.method if "distill" in context.config.stages else "",
    )  # fmt: skip


def evaluate(context: Context, folder: Path) -> None:
    """Every model answers the test prompts; overlap with the references, perplexity, bits per byte."""
    import pyarrow as pa

    from stillage.evaluate.quality import (
        likelihood_results,
        references_of,
        sample_rows,
        samples_schema,
        text_results,
    )

    config = context.config
    use_threads(context)
    records = records_of(context, "test")
    asked = records[: config.generate.records] if config.generate.records else records
    rows: list[dict[str, Any]] = []
    stats: dict[str, list[TokenStats]] = {}
    for role in context.models:
        context.progress("evaluate", {"model": role.name})
        model, tokenizer, _, stats[role.name] = stats_of(context, role, records)
        texts, tokens, finished = answer(context, model, tokenizer, asked)
        rows += sample_rows(role.name, asked, texts, tokens, finished)
    samples = pa.Table.from_pylist(rows, schema=samples_schema())
    base = base_result(context, "evaluate")
    level = config.audit.level
    references = [references_of(record) for _ in context.models for record in asked]
    results = text_results(samples, level=level, base=base, references=references)
    results += likelihood_results(stats, [record.response for record in records], level=level, base=base)
    write_table(folder / "samples.parquet", samples)
    write_results(folder / "results.parquet", results)


def answer(
    context: Context, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, records: Sequence[Record]
) -> tuple[list[str], list[int], list[bool]]:
    """The model's answers to the records' prompts: texts, lengths in tokens, whether each ended by itself."""
    from stillage.data.tokenise import encode_prompts
    from stillage.models.generate import configured, generate

    config = context.config
    room = prompt_room(model, config.generate.max_new_tokens, config.data.max_prompt_tokens)
    prompts = encode_prompts(records, tokenizer, template=config.data.template, max_prompt_tokens=room)
    eos, pad = special_ids(tokenizer)
    ids = generate(
        model, prompts, decoding=configured(config.generate), eos_id=eos, pad_id=pad, seed=config.seed,
        names=[record.id for record in records], batch_tokens=config.generate.batch_tokens,
    )  # fmt: skip
    texts = [str(tokenizer.decode(row.tolist(), skip_special_tokens=True)).strip() for row in ids]
    return texts, [len(row) for row in ids], [bool(len(row)) and int(row[-1]) == eos for row in ids]


def prompt_room(model: PreTrainedModel, max_new_tokens: int, wanted: int) -> int:
    """Tokens a prompt may have so that the answer still fits. ConfigError where there is no room for a prompt."""
    context_tokens = shortest_context(model)
    room = wanted if context_tokens is None else min(wanted, context_tokens - max_new_tokens)
    if room < 1:
        values = f"generate.max_new_tokens: {max_new_tokens}; context of the model: {context_tokens} tokens"
        raise ConfigError("The answer's length leaves no room for a prompt.", values, "Lower generate.max_new_tokens.")
    return room


def special_ids(tokenizer: PreTrainedTokenizerFast) -> tuple[int, int]:
    """The ids of EOS and of padding (EOS where there is no padding token: padding is masked, never read)."""
    from stillage.data.tokenise import end_id

    eos, pad = end_id(tokenizer), tokenizer.pad_token_id
    return eos, pad if isinstance(pad, int) else eos


def report(context: Context, folder: Path) -> None:
    """The report, from the tables of the stages before."""
    from stillage.report import write_report

    write_report(context.run, context.config.report, title=context.run.name, run_id=context.run_id)
