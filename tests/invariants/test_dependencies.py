"""What is imported is declared, what is declared is used, and other libraries are used as they document it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillage.distill.track import PACKAGES as TRACKERS
from stillage.run.environment import PACKAGES

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CALLED = {
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "PIL": "pillow",
}  # module -> package, where the names differ
OTHERS = {  # extras that a library of ours imports
    "bitsandbytes": "transformers quantises with it",
    "tensorboard": "torch.utils.tensorboard writes with it",
}
OPTIONAL = {
    "gguf",
    "pandas",
    "rensa",
}  # imported where it is needed only, with a three-line error where it is missing
VERSIONS = "versions.py"  # the one place for what no documentation promises
OUR_FUNCTIONS = {
    "divergence.py",
    "check.py",
    "python_names.py",
}  # they look at the parameters of divergences, ours or a user's, and of our public functions
SOURCES = sorted((ROOT / "src").rglob("*.py"))


def name(requirement: str) -> str:
    """The package of a requirement, in the form in which registries compare names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]).lower()


DECLARED = {name(entry) for entry in PROJECT["dependencies"]}
EXTRAS = {
    extra: {name(entry) for entry in entries}
    for extra, entries in PROJECT["optional-dependencies"].items()
}


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def packages(folder: str) -> dict[str, str]:
    """Other people's packages that the files of a folder import, and a file that does."""
    helpers = {file.stem for file in (ROOT / "tests").rglob("*.py")} if folder == "tests" else set()
    own = {"stillage"} | helpers
    found = {}
    for file in (ROOT / folder).rglob("*.py"):
        for module in imported(ast.parse(file.read_text(encoding="utf-8"))):
            top = module.partition(".")[0]
            if top not in own | sys.stdlib_module_names:
                found[name(CALLED.get(top, top))] = str(file.relative_to(ROOT))
    return found


def test_what_is_imported_is_declared() -> None:
    used = packages("src")
    assert "torch" in used and "scikit-learn" in used
    assert not {
        package: file for package, file in used.items() if package not in DECLARED | OPTIONAL
    }
    tests = packages("tests")
    assert not {
        package: file for package, file in tests.items() if package not in DECLARED | EXTRAS["dev"]
    }


def test_what_is_declared_is_used() -> None:
    used = set(packages("src"))
    assert not DECLARED - used
    extras = set().union(*(EXTRAS[extra] for extra in EXTRAS if extra != "dev"))
    assert not extras - used - set(TRACKERS.values()) - set(OTHERS)
    assert set(OTHERS) <= extras
    assert {name(package) for package in PACKAGES} <= DECLARED | {"stillage"}


def test_every_dependency_has_a_pinned_version_above_its_lower_bound() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {name(line): line.partition("==")[2] for line in lines if "==" in line}
    bounds = {
        name(entry): entry.partition(">=")[2]
        for entry in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    }

    def parts(version: str) -> list[int]:
        return [int(part) for part in version.split(".")]

    assert not [package for package in bounds if package not in pinned]
    assert not [
        package for package, bound in bounds.items() if parts(pinned[package]) < parts(bound)
    ]


def test_the_extras_that_texts_name_exist() -> None:
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"), *SOURCES]
    texts += (ROOT / "recipes").rglob("*.md")
    found = {
        (extra.strip(), file.name)
        for file in texts
        for extras in re.findall(r"(?:stillage|\.)\[([\w, -]+)\]", file.read_text(encoding="utf-8"))
        for extra in extras.split(",")
    }
    assert ("quantize", "load.py") in found
    assert not {(extra, file) for extra, file in found if extra not in EXTRAS}


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT / "src")))
def test_other_libraries_are_used_as_documented(file: Path) -> None:
    """Private names, inner modules and the names of arguments change from one version to the next."""
    if file.name == VERSIONS:
        return
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    inner = [
        module for module in imported(tree) if re.match(r"(transformers|peft)\.(?!utils$)", module)
    ]
    assert not inner, f"import it in {VERSIONS}"
    private = {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and re.match(r"_[^_]", node.attr)
        and node.attr != "_replace"
    }
    assert private <= {"os._exit"}, f"use it in {VERSIONS}"
    assert file.name in OUR_FUNCTIONS or "inspect.signature" not in text, "find out by doing it"
    assert not re.search(r"past_key_values|cache_params", text), (
        "take the name from the model's output"
    )
