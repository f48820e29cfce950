"""A whole audit of hostile private records: nothing of them, nor of hashes of them, is in any file of its report."""

from __future__ import annotations

import hashlib
import html
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from stillage.cli import main
from stillage.data.bpe import train_bpe
from stillage.data.columns import record_id
from stillage.experiment.context import Context, make_context
from stillage.experiment.folders import earlier_config
from stillage.models.load import load_model, save_model
from stillage.report import write_report
from stillage.run.config import ModelConfig, ReportConfig
from stillage.run.folder import read_json, read_table, sha256_file, write_table
from stillage.run.stop import Stop

WARDS = ("north", "<b>7B|</b>", "**south**")
SAID = (
    "cannot tell leakage from a difference of the groups",
    "Members are the private records the teacher was trained on",
    "one kind only",
    "All validity checks passed",
    "AUC of each model under each attack",
    "group 1 of name",
)


def person(number: int, side: str) -> dict[str, str]:
    """A record with secrets of every length: surname, social security number, badge, mail address, an id of the hospital's."""
    code = hashlib.sha256(f"{side}{number}".encode()).hexdigest()
    digits = str(int(code, 16))
    surname = "".join("aeiouklmnprstvzà"[int(one, 16)] for one in code[:5]).title()
    secrets = {
        "name": f"Jo {surname}",
        "ssn": f"{digits[:3]}-{digits[3:5]}-{digits[5:9]}",
        "badge": digits[9:15],
        "mail": f"{surname.lower()}.{digits[15:17]}@ward.example",
        "id": f"PAT-{digits[17:21]}/{side[:1]}",
    }
    text = f"{secrets['name']}, {secrets['ssn']}, badge {secrets['badge']}, {secrets['mail']}. {SAID[number % len(SAID)]}."
    return {
        **secrets,
        "prompt": f"Who is patient {secrets['id']}?",
        "response": text,
        "ward": WARDS[number % 3],
    }


@pytest.fixture(scope="module")
def folk() -> dict[str, list[dict[str, str]]]:
    return {
        side: [person(number, side) for number in range(12)] for side in ("private", "nonmembers")
    }


@pytest.fixture(scope="module")
def audited(
    folk: dict[str, list[dict[str, str]]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The run folder of an audit of an untrained student on files that are named after a patient."""
    root = tmp_path_factory.mktemp("hostile")
    tokenizer = train_bpe(["who is patient of the ward " * 20], 280)
    model = load_model(
        ModelConfig(layers=1, width=16, heads=2, context=128), vocab_size=len(tokenizer), seed=0
    )
    save_model(model, tokenizer, root / "student")
    public = [
        {
            "prompt": "Who is it?",
            "response": f"Nobody of the ward, {number}.",
            "ward": "north",
            "name": "none",
            "id": "0",
            "badge": "0",
        }
        for number in range(6)
    ]
    rows = {**folk, "public": public, "test": public[:2]}
    words = [
        "audit",
        "--student",
        str(root / "student"),
        "--out",
        str(root / "run"),
        "--stages",
        "evaluate",
        "audit",
    ]
    for side, found in rows.items():
        path = root / f"{folk['private'][0]['name']} {side}.jsonl"
        path.write_text("\n".join(map(json.dumps, found)))
        words += [f"--data.files.{side}", str(path)]
    words += [
        "--data.slice-by",
        "name",
        "ward",
        "id",
        "--audit.extract",
        "badge",
        "--data.group-by",
        "",
        "--data.template",
        "raw",
    ]
    assert (
        main(
            [
                *words,
                "--audit.attacks",
                "loss",
                "zlib",
                "--threads",
                "1",
                "--generate.max-new-tokens",
                "4",
            ]
        )
        == 0
    )
    return root / "run"


def context_of(run: Path) -> Context:
    """What the run was done with."""
    config = earlier_config(run)
    assert config is not None
    return make_context(config, Stop(), lambda name, facts: None)


def texts_below(folder: Path) -> dict[str, str]:
    """Path -> all that a file says: tables as the text of their cells, pages as they are and as they are read."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".parquet":
            said = "\n".join(
                str(value) for row in read_table(path).to_pylist() for value in row.values()
            )
        else:
            said = path.read_text(encoding="utf-8")
        found[str(path.relative_to(folder))] = f"{said}\n{html.unescape(said)}".casefold()
    return found


def pieces(run: Path, folk: dict[str, list[dict[str, str]]]) -> set[str]:
    """What identifies: every secret, parts of them, labels of groups, ids and hashes that anybody can compute from texts."""
    found: set[str] = set()
    for row in (row for rows in folk.values() for row in rows):
        found |= {row[key] for key in ("name", "ssn", "badge", "mail", "id")}
        found |= {
            row["name"].split()[1],
            row["ssn"].replace("-", ""),
            record_id(row["prompt"], "", row["response"]),
        }
    found |= set(WARDS[1:]) | {
        sha256_file(path) for side in folk for path in run.parent.glob(f"* {side}.jsonl")
    }
    found |= {
        sha256_file(path) for name in ("data", "audit") for path in (run / name).glob("*.parquet")
    }
    found.add(context_of(run).run_id)
    found |= {read_json(run / name / "manifest.json")["key"] for name in ("data", "audit")}
    return {piece.casefold() for piece in found}


def test_no_piece_that_identifies_is_in_a_file_of_the_report(
    audited: Path, folk: dict[str, list[dict[str, str]]], tmp_path: Path
) -> None:
    run = shutil.copytree(audited, tmp_path / "run")
    member = folk["private"][3]
    samples = read_table(run / "evaluate" / "samples.parquet")
    recited = f"I know {member['name']}: {member['ssn']}, badge {member['badge']}, {member['mail'].upper()}, of the ward"
    texts = pa.array([recited] * samples.num_rows)
    write_table(
        run / "evaluate" / "samples.parquet",
        samples.set_column(samples.column_names.index("text"), "text", texts),
    )
    for folder in (audited, run):
        if folder == run:
            write_report(run, ReportConfig(), title=f"about {member['name']}")
        secret, files = pieces(audited, folk), texts_below(folder / "report")
        assert len(files) > 5 and len(secret) > 150
        leaks = {
            name: sorted(piece for piece in secret if piece in said) for name, said in files.items()
        }
        assert {name: found for name, found in leaks.items() if found} == {}
    page = files["report.html"]
    assert "i know ████ the ward" in page and "about ████" in page


def test_groups_are_numbered_and_the_owner_can_look_them_up(audited: Path) -> None:
    page = (audited / "report" / "report.html").read_text(encoding="utf-8")
    names = read_json(audited / "report.names.json")["groups"]
    assert (audited / "report.names.json").stat().st_mode & 0o777 == 0o600
    wards = {shown: label for shown, label in names.items() if shown.endswith("of ward")}
    assert sorted(wards) == ["group 1 of ward", "group 2 of ward"]
    assert set(wards.values()) == {f"ward: {ward}" for ward in WARDS[1:]}
    assert (
        all(shown in page for shown in wards) and "ward: north" in page
    )  # which public records have too
    datasets = set(read_table(audited / "report" / "results.parquet").column("dataset").to_pylist())
    assert set(wards) <= datasets and not set(wards.values()) & datasets


def test_a_report_is_not_done_twice_but_with_another_key(
    audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(audited, tmp_path / "run")
    assert main(["report", str(run)]) == 0 and "report: skipped" in capsys.readouterr().err
    (run / "report.key").unlink()
    assert (
        main(["report", str(run), "--dry-run"]) == 0
        and "report: an input changed" in capsys.readouterr().out
    )
    assert not (run / "report.key").exists()
