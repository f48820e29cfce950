"""A scan of a corpus: the same rows however it is cut; refusals; what it counts."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import brute_search
import numpy as np
import pyarrow as pa
import pytest
from make_shards import make_shards

from stillage.cli.board import facts_in_words
from stillage.corpus import scan as scanning
from stillage.corpus import scan_part_file, scan_task
from stillage.corpus.scan import Hands, do_scan, plan_corpus_scan
from stillage.corpus.scan_part_file import part_path
from stillage.corpus.scan_parts import is_in_sample
from stillage.corpus.scan_plan import ScanSettings
from stillage.corpus.scan_results import Scan, read_scan
from stillage.corpus.shards import ShardSet, open_shards
from stillage.errors import ConfigError, DataError, Interrupted
from stillage.rng import generator

RNG = generator(1, "scan tests")
DOCUMENTS = [RNG.integers(0, 4, size) for size in (9, 0, 30, 3, 12, 0, 41, 8, 17, 5, 22)]
TARGETS = [DOCUMENTS[2][3:11].tolist(), DOCUMENTS[6][20:28].tolist(), DOCUMENTS[2][3:11].tolist()]
NEAR = ScanSettings(max_distance=2, metric="both", tokens_per_part=25)


@pytest.fixture(autouse=True)
def by_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compiled here: how places are found is `test_fuzzy`'s matter."""
    brute_search.stand_in(monkeypatch)


@pytest.fixture
def corpus(tmp_path: Path) -> ShardSet:
    return make_shards(tmp_path / "shards", DOCUMENTS, vocab_size=6, shard_documents=4)


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    return write_list(tmp_path / "targets.jsonl", TARGETS)


def write_list(path: Path, targets: Sequence[Sequence[int]]) -> Path:
    path.write_text("".join(json.dumps(list(target)) + "\n" for target in targets))
    return path


def run(
    corpus: ShardSet,
    targets: Path,
    out: Path,
    settings: ScanSettings = NEAR,
    said: list[str] | None = None,
) -> Scan:
    say = (lambda line: None) if said is None else said.append
    do_scan(plan_corpus_scan(corpus, targets, settings), out, Hands(jobs=1, say=say))
    return read_scan(out)


def expected(
    documents: Sequence[np.ndarray],
    settings: ScanSettings = NEAR,
    targets: Sequence[Sequence[int]] = TARGETS,
) -> list[dict[str, object]]:
    """Brute force on the whole corpus at once."""
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in documents])])
    plan = brute_search.plan_scan(
        None,
        None,
        targets,
        max_distance=settings.max_distance,
        metric=settings.metric,
        mode="window",
    )
    tokens = np.concatenate(documents)
    return brute_search.scan_with_plan(
        tokens, offsets, plan, suppress_overlaps=settings.suppress_overlaps
    ).to_pylist()


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize(("shard_documents", "size"), [(1, 1), (4, 25), (100, 10**6)])
def test_rows_do_not_depend_on_shards_and_parts(
    tmp_path: Path, targets: Path, shard_documents: int, size: int
) -> None:
    corpus = make_shards(
        tmp_path / "other", DOCUMENTS, vocab_size=70_000, shard_documents=shard_documents
    )
    scan = run(corpus, targets, tmp_path / "out", replace(NEAR, tokens_per_part=size))
    assert scan.hits.to_pylist() == expected(DOCUMENTS)
    assert scan.hits.schema == scan_part_file.hits_schema()
    assert scan.manifest["scanned"] == scan.manifest["of"] == {"documents": 11, "tokens": 147}
    assert scan.manifest["found"] == {
        name: sum(row["metric"] == name for row in expected(DOCUMENTS))
        for name in ("levenshtein", "hamming")
    }
    assert scan.manifest["targets_found"]["hamming"] == 3 and scan.share == 1


def test_overlaps_can_be_kept(corpus: ShardSet, targets: Path, tmp_path: Path) -> None:
    settings = replace(NEAR, suppress_overlaps=False)
    rows = run(corpus, targets, tmp_path / "out", settings).hits.to_pylist()
    assert rows == expected(DOCUMENTS, settings) and len(rows) > len(expected(DOCUMENTS))


