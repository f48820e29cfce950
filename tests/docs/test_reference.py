"""The reference pages are what the code says, and the glossary names what there is."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path

import pytest

from stillage.cli import VERBS
from stillage.run.flags import ALIASES, from_flags, is_table, setting_kinds

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "reference" / "glossary.md"
MOST_TERMS = 60
SWITCHES = ("--plugin", "--dry-run")
ROOMS = tuple(path.name for path in (ROOT / "src" / "stillage").iterdir() if path.is_dir())


def glossary() -> list[list[str]]:
    """The rows of the glossary: term, meaning, names."""
    lines = GLOSSARY.read_text(encoding="utf-8").splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"
    ]
    return rows[2:]


@cache
def source() -> str:
    """The whole source, as one text."""
    return "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py"))
    )


def exists(name: str) -> bool:
    """Whether a name of the glossary is a flag, a verb, an attribute of ours, or a word of code."""
    if name.startswith("--"):
        path = ALIASES.get(name[2:], name[2:]).replace("-", "_")
        words = ["x", "y"] if is_table(setting_kinds().get(path)) else ["x"]
        return name in SWITCHES or bool(from_flags([name, *words]))
    if name.startswith("stillage "):
        return name.split()[1] in VERBS
    if name.split(".")[0] in (*ROOMS, "types"):
        module, _, attribute = name.rpartition(".")
        if (ROOT / "src" / "stillage" / f"{name.replace('.', '/')}.py").is_file():
            return True
        return hasattr(importlib.import_module(f"stillage.{module}"), attribute)
    return re.search(rf"\b{name}\b", source()) is not None


def test_the_glossary_is_short_alphabetical_and_plain() -> None:
    rows = glossary()
    terms = [term for term, _, _ in rows]
    assert 40 <= len(terms) <= MOST_TERMS
    assert terms == sorted(terms, key=str.lower) and len(terms) == len(set(terms))
    for term, meaning, names in rows:
        assert meaning.endswith(".") and meaning.count(". ") == 0, term
        assert "`" in names, term


@pytest.mark.parametrize("term", [row[0] for row in glossary()])
def test_what_a_term_is_called_in_code_exists(term: str) -> None:
    (names,) = [names for other, _, names in glossary() if other == term]
    assert [name for name in re.findall(r"`([^`]+)`", names) if not exists(name)] == []


def test_a_name_that_is_gone_is_noticed() -> None:
    assert not exists("types.Requested") and not exists("no_such_metric_anywhere")
    assert not exists("stillage adit")


def test_the_generated_pages_are_current(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("reference", module)
    spec.loader.exec_module(module)
    assert module.main(["--check"]) == 0, capsys.readouterr().out


def test_a_generated_page_names_everything_there_is() -> None:
    from stillage.audit.attacks import ATTACKS, FITTED_ATTACKS, SHADOW_ATTACKS
    from stillage.distill.methods import METHODS
    from stillage.distill.settings import DIVERGENCE_PARAMS

    texts = {
        page: (ROOT / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8")
        for page in ("attacks", "methods", "settings")
    }
    for name in (*ATTACKS, *FITTED_ATTACKS, *SHADOW_ATTACKS):
        assert f"| `{name}` |" in texts["attacks"]
    for name in METHODS:
        assert f"\n## {name}\n" in texts["methods"]
    for name in DIVERGENCE_PARAMS:
        assert f"| `{name}` |" in texts["methods"]
    for path in setting_kinds():
        assert f"| `--{path.replace('_', '-')}` |" in texts["settings"]


def test_the_readme_fits_a_screen_or_two_and_leads_on() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 80
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")} - {
        "docs/LOG.md"
    }
    linked = set(re.findall(r"\]\((docs/[^)#]+\.md)", readme))
    assert linked == pages, f"not linked: {pages - linked}; gone: {linked - pages}"


@pytest.mark.parametrize(
    "page", ["README.md", *(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    gone = [one for one in targets if "://" not in one and not (path.parent / one).exists()]
    assert gone == []
