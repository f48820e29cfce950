"""Every mosaic preset plans, trains two steps and audits, on tiny models of its architecture and kind of tokenizer."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_models import write_tiny, write_tiny_masked

from stillage.cli import main
from stillage.data.synthetic import people
from stillage.experiment.mosaic_settings import LEDGER_FILE, POINTS_FILE
from stillage.run.folder import read_table

LLAMA_2 = "meta-llama/Llama-2-7b-hf"
MODELS = {
    "mosaic_as_released": "EleutherAI/gpt-neo-1.3B",
    "mosaic_gpt_neo_1.3b": "EleutherAI/gpt-neo-1.3B",
    "mosaic_gemma_2b": "google/gemma-2b",
    "mosaic_phi_2": "microsoft/phi-2",
    "mosaic_llama_3.2_1b": "meta-llama/Llama-3.2-1B",
}
RELEASED = {"loss", "ratio", "lowercase", "zlib", "minkprob"}
PRESETS = [
    name if name == "mosaic_as_released" else pytest.param(name, marks=pytest.mark.slow)
    for name in MODELS
]
COPIES = 2
SMALL = f"""
--seed 1 --jobs 1 --threads 1 --teacher-train.max-steps 2 --mosaic.block-tokens 64
--mosaic.monitor-every 1 --mosaic.copies {COPIES} --mosaic.hosts 3 --mosaic.resamples 20
--mosaic.canaries.members 4 --mosaic.canaries.nonmembers 4 --mosaic.canaries.length 12
--mosaic.canaries.max-jaccard 1.0 --mosaic.params.replacement.replaced 2
""".split()


def words_of(name: str, model: str, folder: Path) -> list[str]:
    """The preset, overruled: tiny models in folders, and six short books in a file of rows."""
    texts = [
        "\n".join(record.response for record in people(number + 1, 24)["private"])
        for number in range(6)
    ]
    rows = [{"book_title": f"Book {number}", "text": text} for number, text in enumerate(texts)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "books.parquet")
    write_tiny(model, folder / "teacher", texts)
    write_tiny(LLAMA_2, folder / "llama", texts, seed=2)
    write_tiny_masked(folder / "masked", texts)
    places = places_of(folder, "books.parquet")
    return [name, *SMALL, *(word for place in places.items() for word in place)]


def places_of(folder: Path, books: str) -> dict[str, str]:
    """Folders in place of hub ids."""
    return {
        "--teacher.path": str(folder / "teacher"),
        "--mosaic.canaries.generator": str(folder / "llama"),
        "--audit.reference": str(folder / "llama"),
        "--mosaic.masked-model": str(folder / "masked"),
        "--mosaic.books": str(folder / books),
        "--mosaic.titles": "",
        "--out": str(folder / "run"),
    }


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains_and_audits_in_small(name: str, tmp_path: Path) -> None:
    assert main(["mosaic", "run", *words_of(name, MODELS[name], tmp_path)]) == 0
    run = tmp_path / "run"
    conditions = ["exact_01", "exact_02", "replace_2_n2"]
    for condition in conditions:
        ledger = read_table(run / condition / LEDGER_FILE)
        assert ledger.num_rows == 4 * (1 if condition == "exact_01" else COPIES)
        if name != "mosaic_as_released":
            assert all(ledger["survived"].to_pylist())  # put in as tokens: none can change
        scores = read_table(run / condition / "scores.parquet")
        assert not [one for one in scores["score"].to_pylist() if not math.isfinite(one)]
        monitor = read_table(run / condition / "monitor.parquet")
        assert monitor["step"].to_pylist() == [0, 1, 2]
    scored = read_table(run / conditions[0] / "scores.parquet")
    attacks = {*scored["attack"].to_pylist()}
    given = {"reference_outside", "loss", "zlib", "min_k", "lowercase"}
    assert attacks == (RELEASED if name == "mosaic_as_released" else given)
    points = read_table(run / "mosaic" / POINTS_FILE).to_pylist()
    assert {point["condition"] for point in points} == {*conditions}
    assert {point["attack"] for point in points} == attacks
    near = [point for point in points if point["experiment"] == "replacement"]
    assert all(0 <= point["auc"] <= 1 for point in points) and len(near) == len(attacks)
    assert {point["levenshtein"] for point in near} == {2.0}
    assert (run / "report" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["google/gemma-2b", "meta-llama/Llama-3.2-1B", LLAMA_2])
def test_copies_go_in_as_text_under_every_kind_of_tokenizer(model: str, tmp_path: Path) -> None:
    """Copies may change at their borders, which the ledger says; nothing else does."""
    words = words_of("mosaic_as_released", model, tmp_path)
    assert main(["mosaic", "run", *words]) == 0
    run = tmp_path / "run"
    canaries = read_table(run / "canaries" / "canaries.parquet").to_pylist()
    for row in read_table(run / "exact_02" / LEDGER_FILE).to_pylist():
        same = row["ids"] == canaries[row["canary"]]["ids"]
        assert row["survived"] == same and row["variation"] == -1
    points = read_table(run / "mosaic" / POINTS_FILE).to_pylist()
    assert all(0 <= point["survived"] <= 1 for point in points)


FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
SHARED = ("books", "tokenizer", "canaries", "masked")


@pytest.mark.parametrize("name", MODELS)
def test_a_preset_of_local_folders_plans_without_reading_them(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("teacher", "llama", "masked"):
        (tmp_path / folder).mkdir()
        for file in FILES:
            (tmp_path / folder / file).write_text("{}")
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "one.txt").write_text("a book")
    words = [name, *(word for place in places_of(tmp_path, "books").items() for word in place)]
    assert main(["mosaic", "run", *words, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    replaced = (1, 5, 10, 15, 20, 25, 50, 75)
    conditions = [f"exact_{copies:02d}" for copies in range(1, 11)]
    conditions += [f"replace_{count}_n10" for count in replaced]
    made = [f"variations_replace_{count}" for count in replaced]
    planned = {line.split()[1] for line in shown.splitlines() if line.startswith("run ")}
    assert {*SHARED, *conditions, *made, "mosaic", "report"} <= planned
    assert not (tmp_path / "run").exists()
