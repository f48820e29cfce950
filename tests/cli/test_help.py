"""Help: one screen a verb, only what it reads, and the rest by section."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stillage.cli import VERBS, main
from stillage.cli.help import COMMON, PARTS, USES, plan_help
from stillage.distill.methods import METHODS
from stillage.distill.settings import setting_fields
from stillage.run.config import Config
from stillage.run.flags import setting_kinds
from stillage.run.setting_texts import setting_rows

Printed = pytest.CaptureFixture[str]
SCREENS = [[verb] for verb in VERBS] + [
    ["data", "plain-text", action] for action in ("write", "read", "stats", "pack", "import")
]


def shown(words: list[str], capsys: Printed) -> str:
    assert main(words) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", SCREENS, ids=" ".join)
def test_the_help_of_a_verb_fits_one_screen(words: list[str], capsys: Printed) -> None:
    lines = shown([*words, "--help"], capsys).splitlines()
    assert lines[0].startswith("usage: stillage")
    assert len(lines) <= 45 and max(map(len, lines)) <= 100


def test_the_help_of_run_shows_what_is_typed_most_with_defaults(capsys: Printed) -> None:
    text = shown(["run", "--help"], capsys)
    flags = ("method", "teacher", "student", "data", "out", "seed", "attacks")
    for flag in (*flags, "sweep.SETTING", "dry-run", "plugin", "accept-changes"):
        assert re.search(rf"^  --{re.escape(flag)} ", text, re.MULTILINE), flag
    assert re.search(r"--student-train.batch-size +16 ", text)
    assert 25 <= text.count("\n  --") <= 35


@pytest.mark.parametrize("section", [[], ["all"]])
def test_the_help_of_an_audit_shows_no_training(section: list[str], capsys: Printed) -> None:
    text = shown(["audit", "--help", *section], capsys)
    assert not re.search(r"--\S*(train\.|distill|lora|layers|dropout|batch-size|lr-peak)", text)
    assert ("--members" in text) == (not section)
    assert "--audit.extract" in text


@pytest.mark.parametrize("verb", COMMON)
def test_a_verb_shows_only_what_it_reads(verb: str) -> None:
    known = {*setting_kinds(), *(part.path for part in PARTS)}
    common = COMMON[verb].split()
    assert set(common) <= known
    alone = {part.path for part in PARTS} if verb == "audit" else set()
    assert all(path.startswith(tuple(USES[verb].split())) for path in set(common) - alone)
    assert len(common) == len(set(common))


def test_the_sections_together_are_everything(capsys: Printed) -> None:
    whole = shown(["run", "--help", "all"], capsys)
    sections = dict.fromkeys(row.section for row in setting_rows(Config()))
    parts = "\n".join(shown(["run", "--help", section], capsys) for section in sections)
    for path in setting_kinds():
        head = f"\n  --{path.replace('_', '-')} "
        assert head in whole and head in parts, path
    assert max(map(len, whole.splitlines())) <= 100


def test_every_setting_says_what_it_is() -> None:
    assert [row.path for row in setting_rows(Config()) if len(row.text) < 10] == []


def test_quickstart_shows_the_defaults_of_its_preset(capsys: Printed) -> None:
    text = shown(["quickstart", "--help"], capsys)
    for flag, value in {
        "method": "seqkd",
        "teacher.layers": "3",
        "audit.extract": "mentor",
    }.items():
        assert re.search(rf"--{flag} +{value} ", text), flag
    assert "(default: 300)" in shown(["quickstart", "--help", "generate"], capsys)


def test_what_stands_before_help_is_shown_as_default(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("distill: {method: gkd}\nteacher_train: {epochs: 7}")
    text = plan_help("run", [str(config), "--seed", "9", "--help"])
    assert re.search(r"--seed +9 ", text) and re.search(r"--method +gkd ", text)
    assert re.search(r"--teacher-train.epochs +7 ", text)
    assert "student-fraction" in plan_help("run", ["--method", "gkd", "--help", "distill"])
    assert re.search(r"--seed +1 ", plan_help("run", ["--seed", "--help"]))  # half-typed


@pytest.mark.parametrize("verb", ["run", "audit", "data", "report"])
def test_an_unknown_section_is_three_lines_with_the_sections(verb: str, capsys: Printed) -> None:
    assert main([verb, "--help", "datta"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3 and "no section 'datta'" in said[0]
    assert said[1].startswith("sections: ") and said[1].endswith(", all")
    assert said[2] == ("Did you mean data?" if verb != "report" else said[2])


def test_help_verb_section_is_verb_help_section(capsys: Printed) -> None:
    assert shown(["help", "run", "audit"], capsys) == shown(["run", "--help", "audit"], capsys)
    write = shown(["data", "plain-text", "write", "--help"], capsys)
    assert shown(["help", "data", "plain-text", "write"], capsys) == write
    assert shown(["evaluate", "--help", "data"], capsys) == shown(["run", "--help", "data"], capsys)


def test_all_explains_the_settings_of_a_small_verb(capsys: Printed) -> None:
    text = shown(["generate", "--help", "all"], capsys)
    assert "(default: 16384) Tokens in one forward pass, padding included. Halved" in text


@pytest.mark.parametrize("name", METHODS)
def test_every_flag_of_a_method_in_the_help_can_be_typed(name: str, capsys: Printed) -> None:
    page = shown(["run", "--method", name, "--help", "distill"], capsys)
    flags = re.findall(r"--distill\.params\.([\w.-]+)", page)
    known = setting_fields(METHODS[name].params)
    assert {flag.replace("-", "_") for flag in flags} == set(known)


def test_a_number_that_has_no_default_is_a_number(capsys: Printed) -> None:
    text = shown(["corpus", "scan", "--help", "all"], capsys)
    assert re.search(r"^  --max-distance N$", text, re.MULTILINE) and "PATH" not in text
