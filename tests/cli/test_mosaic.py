"""`stillage mosaic books` and `canaries` as a user calls them."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import pytest
import torch

from stillage.cli import main
from stillage.cli.mosaic import ACTIONS
from stillage.cli.mosaic_canaries import CanariesFlags, canary_options, watching
from stillage.models.load import load_model, save_model
from stillage.mosaic import canaries
from stillage.mosaic.canaries import about_canaries, read_canaries
from stillage.mosaic.experiments import EXPERIMENTS
from stillage.run.config import ModelConfig
from stillage.run.folder import read_table, write_with_metadata
from stillage.run.mosaic_config import CanaryConfig
from stillage.run.setting_texts import field_texts

Printed = pytest.CaptureFixture[str]
FEW = ["--members", "3", "--nonmembers", "2", "--length", "6", "--max-jaccard", "1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that writes the letters a and b."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE({"<end>": 0, "a": 1, "b": 2, "c": 3}, []))
    inner.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>")
    made = load_model(ModelConfig(layers=1, width=8, heads=1, context=32), vocab_size=4, seed=1)
    with torch.no_grad():  # it rarely ends
        made.transformer.ln_f.bias.fill_(1.0)  # pyright: ignore
        made.transformer.wte.weight[0] = -0.5  # pyright: ignore
    folder = tmp_path_factory.mktemp("model") / "model"
    save_model(made, tokenizer, folder)
    return str(folder)


@pytest.fixture
def shelf(tmp_path: Path) -> str:
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name in ("omoo", "mardi", "typee"):
        (folder / f"{name}.txt").write_text(name)
    return str(folder)


def test_canaries_are_written_and_what_was_rejected_is_said(
    model: str, tmp_path: Path, capsys: Printed
) -> None:
    out = tmp_path / "new" / "c.parquet"
    assert main(["mosaic", "canaries", model, str(out), *FEW, "--top-k", "3", "--seed", "5"]) == 0
    told = capsys.readouterr().out.splitlines()
    table = read_canaries(out)
    about = about_canaries(table)
    assert told[0] == f"3 members and 2 nonmembers of 6 tokens, of {about['written']} texts"
    assert told[1] == "rejected: " + (
        ", ".join(f"{n} {why}" for why, n in about["rejected"].items()) or "none"
    )
    assert told[2].startswith("perplexity (least, quartiles, most): ")
    assert told[-1] == f"written: {out}"
    assert about["sampling"]["top_k"] == 3 and about["seed"] == 5 and table.num_rows == 5


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["MODEL", "c.json"], "Name it e.g. c.parquet"),
        (["MODEL", "c.parquet", "--members", "0"], "members 0, wanted >= 1"),
        (["MODEL", "c.parquet", "--members", "-1"], "members -1, wanted >= 1"),
        (["MODEL", "c.parquet", "--buckets", "9", "2"], "each larger than the one before"),
        (["MODEL", "c.parquet", "--length", "32"], "context: 32 tokens"),
        (["MODEL", "c.parquet", *FEW, "--max-jaccard", "0", "--tries", "1"], "too similar"),
        (["MODEL", "c.parquet", "--tokenizer", "nowhere"], "nowhere"),
        (["nowhere", "c.parquet"], "nowhere"),
        (["MODEL"], "canaries takes MODEL and OUT.parquet"),
    ],
)
def test_what_cannot_be_written_is_three_lines(
    model: str,
    given: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Printed,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["mosaic", "canaries", *(model if one == "MODEL" else one for one in given)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert said in " ".join(lines) and len(lines) == 3
    assert list(tmp_path.iterdir()) == []


def test_a_signal_ends_the_writing_and_leaves_nothing(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setattr(
        canaries, "make_canaries", lambda *args, **kw: signal.raise_signal(signal.SIGINT)
    )
    assert main(["mosaic", "canaries", model, str(tmp_path / "c.parquet"), *FEW]) == 130
    assert list(tmp_path.iterdir()) == [] and "stopped" in capsys.readouterr().err


def test_the_flags_are_the_settings_of_a_config() -> None:
    ours, theirs = field_texts(CanariesFlags), field_texts(CanaryConfig)
    usual, flags = CanaryConfig(), CanariesFlags()
    names = {entry.name for entry in dataclasses.fields(CanaryConfig)} - {"generator", "file"}
    assert names < ours.keys()
    assert {name for name in names if ours[name] != theirs[name]} == {"revision"}
    assert canary_options("", flags) == usual
    assert canary_options("m", dataclasses.replace(flags, buckets=(1.0, 2.0))) == CanaryConfig(
        generator="m", buckets=(1.0, 2.0)
    )


def test_progress_is_shown_as_canaries_with_the_time_left() -> None:
    from stillage.cli.board import facts_in_words

    shown: list[str] = []
    done = watching(lambda name, facts: shown.append(f"{name}: {facts_in_words(facts)}"))
    done(0, 8, 0.0)
    done(3, 8, 0.4)
    assert shown[0] == "canaries: 0 of 8 canaries, 0 %"
    assert shown[1] == "canaries: 3 of 8 canaries, 40 %, 0:00 left"


def test_books_are_written_and_the_hosts_are_named(
    shelf: str, tmp_path: Path, capsys: Printed
) -> None:
    out, titles = tmp_path / "b.parquet", tmp_path / "titles.txt"
    titles.write_text("omoo\nmardi\n")
    assert main(["mosaic", "books", shelf, str(out), "--titles", str(titles)]) == 0
    told = capsys.readouterr().out
    assert "3 documents, of which 2 are to hold canaries (by title):\n  mardi\n  omoo\n" in told
    assert read_table(out)["is_host"].to_pylist() == [True, True, False]
    assert b"books" in read_table(out).schema.metadata
    assert main(["mosaic", "books", shelf, str(out), "--hosts", "1", "--seed", "4"]) == 0
    assert "1 are to hold canaries (drawn by seed 4)" in capsys.readouterr().out
    assert sum(read_table(out)["is_host"].to_pylist()) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["SHELF", "b"], "Name it e.g. b.parquet"),
        (["SHELF", "b.parquet", "--titles", "published"], "100 of 100 titles are not"),
        (["SHELF", "b.parquet", "--titles", "none.txt"], "list of titles cannot be read"),
        (["SHELF", "b.parquet", "--hosts", "4"], "3 with any text; hosts: 4"),
        (["nowhere.jsonl", "b.parquet"], "nowhere.jsonl"),
        (["imperial-cpg/project-gutenberg-extended", "b.parquet"], "needs its commit"),
    ],
)
def test_books_that_are_not_there_are_three_lines(
    shelf: str,
    given: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Printed,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["mosaic", "books", *(shelf if one == "SHELF" else one for one in given)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert said in " ".join(lines) and len(lines) == 3
    assert not Path("b.parquet").exists()


def test_a_run_of_flags_alone_lies_in_a_folder_that_its_books_name(
    shelf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["mosaic", "run", "--mosaic.books", "shelf", "--dry-run"]) == 0
    assert "run folder: runs/mosaic-shelf " in capsys.readouterr().err
    assert not Path("runs").exists() and Path(shelf).is_dir()


def test_the_first_screens_name_what_there_is(capsys: Printed) -> None:
    assert main(["--help"]) == 0
    shown = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "experiments" in shown["ls"] and "run, books, canaries" in shown["mosaic"]
    assert main(["mosaic", "run", "--help"]) == 0
    screen = capsys.readouterr().out
    for flag in ("writer", "writer-model", "monitor-every", "keep-models"):
        assert f"--mosaic.{flag} " in screen
    assert "runs/mosaic-BOOKS" in screen


def test_only_a_table_of_the_same_kind_is_overwritten(
    model: str, shelf: str, tmp_path: Path, capsys: Printed
) -> None:
    out = tmp_path / "b.parquet"
    assert main(["mosaic", "books", shelf, str(out)]) == 0
    assert main(["mosaic", "books", shelf, str(out), "--seed", "2"]) == 0
    assert main(["mosaic", "canaries", model, str(out), *FEW]) == 2
    assert "something else where the canaries" in capsys.readouterr().err
    out.write_text("my notes")
    assert main(["mosaic", "books", shelf, str(out)]) == 2
    assert out.read_text() == "my notes"


def test_documents_without_text_are_said(shelf: str, tmp_path: Path, capsys: Printed) -> None:
    (Path(shelf) / "void.txt").write_text("")
    assert main(["mosaic", "books", shelf, str(tmp_path / "b.parquet")]) == 0
    assert "4 documents (1 without text), of which 1 are" in capsys.readouterr().out


def test_a_file_of_canaries_is_what_a_run_injects(
    model: str, shelf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its counts and length are those of the run."""
    from stillage.errors import DataError
    from stillage.experiment import mosaic_inputs
    from stillage.experiment.context import make_context
    from stillage.experiment.mosaic_stages import do_canaries
    from stillage.models.load import load_tokenizer
    from stillage.mosaic.condition import Arm
    from stillage.run.parse import build
    from stillage.run.stop import Stop

    out, run = tmp_path / "c.parquet", tmp_path / "run"
    assert main(["mosaic", "canaries", model, str(out), *FEW, "--top-k", "3"]) == 0
    load_tokenizer(model).save_pretrained(run / "tokenizer")
    given = {"mosaic.canaries.file": [str(out)], "mosaic.books": [shelf], "out": [str(run)]}
    config = build({"stages": ["mosaic"], "mosaic.experiments": ["exact_copies"], **given})
    context = make_context(config, Stop(), lambda name, facts: None)
    monkeypatch.setattr("stillage.experiment.mosaic_stages.texts_in", lambda *_, hosts: ["abc"])
    do_canaries(context, Arm(), [], 0, context.run / "canaries")
    assert read_canaries(context.run / "canaries" / "canaries.parquet").equals(read_canaries(out))
    facts = mosaic_inputs.canary_facts(context)
    assert (facts["members"], facts["nonmembers"], facts["length"]) == (3, 2, 6)
    write_with_metadata(out, read_canaries(out).slice(1))
    with pytest.raises(DataError, match="members first"):
        do_canaries(context, Arm(), [], 0, context.run / "canaries")


def test_the_settings_of_an_experiment_are_explained(capsys: Printed) -> None:
    assert main(["ls", "experiments", "insertion"]) == 0
    told = capsys.readouterr().out
    assert "--mosaic.params.insertion.piece N,..." in told and "5" in told
    for params in EXPERIMENTS.values():
        assert all(field_texts(params.params).values()), params.name
    assert main(["ls", "experiments", "insertoin"]) == 2
    assert "Did you mean insertion?" in capsys.readouterr().err
    assert main(["ls", "experiments"]) == 0
    assert 'lists as 2,4 or "2 4"' in capsys.readouterr().out


def test_each_action_has_a_help_of_one_screen(capsys: Printed) -> None:
    assert main(["mosaic"]) == 0
    listed = capsys.readouterr().out
    for action in ACTIONS:
        assert f"\n  {action} " in listed
        assert main(["mosaic", action, "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(f"usage: stillage mosaic {action} ")
        assert len(lines) <= 45 and max(map(len, lines)) <= 100
    assert main(["mosaic", "bocks"]) == 2
    assert "Did you mean books?" in capsys.readouterr().err
