"""What stages work with: records and their tokens, a part's model and tokenizer, what it says of the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillage.data.grouping import cluster_numbers
from stillage.errors import ConfigError
from stillage.experiment.specs import ModelSpec
from stillage.rng import generator
from stillage.run.config import Config, DataConfig, ModelConfig
from stillage.run.folder import write_table
from stillage.types import Array, Example, Part, Record, Result, TokenStats

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.audit.membership import Audited
    from stillage.data.split import Split
    from stillage.experiment.plan import Context


def records_of(context: Context, part: Part) -> list[Record]:
    """The records of one part, as the data stage wrote them."""
    from stillage.data.split import read_split

    return list(read_split(context.run / "data").records_by_part.get(part, []))


def some_of(records: Sequence[Record], most: int, seed: int, *names: str) -> list[Record]:
    """At most `most` of the records, in their order, by a draw that the seed and its names decide; 0: all."""
    if not most or len(records) <= most:
        return list(records)
    drawn = generator(seed, *names).permutation(len(records))[:most]
    return [records[index] for index in sorted(drawn)]


def some_groups(
    records: Sequence[Record],
    parts: Sequence[str],
    groups: Sequence[str],
    most: int,
    seed: int,
    *names: str,
) -> tuple[list[Record], tuple[str, ...]]:
    """At most `most` records of each part, in their order, by a recorded draw of whole groups; 0: all. With their parts.

    parts, groups: of each record; group "": it is alone. Groups come in random order, and one that some part has no room
    left for is passed over, so that near-duplicates stay together and those of one size are drawn alike, whatever their
    part: what the shuffles of audit.best_attack rest on. ConfigError where no group of a part fits.
    """
    if not most or max(Counter(parts).values(), default=0) <= most:
        return list(records), tuple(parts)
    number = cluster_numbers([record.id for record in records], groups)
    places = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    room: dict[str, int] = {part: most for part in set(parts)}
    kept: list[int] = []
    for index in generator(seed, *names).permutation(len(places)).tolist():
        wanted = Counter(parts[int(place)] for place in places[index])
        if all(count <= room[part] for part, count in wanted.items()):
            kept += places[index].tolist()
            room = {part: left - wanted[part] for part, left in room.items()}
    empty = [part for part, left in room.items() if left == most]
    if empty:
        smallest = min(
            len(group) for group in places if any(parts[place] in empty for place in group.tolist())
        )
        raise ConfigError(
            "So few records cannot be drawn: near-duplicates are drawn together.",
            f"at most {most} of each part; the smallest group of {', '.join(empty)} has {smallest}",
            "Ask for more records (0: all).",
        )
    return [records[index] for index in sorted(kept)], tuple(parts[index] for index in sorted(kept))


def parts_of(split: Split, records: Sequence[Record]) -> tuple[str, ...]:
    """Private or nonmembers, for each audited record."""
    inside = {record.id for record in split.records_by_part.get("private", ())}
    return tuple("private" if record.id in inside else "nonmembers" for record in records)


def audited_of(split: Split, records: Sequence[Record], parts: Sequence[str]) -> Audited:
    """The records as the statistics want them. parts: private or nonmembers, one per record."""
    from stillage.audit.membership import Audited

    return Audited(
        ids=tuple(record.id for record in records),
        parts=tuple(parts),
        texts=tuple(record.response for record in records),
        groups=split.group_names(records),
    )


def write_ids(path: Path, ids: Sequence[str]) -> None:
    """Record which records reached a stage."""
    import pyarrow as pa

    write_table(path, pa.table({"id": pa.array(sorted(set(ids)), pa.string())}))


def examples_of(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerFast,
    data: DataConfig,
    context_tokens: int | None = None,
    *,
    what: str = "",
) -> list[Example]:
    """Records as token ids under the run's template and limits. context_tokens: the model's; what: as in `tokenise`."""
    from stillage.data.tokenise import tokenise

    done = tokenise(
        records,
        tokenizer,
        template=data.template,
        max_tokens=data.max_tokens,
        max_prompt_tokens=data.max_prompt_tokens,
        context_tokens=context_tokens,
        what=what,
    )
    return done.examples


def model_source(context: Context, spec: ModelSpec) -> ModelConfig:
    """Where the finished weights of a model are."""
    if not spec.is_trained:
        return spec.start
    return ModelConfig(path=str(context.run / spec.name / "model"), dtype=spec.start.dtype)


def tokenizer_of(context: Context, spec: ModelSpec) -> PreTrainedTokenizerFast:
    """The tokenizer that a model's model reads with."""
    from stillage.models.load import load_tokenizer

    if spec.is_trained or not spec.start.source:
        return load_tokenizer(str(context.run / "tokenizer"))
    return load_tokenizer(spec.start.source, spec.start.revision)


def start_of(context: Context, spec: ModelSpec) -> ModelConfig:
    """What a model's training starts from: its own start, or the finished weights of another model of this run."""
    if not spec.starts_from:
        return spec.start
    return model_source(
        context, next(other for other in context.specs if other.name == spec.starts_from)
    )


