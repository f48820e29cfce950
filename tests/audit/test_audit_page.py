"""The pages on the audit are true to the code: every attack has its row, every check its line, every setting exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from stillage.audit import validity
from stillage.audit.attacks import ATTACKS, FITTED_ATTACKS, SHADOW_ATTACKS
from stillage.run.flags import from_flags, setting_kinds

DOCS = Path(__file__).parents[2] / "docs"
PAGE, HOW_TO = DOCS / "explanation/audit.md", DOCS / "how-to/blocks-and-epsilon.md"
SHIPPED = {name for group in (ATTACKS, FITTED_ATTACKS, SHADOW_ATTACKS) for name in group}


def section(title: str) -> str:
    """The text of the page between a heading and the next."""
    return PAGE.read_text(encoding="utf-8").split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> list[str]:
    """The first cell of every row of a table, its head and rule left out."""
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    return [cell for cell in rows[1:] if not set(cell) <= set("-")]


def test_every_attack_has_a_row_and_every_row_an_attack() -> None:
    named = [
        name
        for cell in first_cells(section("The attacks"))
        for name in re.findall(r"`(\w+)`", cell)
    ]
    assert len(named) == len(set(named)) and set(named) == SHIPPED


def test_every_check_has_a_row_with_its_verdict() -> None:
    text = section("May the number be printed?")
    source = "".join(
        path.read_text(encoding="utf-8")
        for path in sorted(Path(validity.__file__).parent.glob("*.py"))
    )
    made = {
        name: getattr(validity, fault)
        for name, fault in re.findall(
            r'Check\(\s*name="(\w+)",.*?fault=(SHIFT|UNUSABLE|CONTAMINATED)', source, re.DOTALL
        )
    }
    made |= dict.fromkeys(re.findall(r'_no_shift\(\s*"(\w+)"', source), validity.SHIFT)
    rows = {
        cell: line
        for cell in first_cells(text)
        for line in text.splitlines()
        if line.startswith(f"| {cell} |")
    }
    made |= {"positive_control": "never fails"}
    assert set(rows) == set(made) and len(made) == 16
    assert all(rows[name].rstrip(" |").endswith(verdict) for name, verdict in made.items())


@pytest.mark.parametrize("page", [PAGE, HOW_TO], ids=lambda page: page.stem)
def test_every_setting_and_flag_on_the_page_exists(page: Path) -> None:
    text, known = page.read_text(encoding="utf-8"), setting_kinds()
    named = set(re.findall(r"`((?:audit|data|distill)\.[a-z_.]+)`", text))
    assert named and named <= set(known)
    lines = text.replace("\\\n", " ").splitlines()
    commands = [line for line in lines if line.startswith("stillage ")] + re.findall(
        r"`(--[^`]+)`", text
    )
    for command in commands:
        words = [word for word in shlex.split(command) if word != "--accept-changes"]
        flags = words[
            next((place for place, word in enumerate(words) if word.startswith("--")), len(words)) :
        ]
        assert set(from_flags(flags)) <= set(known)


def test_links_lead_somewhere() -> None:
    for page in (PAGE, HOW_TO):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"
