"""Commands and flags that README and docs name within their sentences: the verbs and settings exist."""

from __future__ import annotations

import dataclasses
import importlib
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from stillage.cli import SAME_AS, VERBS
from stillage.cli.compare_runs import Comparison
from stillage.cli.corpus import ACTIONS as CORPUS_ACTIONS
from stillage.cli.generate_text import Ask
from stillage.cli.mosaic import ACTIONS as MOSAIC_ACTIONS
from stillage.cli.plain_text import ACTIONS
from stillage.face.evaluation import Matrix
from stillage.run.flags import ALIASES, SWEEP, from_flags, setting_kinds

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
)
SWITCHES = {"plugin", "debug", "dry-run", "accept-changes", "help", "version", "experiments"}
NOT_OURS = {"shutdown-timeout": "torchrun", "nproc_per_node": "torchrun"}
"""Flags of other programs."""
OTHER_PAGES = ("docs/LOG.md", "docs/explanation/chunked.md")
"""What was tried once, and the flags of a benchmark."""


def spans(page: str) -> list[str]:
    """What stands between backticks, code blocks aside."""
    text = re.sub(
        r"^```.*?^```",
        "",
        (ROOT / page).read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def known_flags() -> set[str]:
    """Every flag of every verb, in the spelling of the docs."""
    verbs = {"corpus": CORPUS_ACTIONS, "mosaic": MOSAIC_ACTIONS}
    modules = (f"stillage.cli.{verb}_{name}" for verb, names in verbs.items() for name in names)
    found = [importlib.import_module(one) for one in modules if find_spec(one)]
    actions = [one.SETTINGS for one in found if hasattr(one, "SETTINGS")]
    own = {
        field.name
        for kind in (Comparison, Matrix, Ask, *actions, *(kind for _, kind, _ in ACTIONS.values()))
        for field in dataclasses.fields(kind)
    }
    groups = {name.rsplit(".", 1)[0] for name in setting_kinds() if "." in name}
    return {
        name.replace("_", "-") for name in (*setting_kinds(), *groups, *ALIASES, *own)
    } | SWITCHES


@pytest.mark.parametrize("page", [page for page in PAGES if page not in OTHER_PAGES])
def test_verbs_and_flags_in_the_text_exist(page: str) -> None:
    known, named = known_flags(), spans(page)
    verbs = [
        span.split()[1] for span in named if span.startswith("stillage ") and len(span.split()) > 1
    ]
    assert [
        verb
        for verb in verbs
        if verb not in VERBS and verb not in SAME_AS and verb != "VERB" and verb[0] != "-"
    ] == []
    scripts = ("python ", "benchmarks/")  # with flags of their own
    flags = {
        flag
        for span in named
        if not span.startswith(scripts)
        for flag in re.findall(r"(?<![\w-])--([a-z][\w.-]*[\w])", span)
    }
    unknown = {flag for flag in flags if flag not in known and flag not in NOT_OURS}
    for flag in sorted(
        unknown
    ):  # a table's free key, a value of a grid: the parser knows; a wrong one is its error
        assert flag.startswith(
            (SWEEP, "data.", "distill.params.", "audit.params.", "mosaic.params.")
        ), f"{page}: --{flag}"
        from_flags([f"--{flag}", "x"])
