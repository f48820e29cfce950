"""Near-copies that an instruct model writes in other words (A_paraphrase).

Canaries are made-up texts, sampled from a model: they are nobody's private data. Still, where the
writer is the http address of an endpoint, they are sent there, and nowhere else.

The published code (Shilov et al. 2024, arXiv:2405.15523) asks for all rephrasings of a canary in
one numbered list, without end until it has so many, whatever they are. Here each is asked for by
itself by default (small models do badly at lists), so many times at most, and what is of no use is
counted by reason.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from stillage.errors import ConfigError, Interrupted, ModelError
from stillage.models.served import never
from stillage.mosaic.rephrasings import LONGEST, fault_of, rephrasings_in, single_spaced
from stillage.mosaic.table_columns import VARIATIONS, table_schema
from stillage.mosaic.writer import writer_of
from stillage.rng import derive
from stillage.types import Decoding

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

    from stillage.mosaic.kinds import Paraphrase
    from stillage.mosaic.writer import Writer
    from stillage.run.progress import Done

ONE = (
    "Rephrase this text. Say the same things in different words, at about the same length. "
    "Give only the rephrased text.\n\nText: {text}\n\nRephrased text:"
)
SEVERAL = (
    "Write {count} different rephrasings of the text below. Each says the same things in different "
    "words, at about the same length. Number them from 1 to {count}, and give nothing else.\n\n"
    "Text: {text}"
)
log = logging.getLogger("stillage")
BEFORE, OF_ANOTHER = "said before", "said of another canary"
GRAMS = (1, 2, 4)
COLUMNS = {
    **{
        name: VARIATIONS[name] for name in ("canary", "variation", "piece", "text", "ids", "length")
    },
    **{f"gram{n}": "double" for n in GRAMS},
}
"""Of VARIATIONS, all but the distances; and the share of the canary's n-grams that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How many paraphrases of each canary are wanted, and how they are asked for."""

    count: int  # of each canary
    seed: int
    per_request: int = 1  # rephrasings asked for at once; `count`: a numbered list, as published
    rounds: int = 8  # times that what is still missing is asked for
    allow_missing: bool = False  # leave a canary out that has too few, instead of an error

    def __post_init__(self) -> None:
        """Require counts from 1 on. ConfigError."""
        if min(self.count, self.per_request, self.rounds) < 1:
            raise ConfigError(
                "Paraphrases are asked for at least once.",
                f"count: {self.count}; per_request: {self.per_request}; rounds: {self.rounds}",
                "Give numbers from 1 on.",
            )


@dataclass(slots=True)
class FoundParaphrases:
    """The usable paraphrases of one canary so far, in the order in which they came."""

    canary: str
    ids: list[int]
    texts: list[str] = field(default_factory=list)
    ids_of_texts: list[list[int]] = field(default_factory=list)


def paraphrases(
    texts_by_canary: Mapping[int, str],
    kind: Paraphrase,
    asking: Asking,
    *,
    tokenizer: PreTrainedTokenizerFast,
    keep: Path,
    progress: Done | None = None,
    should_stop: Callable[[], bool] = never,
) -> pa.Table:
    """Write paraphrases of canaries; COLUMNS, by canary and variation.

    Args:
        texts_by_canary: number of the canary -> its text; `kind.canaries` alone are rephrased.
        tokenizer: of the trained model: lengths and ids are its.
        keep: folder of the writer's answers as they come; asked for again is only what lacks.
        progress: hears how many paraphrases there are, of how many.
        should_stop: once true, Interrupted is raised; the same call continues.

    The schema's metadata "paraphrases" (JSON) holds the writer, every setting, the prompt, counts
    of requests and of rejected texts by reason, canaries left out, mean n-gram overlaps. Raises
    ModelError where canaries have too few after `rounds`, and those of `writer_of` and `ask_all`.
    """
    chosen = sorted(texts_by_canary)[: kind.canaries or None]
    found = {
        number: FoundParaphrases(
            texts_by_canary[number], plain_ids(tokenizer, texts_by_canary[number])
        )
        for number in chosen
    }
    writer = writer_of(kind, keep, should_stop)
    rejected: Counter[str] = Counter()
    owners: dict[str, int] = {}
    requests = 0
    for number in range(asking.rounds):
        asked = requests_for(found, asking, number)
        for first in range(0, len(asked), writer.at_once):
            if should_stop():
                raise stopped(found, asking, keep)
            batch = asked[first : first + writer.at_once]
            for (canary, _), reply in zip(
                batch, ask_writer(writer, kind, asking, batch, found), strict=True
            ):
                faults = take_usable(found[canary], reply, asking.count, tokenizer, owners, canary)
                rejected.update(faults)
            requests += len(batch)
            tell(progress, found, asking)
    left_out = [number for number in chosen if len(found[number].texts) < asking.count]
    facts = {
        **settings_of(writer, kind, asking),
        "requests": requests,
        "rejected": dict(sorted(rejected.items())),
        "left_out": left_out,
    }
    log_outcome(facts, found, asking)
    return paraphrase_table({n: found[n] for n in chosen if n not in left_out}, facts)


