"""`import stillage as st`: light, typed, and the same whatever else has been imported."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

import stillage as st

if TYPE_CHECKING:
    from conftest import Rows, Tiny  # pyright: ignore[reportMissingImports]

HEAVY = ("torch", "transformers", "pandas", "pyarrow", "numpy", "matplotlib", "yaml")


def test_the_import_loads_nothing_heavy_and_is_quick() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import stillage as st; dir(st)\n"
        f"print(time.perf_counter() - start, [m for m in {HEAVY} if m in sys.modules])"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    said = [run.stdout.split(maxsplit=1) for run in runs]
    assert {loaded.strip() for _, loaded in said} == {"[]"}
    assert min(float(seconds) for seconds, _ in said) < 0.1


def test_what_is_typed_is_what_there_is() -> None:
    tree = ast.parse(Path(str(st.__file__)).read_text(encoding="utf-8"))
    typed = {
        alias.name: node.module.removeprefix("stillage.face").lstrip(".") or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stillage.face")
        for alias in node.names
        if node.module
    }
    assert typed == st.HOMES
    assert sorted([*typed, *st.ROOMS]) == sorted(st.__all__) and set(st.__all__) <= set(dir(st))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="audit_model'"):
        getattr(st, "audit_model")  # noqa: B009 - pyright knows that it is not there


def import_everything() -> list[str]:
    """Import every module of the package; their names."""
    found = [
        module.name
        for module in pkgutil.walk_packages(st.__path__, "stillage.")
        if not module.name.endswith("__main__")
    ]
    for name in found:
        importlib.import_module(name)
    return found


def test_every_function_works_twice_after_every_module_was_imported(
    tiny: Tiny, rows: Callable[[int, int], Rows], quick: dict[str, object], tmp_path: Path
) -> None:
    names = import_everything()
    assert len(names) > 100
    rooms = {name.split(".")[1] for name in names}
    assert rooms & set(st.__all__) == set(st.ROOMS)
    student, teacher = (tiny.student, tiny.tokenizer), tiny.folder("teacher")
    small = {"data.template": "raw", "threads": 1}
    for _ in range(2):
        assert isinstance(st.losses, ModuleType) and "fkl" in st.losses.DIVERGENCES
        assert st.corpus.find_near(["a b"], ["b"], max_distance=0)["document"].to_pylist() == [0]
        run = st.audit_models(
            student, members=rows(0, 20), nonmembers=rows(20, 40), attacks=["loss"], settings=quick
        )
        assert list(run.table()["attack"]) == ["loss"]
        made = st.distill_student(
            teacher=teacher,
            student=student,
            data=rows(0, 8),
            epochs=1,
            settings=small,
            out=tmp_path / "made",
        )
        assert list(made.metrics()["step"]) == [1]
        assert st.Run(tmp_path / "made").folder == made.folder
        (text,) = st.generate_texts(student, "question", max_new_tokens=2, template="raw")
        assert isinstance(text, str)
        found = st.evaluate_model(student, rows(0, 3), max_new_tokens=2, template="raw")
        assert list(found.table()["decoding"]) == ["greedy"]
        again = st.run_experiment(tmp_path / "made", until="student")
        assert again.model_folder() == made.model_folder()


def test_the_public_names_need_no_environment(tmp_path: Path) -> None:
    """A fresh process, elsewhere, with nothing but the package."""
    code = (
        "import stillage as st; print(st.losses.forward_kl.__name__, st.Run.__name__, "
        "st.corpus.find_near.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.stdout.split() == ["forward_kl", "Run", "find_near"]
