"""The Python that README and docs show runs as printed, from top to bottom of a page."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from types import FunctionType

import pytest

import stillage as st

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    if "```python" in path.read_text(encoding="utf-8")
)


def blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages take for granted: a finished run, models, records."""
    from stillage.data.bpe import train_bpe
    from stillage.models.load import load_model, save_model
    from stillage.run.config import ModelConfig

    folder = tmp_path_factory.mktemp("pages")
    rows = [{"prompt": f"What is {n} plus 1?", "response": f"{n + 1}"} for n in range(30)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tokenizer = train_bpe(["Below is an instruction: what is plus? It is. " * 20], 300)
    for seed, name in enumerate(("teacher", "student")):
        model = load_model(
            ModelConfig(layers=1, width=16, heads=2), vocab_size=len(tokenizer), seed=seed
        )
        save_model(model, tokenizer, folder / "path" / "to" / name)
        (folder / name).symlink_to(folder / "path" / "to" / name)
    for first, name in enumerate(("members", "nonmembers")):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows[first::2])))
    st.audit_models(
        folder / "path" / "to" / "student",
        members=rows[::2],
        nonmembers=rows[1::2],
        attacks=["loss"],
        settings={"audit.fprs": [0.3], "audit.extract_tokens": 4},
        out=folder / "runs" / "quickstart",
    )
    return folder


def given(page: str, workplace: Path) -> dict[str, object]:
    """What the README's reader has: models, records, and log-probabilities of a batch."""
    if page != "README.md":
        return {}
    import torch
    from transformers import AutoModelForCausalLM

    rows = [{"prompt": f"What is {n * n}?", "response": f"{n * 7919 % 997}"} for n in range(24)]
    logp, logq = torch.randn(2, 4, 11, requires_grad=True).log_softmax(-1)
    models = {
        name: AutoModelForCausalLM.from_pretrained(workplace / "path" / "to" / name)
        for name in ("teacher", "student")
    }
    return {**models, "private": rows[::2], "others": rows[1::2], "logp": logp, "logq": logq}


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run(
    page: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    names = given(page, workplace)
    for number, block in enumerate(blocks(page)):
        exec(compile(block, f"{page}, block {number + 1}", "exec"), names)
    assert (workplace / "report.html").stat().st_size > 10_000
    (workplace / "report.html").unlink()


def test_the_pages_are_there() -> None:
    assert {"README.md", "docs/reference/python.md"} <= set(PAGES)
    assert len(blocks("README.md")) == 1
    assert len(blocks("README.md")[0].strip().splitlines()) <= 12


def test_the_reference_names_every_argument_and_nothing_else() -> None:
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## st\.(\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(st.__all__)
    for name in st.__all__:
        value = getattr(st, name)
        if isinstance(value, FunctionType):
            rows = re.findall(r"^\| (`.*?) \|", sections[name], re.MULTILINE)
            told = re.findall(r"`(\w+)`", " ".join(rows))
            assert sorted(told) == sorted(inspect.signature(value).parameters), name
    rows = re.findall(r"^\| (`.*?) \|", sections["Run"], re.MULTILINE)
    told = set(re.findall(r"`(\w+)", " ".join(rows)))
    public = {name for name in dir(st.Run) if not name.startswith("_")} | {"folder"}
    assert told == public