def settings_of(writer: Writer, kind: Paraphrase, asking: Asking) -> dict[str, Any]:
    """Gather all that decides the paraphrases of a canary, the prompt included."""
    sampling = {name: value for name, value in asdict(kind).items() if name != "writer"}
    prompt = SEVERAL if asking.per_request > 1 else ONE
    return {"writer": writer.name, **sampling, **asdict(asking), "prompt": prompt}


def log_outcome(
    facts: Mapping[str, Any], found: Mapping[int, FoundParaphrases], asking: Asking
) -> None:
    """Log what came of the requests; ModelError where too many canaries have too few."""
    left_out = facts["left_out"]
    reasons = ", ".join(f"{count} {name}" for name, count in facts["rejected"].items()) or "none"
    log.info(
        "%d paraphrases by %d requests; rejected: %s", count_of(found), facts["requests"], reasons
    )
    if left_out and (not asking.allow_missing or len(left_out) == len(found)):
        raise too_few_paraphrases(left_out, found, facts, reasons)
    if left_out:
        log.warning(
            "%d of %d canaries have too few paraphrases: left out", len(left_out), len(found)
        )


def requests_for(
    found: Mapping[int, FoundParaphrases], asking: Asking, number: int
) -> list[tuple[int, int]]:
    """List the requests of a round, (canary, seed).

    As many as could fill what is missing.
    """
    return [
        (canary, derive(asking.seed, "paraphrase", canary, number, k) % 2**31)
        for canary, so_far in found.items()
        for k in range(math.ceil((asking.count - len(so_far.texts)) / asking.per_request))
    ]


def ask_writer(
    writer: Writer,
    kind: Paraphrase,
    asking: Asking,
    batch: Sequence[tuple[int, int]],
    found: Mapping[int, FoundParaphrases],
) -> list[str]:
    """Ask the writer, with room for the longest text that could be used."""
    several = asking.per_request > 1
    messages = [
        (SEVERAL if several else ONE).format(text=found[canary].canary, count=asking.per_request)
        for canary, _ in batch
    ]
    longest = max(len(so_far.ids) for so_far in found.values())  # the same in every batch
    decoding = Decoding(
        max_new_tokens=asking.per_request * LONGEST * longest,
        sampling_temperature=kind.sampling_temperature,
        top_p=kind.top_p,
    )
    return writer.answer(messages, [seed for _, seed in batch], decoding)


def take_usable(
    found: FoundParaphrases,
    reply: str,
    count: int,
    tokenizer: PreTrainedTokenizerFast,
    owners: dict[str, int],
    canary: int,
) -> list[str]:
    """Add the usable rephrasings of a reply, up to count; return why others are not.

    owners: text, single spaced -> the canary that it was taken for; a text is of one canary alone.
    """
    faults: list[str] = []
    for text in rephrasings_in(reply, found.canary):
        if len(found.texts) == count:
            faults.append("not needed")
            continue
        ids = plain_ids(tokenizer, text)
        fault = fault_of(text, found.canary, len(ids), len(found.ids))
        said = single_spaced(text)
        if not fault and said in owners:
            fault = BEFORE if owners[said] == canary else OF_ANOTHER
        if fault:
            faults.append(fault)
            continue
        owners[said] = canary
        found.texts.append(text)
        found.ids_of_texts.append(ids)
    return faults