def use_threads(context: Context) -> None:
    """Compute on as many CPU threads as the config says."""
    import torch

    if context.config.threads:
        torch.set_num_threads(context.config.threads)


def load_finished(
    context: Context, spec: ModelSpec, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    """The finished model of a model, on the best device."""
    from stillage.models.load import load_model

    return load_model(
        model_source(context, spec), vocab_size=len(tokenizer), seed=0, device=device_name()
    )


def device_name() -> str:
    """An accelerator where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def shortest_context(*models: PreTrainedModel | None) -> int | None:
    """The shortest context of the models, in tokens; None where none has a limit."""
    from stillage.models.pair import context_of

    limits = [context_of(model) for model in models if model is not None]
    return min((limit for limit in limits if limit is not None), default=None)


def stated_context(source: ModelConfig) -> int | None:
    """The longest sequence a model can read, in tokens, from its config alone; None without a limit."""
    from transformers import AutoConfig

    from stillage.models.pair import context_in
    from stillage.models.source import ADAPTER, adapter_of, base_of, find

    folder = find(source.path, source.revision) if source.path else adapter_of(source.adapter)
    while (folder / ADAPTER).exists():
        folder = base_of(folder)
    return context_in(
        AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    )


def stats_of(
    context: Context, spec: ModelSpec, records: Sequence[Record], stage: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, list[Example], list[TokenStats]]:
    """One forward pass of a role's model over records, for a stage: its TokenStats, cached by content in the run folder."""
    from stillage.models.query import token_stats

    tokenizer = tokenizer_of(context, spec)
    model = load_finished(context, spec, tokenizer)
    examples = examples_of(
        records,
        tokenizer,
        context.config.data,
        shortest_context(model),
        what=f"{spec.name}, {stage}",
    )
    stats = token_stats(
        model,
        examples,
        batch_tokens=context.config.audit.batch_tokens,
        cache=context.cache,
        key=stats_key(context, spec),
        progress=context.doing(stage, spec.name)("scoring {} records"),
    )
    return model, tokenizer, examples, stats


def stats_key(context: Context, spec: ModelSpec) -> str:
    """What decides a model's TokenStats besides the examples: its weights."""
    from stillage.models.identity import folder_hash
    from stillage.models.source import adapter_of, find

    source = model_source(context, spec)
    folders = [find(source.path, source.revision)] if source.path else []
    folders += [adapter_of(source.adapter)] if source.adapter else []
    return " ".join(
        [*map(folder_hash, folders), *([source.quantize] if source.quantize != "none" else [])]
    )


def base_result(context: Context, stage: str) -> Result:
    """The fields that every result of a stage shares; the report writes the run's id into them."""
    return Result(
        run="",
        stage=stage,
        model="",
        metric="",
        value=float("nan"),
        seed=context.config.seed,
        method=context.config.distill.method if "distill" in context.config.stages else "",
    )


def prompt_ids_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    records: Sequence[Record],
    config: Config,
) -> list[Array]:
    """The ids of the records' prompts, laid out and cut as in training, with room for the answer in the model's context."""
    from stillage.data.tokenise import encode_prompts, prompt_limit

    data, context = config.data, shortest_context(model)
    limit = prompt_limit(data.max_tokens, data.max_prompt_tokens, context)
    within = 0 if data.max_prompt_tokens else min(data.max_tokens, context or data.max_tokens)
    room = prompt_room(model, new_tokens(model, config.generate.max_new_tokens), limit)
    return encode_prompts(
        records, tokenizer, template=data.template, max_prompt_tokens=room, within=within
    )


def new_tokens(model: PreTrainedModel, asked: int, usual: int = 64) -> int:
    """Tokens of the longest answer: those asked for; 0: as usual, or half of the model's context where that is less."""
    context_tokens = shortest_context(model)
    return asked or (usual if context_tokens is None else max(1, min(usual, context_tokens // 2)))


def prompt_room(model: PreTrainedModel, max_new_tokens: int, wanted: int) -> int:
    """Tokens a prompt may have so that the answer still fits. ConfigError where there is no room for a prompt."""
    context_tokens = shortest_context(model)
    room = wanted if context_tokens is None else min(wanted, context_tokens - max_new_tokens)
    if room < 1:
        values = f"max_new_tokens: {max_new_tokens}; context of the model: {context_tokens} tokens"
        raise ConfigError(
            "The answer's length leaves no room for a prompt.", values, "Lower max_new_tokens."
        )
    return room


def special_ids(tokenizer: PreTrainedTokenizerFast) -> tuple[int, int]:
    """The ids of EOS and of padding (EOS where there is no padding token: padding is masked, never read)."""
    from stillage.corpus.tokenizers import end_id

    eos, pad = end_id(tokenizer), tokenizer.pad_token_id
    return eos, pad if isinstance(pad, int) else eos
