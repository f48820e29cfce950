"""What a model is evaluated on: published sets at a pinned commit, or any file."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stillage.corpus.sources import COMMIT, HubPart, folder_and_part, is_pattern
from stillage.data.chat_templates import ALPACA_HEAD, ALPACA_HEAD_INPUT, ALPACA_INPUT, ALPACA_TAIL
from stillage.data.columns import RecordColumns, record_id
from stillage.data.records import Loaded, read_records
from stillage.errors import DataError, did_you_mean
from stillage.evaluate.quality import references_of
from stillage.types import Record

log = logging.getLogger("stillage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A public evaluation set: a hub file, the commit that holds it, the records used."""

    hub_id: str
    file: str = "valid.jsonl"
    commit: str  # 40 digits, or the first of them: then the user gives the rest
    limit: int = 0  # use the first so many records; 0: all


KNOWN: Mapping[str, Published] = {
    "dolly": Published(hub_id="MiniLLM/dolly", commit="d131636138be0ff3fd0901c12c1739844d337279"),
    "self-instruct": Published(hub_id="MiniLLM/self-inst", commit="ad9edcc"),
    "vicuna": Published(hub_id="MiniLLM/Vicuna", commit="05a1870"),
    "sinst": Published(hub_id="MiniLLM/sinst", file="11_/valid.jsonl", commit="b1e63ef"),
    "uinst": Published(
        hub_id="MiniLLM/uinst",
        file="11_/valid.jsonl",
        limit=10_000,
        commit="b3c77603ffaf9b9c15dc1f1a20dc2f2145580db0",
    ),
}
"""DollyEval, SelfInst, VicunaEval, S-NI and UnNI (answers of 11 words and more) of MiniLLM
(Gu et al. 2024, section 3.1)."""
ALSO_CALLED = {
    "self-inst": "self-instruct",
    "selfinst": "self-instruct",
    "s-ni": "sinst",
    "unni": "uinst",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSet:
    """Records to answer, in order, under a name for tables."""

    label: str
    records: list[Record]
    sources: Mapping[str, str] = field(default_factory=dict)  # file -> sha256, or its commit
    notes: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """64 hexadecimal digits: equal iff records and references are, in the same order."""
        content = [[record.id, references_of(record)] for record in self.records]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def open_set(
    word: str, *, columns: Mapping[str, str] | None = None, limit: int = 0, max_bad_lines: int = 0
) -> EvalSet:
    """Open a set: a name of KNOWN, NAME@COMMIT, HUB_ID@COMMIT, a file or a pattern.

    Questions without an answer are kept: they are answered, and only what needs a reference leaves
    them out. A prompt that a file has in the Alpaca layout is taken out of it, lest the template is
    put around it twice. limit: the first so many records; 0: all. DataError where nothing can be
    read.
    """
    wanted = RecordColumns(named=columns or {}, need_response=False)
    name, _, commit = word.partition("@")
    known = ALSO_CALLED.get(name.lower(), name.lower())
    if known in KNOWN:
        published = KNOWN[known]
        path = fetch(known, published, commit or published.commit)
        loaded = read_records(path, wanted, max_bad_lines=max_bad_lines)
        label, limit = known, limit or published.limit
    elif commit and not Path(word).exists():
        hub = HubPart(revision=commit, split="test")
        loaded = read_records(name, wanted, hub, max_bad_lines=max_bad_lines)
        label = name
    else:
        loaded = _local(word, wanted, max_bad_lines)
        label = Path(word).name or word
    chosen = loaded.records[: limit or None]
    records = [bare(record) for record in chosen]
    notes = Counter(loaded.notes)
    changed = sum(new is not old for new, old in zip(records, chosen, strict=True))
    notes["prompts taken out of the Alpaca layout"] = changed
    notes["records beyond the limit left out"] = len(loaded.records) - len(chosen)
    notes["broken lines left out"] = len(loaded.bad_lines)
    notes["records without a reference"] = sum(not references_of(record) for record in records)
    notes = +notes
    log.info("%s: %d records; %s", label, len(records), dict(notes))
    return EvalSet(label=label, records=records, sources=loaded.sources, notes=dict(notes))


def _local(word: str, wanted: RecordColumns, max_bad_lines: int) -> Loaded:
    """Read a file, a folder or a pattern; for any other word, say what is understood."""
    if not folder_and_part(word)[0].exists() and not is_pattern(word):
        known = f"Give a path, HUB_ID@COMMIT, or a name: {', '.join(KNOWN)}."
        fix = did_you_mean(word.lower(), [*KNOWN, *ALSO_CALLED], known)
        raise DataError("There is no such data set.", f"given: {word}", fix)
    return read_records(word, wanted, HubPart(split="test"), max_bad_lines=max_bad_lines)


def bare(record: Record) -> Record:
    """Take instruction and input out of a whole Alpaca prompt; else return the record."""
    prompt = record.prompt
    for head in (ALPACA_HEAD, ALPACA_HEAD_INPUT):
        if prompt.startswith(head) and prompt.endswith(ALPACA_TAIL) and not record.input:
            body = prompt[len(head) : len(prompt) - len(ALPACA_TAIL)]
            has_input = head == ALPACA_HEAD_INPUT
            words, _, more = body.partition(ALPACA_INPUT) if has_input else (body, "", "")
            new_id = record_id(words, more, record.response)
            return replace(record, id=new_id, prompt=words, input=more)
    return record


def fetch(name: str, published: Published, commit: str) -> Path:
    """Fetch a published set's file at one commit, once; DataError where there is none."""
    if not COMMIT.fullmatch(commit):
        raise DataError(
            f"The data set {name} needs its commit: "
            "what is downloaded must not change under a result.",
            f"hub id: {published.hub_id}; commit: {commit or '(none)'}, "
            "wanted: 40 hexadecimal digits",
            f"Give {name}@COMMIT; the one that starts with {published.commit[:7]} is at "
            f"https://huggingface.co/datasets/{published.hub_id}/commits/main. "
            "Or give a downloaded file.",
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            hf_hub_download(published.hub_id, published.file, repo_type="dataset", revision=commit)
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"The data set {name} could not be fetched from the hub.",
            f"{published.hub_id}@{commit}, {published.file}: {type(error).__name__}: {first}",
            f"Check the connection; or download {published.file} and give its path.",
        ) from error


def counts(sets: Sequence[EvalSet]) -> str:
    """Say in one line what each set holds, and what was left out or changed."""
    return "; ".join(
        f"{one.label}: {len(one.records)} records"
        + "".join(f", {count} {kind}" for kind, count in one.notes.items())
        for one in sets
    )