def test_nothing_found_is_an_empty_table_with_its_columns(corpus: ShardSet, tmp_path: Path) -> None:
    targets = write_list(tmp_path / "t.jsonl", [[5] * 8])
    scan = run(corpus, targets, tmp_path / "out", replace(NEAR, metric="levenshtein"))
    assert len(scan.hits) == 0 and scan.hits.schema == scan_part_file.hits_schema()
    assert scan.manifest["found"] == {"levenshtein": 0} and scan.tokens_Nm.tolist() == [[5] * 8]


def test_a_sample_is_of_documents_and_counts_them(
    corpus: ShardSet, targets: Path, tmp_path: Path
) -> None:
    settings = replace(NEAR, sample=0.6, seed=4)
    chosen = is_in_sample(4, 0.6, 0, len(DOCUMENTS))
    assert 0 < chosen.sum() < len(DOCUMENTS)
    scan = run(corpus, targets, tmp_path / "out", settings)
    assert scan.hits.to_pylist() == [row for row in expected(DOCUMENTS) if chosen[row["document"]]]
    assert scan.manifest["scanned"][
        "documents"
    ] == chosen.sum() and scan.share == chosen.sum() / len(DOCUMENTS)
    assert scan.manifest["of"]["documents"] == len(DOCUMENTS)


def test_the_same_command_again_changes_nothing(
    corpus: ShardSet, targets: Path, tmp_path: Path
) -> None:
    run(corpus, targets, tmp_path / "out")
    before = files_of(tmp_path / "out")
    run(corpus, targets, tmp_path / "out")
    assert files_of(tmp_path / "out") == before


def test_parts_that_are_whole_are_not_scanned_again(
    corpus: ShardSet, targets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(corpus, targets, tmp_path / "out")
    before = files_of(tmp_path / "out")
    part_path(tmp_path / "out", 2).unlink()
    (tmp_path / "out" / "manifest.json").unlink()
    (tmp_path / "out" / "parts" / ".tmp-part-000002.parquet-1-ab").write_bytes(b"half")
    done = []
    do = scan_task.Scanner.do
    monkeypatch.setattr(
        scan_task.Scanner, "do", lambda self, part: done.append(part.number) or do(self, part)
    )
    run(corpus, targets, tmp_path / "out")
    assert done == [2] and files_of(tmp_path / "out") == before


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x10
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"target": [1]}), path)


def other_part(path: Path) -> None:
    path.write_bytes(part_path(path.parents[1], 0).read_bytes())


@pytest.mark.parametrize("damage", [flipped, cut, emptied, foreign, other_part])
def test_a_part_that_is_none_is_named_and_scanned_again(
    corpus: ShardSet, targets: Path, tmp_path: Path, damage: object
) -> None:
    assert callable(damage)
    out = tmp_path / "out"
    run(corpus, targets, out)
    before = files_of(out)
    damage(part_path(out, 1))
    with pytest.raises(DataError):
        read_scan(out)
    said: list[str] = []
    run(corpus, targets, out, said=said)
    assert "part-000001.parquet is scanned again" in said[0]
    assert files_of(out) == before


def test_every_flipped_byte_of_a_part_is_seen(
    corpus: ShardSet, targets: Path, tmp_path: Path
) -> None:
    run(corpus, targets, tmp_path / "out")
    whole = scan_part_file.read_part(tmp_path / "out", 1)
    path = part_path(tmp_path / "out", 1)
    content = path.read_bytes()
    for place in range(0, len(content), 29):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            facts, rows = scan_part_file.read_part(tmp_path / "out", 1)
        except DataError:
            continue
        assert facts == whole[0] and rows.equals(whole[1]), place  # a byte that says nothing


@pytest.mark.parametrize("name", ["part-000099.parquet", "notes.txt"])
def test_a_file_of_no_part_is_refused(
    corpus: ShardSet, targets: Path, tmp_path: Path, name: str
) -> None:
    run(corpus, targets, tmp_path / "out")
    (tmp_path / "out" / "parts" / name).write_bytes(part_path(tmp_path / "out", 0).read_bytes())
    with pytest.raises(ConfigError, match=name):
        run(corpus, targets, tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (replace(NEAR, max_distance=3), "max_distance: 2, now 3"),
        (replace(NEAR, metric="hamming"), "metric: both, now hamming"),
        (
            replace(NEAR, suppress_overlaps=False, seed=1),
            "suppress_overlaps: True, now False; seed: 0, now 1",
        ),
    ],
)
def test_other_settings_do_not_continue_a_scan(
    corpus: ShardSet, targets: Path, tmp_path: Path, settings: ScanSettings, says: str
) -> None:
    run(corpus, targets, tmp_path / "out")
    with pytest.raises(ConfigError, match="holds another scan") as caught:
        run(corpus, targets, tmp_path / "out", settings)
    assert says in caught.value.values