def plain_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Encode a text as plain text: no BOS, and no special token that it spells."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def tell(progress: Done | None, found: Mapping[int, FoundParaphrases], asking: Asking) -> None:
    """Say how many paraphrases there are."""
    if progress is not None:
        done, of = count_of(found), asking.count * len(found)
        progress(done, of, done / of)


def count_of(found: Mapping[int, FoundParaphrases]) -> int:
    """Count the usable paraphrases so far."""
    return sum(len(so_far.texts) for so_far in found.values())


def stopped(found: Mapping[int, FoundParaphrases], asking: Asking, keep: Path) -> Interrupted:
    """Make the error for a signal between two batches."""
    return Interrupted(
        f"Stopped after {count_of(found)} of {asking.count * len(found)} paraphrases.",
        f"answers so far: {keep}",
        "Run the same command again: it continues.",
    )


def too_few_paraphrases(
    left_out: Sequence[int],
    found: Mapping[int, FoundParaphrases],
    facts: Mapping[str, Any],
    reasons: str,
) -> ModelError:
    """Make the error for canaries that have too few paraphrases.

    It names counts and reasons.
    """
    least = min(len(found[number].texts) for number in left_out)
    fix = "Take another writer, or raise the sampling temperature"
    again = {
        BEFORE: "it says the same again, and may ignore temperature and seed",
        OF_ANOTHER: "it says the same of different canaries, and may not read them",
    }
    most = max(facts["rejected"], key=facts["rejected"].get, default="")
    fix += f": {again[most]}" if most in again else ""
    return ModelError(
        f"The writer gave too few usable paraphrases of {len(left_out)} of {len(found)} canaries.",
        f"wanted: {facts['count']} each; found: from {least} on, {count_of(found)} in all; "
        f"requests: {facts['requests']}; rejected: {reasons}; writer: {facts['writer']}",
        f"{fix}.",
    )


def paraphrase_table(found: Mapping[int, FoundParaphrases], facts: Mapping[str, Any]) -> pa.Table:
    """Make the table, with the facts and the mean overlaps in its metadata."""
    import pyarrow as pa

    rows = [
        {
            "canary": canary,
            "variation": number,
            "piece": 0,
            "text": text,
            "ids": ids,
            "length": len(ids),
            **{f"gram{n}": gram_overlap(so_far.ids, ids, n) for n in GRAMS},
        }
        for canary, so_far in found.items()
        for number, (text, ids) in enumerate(zip(so_far.texts, so_far.ids_of_texts, strict=True))
    ]
    means = {
        f"gram{n}": sum(row[f"gram{n}"] for row in rows) / len(rows) if rows else None
        for n in GRAMS
    }
    about = json.dumps({**facts, **means}, sort_keys=True, ensure_ascii=False)
    return pa.Table.from_pylist(rows, table_schema(COLUMNS)).replace_schema_metadata(
        {"paraphrases": about}
    )


def gram_overlap(original_ids: Sequence[int], ids: Sequence[int], n: int) -> float:
    """Measure what share of a canary's n-grams a near-copy has, 0 to 1.

    |G_n(original) & G_n(copy)| / |G_n(original)|, as multisets; a text shorter than n tokens is
    one n-gram. Of a canary of 100 tokens the published counts are about the same in percent.
    """
    own, other = grams_of(original_ids, n), grams_of(ids, n)
    return (own & other).total() / own.total()


def grams_of(ids: Sequence[int], n: int) -> Counter[tuple[int, ...]]:
    """Count the n-grams of a text; the whole text where it is shorter."""
    return Counter(tuple(ids[k : k + n]) for k in range(max(1, len(ids) - n + 1)))