def test_other_targets_and_other_shards_do_not_continue_a_scan(
    corpus: ShardSet, targets: Path, tmp_path: Path
) -> None:
    run(corpus, targets, tmp_path / "out")
    other = write_list(tmp_path / "other.jsonl", TARGETS[::-1] + TARGETS)
    with pytest.raises(ConfigError, match=r"targets \(count\): 3, now 6"):
        run(corpus, other, tmp_path / "out")
    changed = make_shards(
        tmp_path / "changed", [*DOCUMENTS[:-1], DOCUMENTS[-1] * 0], vocab_size=6, shard_documents=4
    )
    with pytest.raises(ConfigError, match="shards: shard-00002"):
        run(changed, targets, tmp_path / "out")


def test_the_shards_may_have_moved(corpus: ShardSet, targets: Path, tmp_path: Path) -> None:
    run(corpus, targets, tmp_path / "out")
    before = files_of(tmp_path / "out")
    moved = make_shards(tmp_path / "moved", DOCUMENTS, vocab_size=6, shard_documents=4)
    part_path(tmp_path / "out", 1).unlink()
    run(moved, targets, tmp_path / "out")
    assert files_of(tmp_path / "out") == before


def test_a_folder_with_other_things_is_left_alone(
    corpus: ShardSet, targets: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match=r"holds no scan[\s\S]*thesis\.tex"):
        run(corpus, targets, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("documents", "targets", "settings", "says"),
    [
        ([], [[1, 2]], NEAR, "no documents"),
        ([[], [1, 2]], [[1, 2, 3]], NEAR, "too short"),
        ([[1, 2, 3]], [[1, 2, 9]], NEAR, "outside the vocabulary"),
        ([[1, 2, 3]], [[1, 2], [1]], NEAR, "several lengths"),
        ([[1, 2, 3]], [], NEAR, "no targets"),
        ([[1, 2, 3]], [[1, 2]], replace(NEAR, sample=1e-9), "drew no document"),
    ],
)
def test_what_cannot_be_scanned_is_refused_before_anything_is_written(
    tmp_path: Path,
    documents: list[list[int]],
    targets: list[list[int]],
    settings: ScanSettings,
    says: str,
) -> None:
    corpus = make_shards(tmp_path / "shards", documents, vocab_size=6, shard_documents=1)
    with pytest.raises(DataError, match=says):
        run(corpus, write_list(tmp_path / "t.jsonl", targets), tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_distance", -1),
        ("metric", "cosine"),
        ("mode", "line"),
        ("sample", 0.0),
        ("sample", 1.5),
        ("tokens_per_part", -1),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=str(value)):
        replace(NEAR, **{name: value})


def test_a_shard_that_was_cut_short_is_named(
    corpus: ShardSet, targets: Path, tmp_path: Path
) -> None:
    planned = plan_corpus_scan(corpus, targets, NEAR)
    cut(tmp_path / "shards" / "shard-00001.safetensors")
    with pytest.raises(DataError, match="shard-00001"):
        do_scan(planned, tmp_path / "out", Hands(jobs=1, say=lambda line: None))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_scan_that_missed_a_document_fails(
    corpus: ShardSet, targets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = scanning.plan_parts

    def lossy(corpus: ShardSet, size: int) -> list[object]:
        parts = real(corpus, size)
        return [replace(part, end=part.end - (part.number == 1)) for part in parts]

    monkeypatch.setattr(scanning, "plan_parts", lossy)
    with pytest.raises(
        DataError, match=r"did not read the corpus[\s\S]*'documents': 10[\s\S]*'documents': 11"
    ):
        run(corpus, targets, tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_full_disk_leaves_nothing_half_written_and_the_same_command_continues(
    corpus: ShardSet, targets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        """A writer that has no room for the third part."""

        def __init__(self, path: Path, schema: pa.Schema, **given: object) -> None:
            path.write_bytes(b"half")
            self.writer = writer(path, schema, **given)

        def __enter__(self) -> object:
            if "000002" in str(self.writer.where):
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.writer.__enter__()

        def __exit__(self, *error: object) -> None:
            self.writer.__exit__(*error)

    import pyarrow.parquet as pq

    writer = pq.ParquetWriter
    monkeypatch.setattr(pq, "ParquetWriter", Full)
    with pytest.raises(Interrupted, match=r"disk is full[\s\S]*part-000002"):
        run(corpus, targets, tmp_path / "out")
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "out" / "parts").iterdir()) == [
        "part-000000.parquet",
        "part-000001.parquet",
    ]
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_folder_that_cannot_be_written_is_said_in_three_lines(
    corpus: ShardSet, targets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    planned = plan_corpus_scan(corpus, targets, NEAR)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(
        ConfigError, match=r"cannot be written[\s\S]*Read-only file system[\s\S]*--out"
    ):
        do_scan(planned, tmp_path / "out", Hands(jobs=1))


def test_a_disk_that_is_full_from_the_start_is_no_bug(
    corpus: ShardSet, targets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    planned = plan_corpus_scan(corpus, targets, NEAR)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(Interrupted, match="disk is full"):
        do_scan(planned, tmp_path / "out", Hands(jobs=1))


def test_an_unfinished_scan_is_not_read(corpus: ShardSet, targets: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no scan"):
        read_scan(tmp_path)
    run(corpus, targets, tmp_path / "out")
    (tmp_path / "out" / "manifest.json").unlink()
    with pytest.raises(DataError, match="not finished"):
        read_scan(tmp_path / "out")


def test_progress_is_told_in_tokens_share_speed_and_time_left(
    corpus: ShardSet, targets: Path, tmp_path: Path
) -> None:
    told: list[dict[str, Any]] = []
    planned = plan_corpus_scan(corpus, targets, NEAR)

    def tell(name: str, facts: Mapping[str, Any]) -> None:
        if name != "check":  # the shards' hashes, before
            told.append(dict(facts))

    hands = Hands(jobs=1, progress=tell)
    do_scan(planned, tmp_path / "out", hands)
    assert [facts["done"] for facts in told] == sorted(facts["done"] for facts in told)
    assert len(told) == len(planned.parts) and told[-1]["done"] == told[-1]["of"] == 147
    assert facts_in_words(told[-1]).startswith("147 of 147 tokens (100 %), ")
    assert facts_in_words(told[-1]).endswith(" tokens/s, 0:00 left")

    part_path(tmp_path / "out", 3).unlink()
    told.clear()
    do_scan(
        planned, tmp_path / "out", Hands(jobs=1, say=lambda line: None, progress=hands.progress)
    )
    assert [facts["done"] for facts in told] == [147]


@pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="Linux says what is mapped"
)
def test_tokens_that_were_read_are_given_back(tmp_path: Path) -> None:
    tokens = np.arange(10_000_000, dtype=np.int64) % 60_000
    make_shards(tmp_path, [tokens], vocab_size=60_000, shard_documents=1)
    (shard,) = open_shards(tmp_path).shards

    def mapped() -> int:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
        return (sizes["Rss"] - sizes["Anonymous"]) // 1024

    before = mapped()
    total = int(shard.tokens_T.sum(dtype=np.int64))
    assert mapped() - before > 14  # MiB of 19
    scan_task.release(shard.tokens_T)
    assert mapped() - before < 8
    assert int(shard.tokens_T.sum(dtype=np.int64)) == total == int(tokens.sum())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("settings", None),
        ("settings", {"max_distance": "2"}),
        ("settings", {"max_distance": 2, "other": 1}),
        ("shards", None),
        ("shards", [{"name": "shard-00000"}]),
        ("targets", {}),
        ("vocab_size", None),
    ],
)
def test_a_plan_without_its_facts_is_damaged(
    corpus: ShardSet, targets: Path, tmp_path: Path, name: str, value: object
) -> None:
    run(corpus, targets, tmp_path / "out")
    plan = tmp_path / "out" / "plan.json"
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {name: value}))
    with pytest.raises(DataError, match="plan of the scan is damaged"):
        read_scan(tmp_path / "out")
    with pytest.raises(DataError, match="plan of the scan is damaged"):
        run(corpus, targets, tmp_path / "out")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"parts": "x"}', "null"])
def test_a_manifest_without_its_facts_is_damaged(
    corpus: ShardSet, targets: Path, tmp_path: Path, content: str
) -> None:
    run(corpus, targets, tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text(content)
    with pytest.raises(DataError, match="manifest of the scan is damaged"):
        read_scan(tmp_path / "out")
