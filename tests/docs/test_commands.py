"""Every `stillage` command of README and docs: its flags, its plan, and (the short ones; `-m slow`: all) what it does.

A page is read as a new user reads it, from top to bottom, in a folder that holds what it takes for granted (GIVEN), a tiny
finished quickstart among it. Only sizes are added to a command (SIZES), and what stands for a value is replaced (NAMES).
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from stillage.cli import VERBS, main

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
)
SIZES = (
    "--jobs 1 --threads 1 --data.people 24 --tokenizer.vocab-size 300 --teacher.layers 1 "
    "--teacher.width 32 --teacher.heads 2 --student.layers 1 --student.width 32 "
    "--student.heads 2 --teacher-train.epochs 1 --student-train.epochs 1 --generate.records 4 "
    "--generate.max-new-tokens 4 --audit.extract-tokens 4 --audit.fprs 0.3"
).split()
"""Added to what would train a model or audit one at full size, where the page has no small config of its own."""
TRAINING = ("run", "quickstart", "distill", "audit")
PLANNED = ("run", "quickstart", "data", "distill", "audit", "report")
NAMES = {
    "COMMIT_OF_GPT2_XL": "a" * 40,
    "COMMIT_OF_GPT2": "b" * 40,
    "COMMIT": "c" * 40,
    "--audit.dp-guesses 100 100": "--audit.dp-guesses 5 5",
}
"""What stands for a value in a command, or for a size in it that the few records here do not allow."""
NOT_RUN = {
    "torchrun": "several processes, as tests/invariants starts them",
    "distillm/gpt2/sft_xlarge": "wants a model of the hub",
    "distillm/gpt2/init_base": "wants a model of the hub",
    "distillm/gpt2/distillm_0.1B_1.5B": "wants models that the two before have trained, or a published data set",
    "distillation_privacy/gpt2/kd": "wants a model of the hub",
    "stillage corpus ": "wants a corpus and its tokenizer; tests/recipes follow the whole chain",
    "stillage mosaic ": "trains a model for each point; tests/experiment run one of small ones",
}
"""Part of a command -> why it is not run here; what it plans is still looked at."""
REFUSED = {"stillage run distillm/gpt2/kd_base --dry-run": "--student.revision"}
"""Commands that a page shows for what they refuse -> what they say."""
GIVEN: dict[str, dict[str, str]] = {
    "README.md": {"books/one.txt": "text"},
    "docs/how-to/mosaic.md": {"books/one.txt": "text"},
    "docs/how-to/prompts-alone.md": {
        **{f"{name}.jsonl": "records" for name in ("private", "clean")},
        "questions.jsonl": "prompts",
        "config.yaml": "marked",
    },
    "docs/how-to/blocks-and-epsilon.md": {"runs/mine": "quickstart"},
    "docs/how-to/compare.md": {
        **{
            f"runs/{name}": "variant" for name in ("kd", "gkd", "minillm", "grid/method=gkd_seed=1")
        },
        "runs/grid/method=kd_seed=1": "quickstart",
        "runs/grid/sweep.json": "sweep",
        "sweep.yaml": "config",
    },
    "docs/how-to/reproduce.md": {
        **{
            f"runs/distillm/gpt2/{name}/student/model": "student"
            for name in ("init_base", "distillm_0.1B_1.5B")
        },
        "runs/distillm/gpt2/sft_xlarge/student/model": "teacher",
        "openwebtext.safetensors": "text",
    },
}
"""Page -> what it takes for granted beside EVERYWHERE, and what that is."""
EVERYWHERE = {
    "runs/quickstart": "quickstart",
    "T": "teacher",
    "S": "student",
    "teacher": "teacher",
    "student": "student",
    "path/to/teacher": "teacher",
    "experiment.yaml": "config",
    **{
        f"{name}.jsonl": "records"
        for name in (
            "answers",
            "a",
            "b",
            "c",
            "d",
            "e",
            "test",
            "members",
            "nonmembers",
            "train",
            "dev",
            "raw",
        )
    },
}
CONFIG = "data: {template: raw, max_tokens: 96}\ntokenizer: {vocab_size: 300}\nteacher_train: {epochs: 1}\n"
MARKED = CONFIG + "distill: {method: seqkd, params: {decoding: greedy, max_new_tokens: 8}}\n"
SWEEP = json.dumps(
    {
        "points": [
            {
                "name": f"method={name}_seed=1",
                "values": {"distill.method": name, "seed": "1"},
                "run": name,
            }
            for name in ("kd", "gkd")
        ]
    }
)
SETUP = ("cat >", "mkdir ", "for ", "echo ", "head ")
"""What a line of a script begins with, if not with a command of ours."""


@dataclass(frozen=True)
class Step:
    """A command of ours, or lines for the shell, as a page has them."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        """A command's arguments, behind `stillage`; empty for lines for the shell."""
        _, found, after = self.text.partition("stillage ")
        return (
            shlex.split(after, comments=True)
            if found and self.text.startswith(("stillage ", "torchrun "))
            else []
        )

    @property
    def reason(self) -> str:
        """Why it is not run; empty where it is."""
        return next((reason for part, reason in NOT_RUN.items() if part in self.text), "")


def steps(page: str) -> Iterator[Step]:
    """The scripts in a page's code blocks, in order: every command of ours alone, what is between them together."""
    text = (ROOT / page).read_text(encoding="utf-8")
    variables: dict[str, str] = {}
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language not in ("", "sh", "bash", "console"):
            continue
        lines = block.replace("\\\n", " ").splitlines()
        if not any(line.startswith(("stillage ", "torchrun ", *SETUP)) for line in lines):
            continue
        shell: list[str] = []
        for line in lines:
            assigned = re.fullmatch(r'([A-Z]+)="(.*)"', line)
            if assigned:
                variables[assigned[1]] = assigned[2]
            elif line.startswith(("stillage ", "torchrun ")):
                if shell:
                    yield Step(page, "\n".join(shell))
                shell = []
                for name, value in {
                    **{f"${name}": value for name, value in variables.items()},
                    **NAMES,
                }.items():
                    line = line.replace(name, value)
                yield Step(page, re.sub(r"\s+#.*", "", line))
            elif line and not line.startswith(("make ", "pip ")):
                shell.append(line)
        if shell:
            yield Step(page, "\n".join(shell))


STEPS = [step for page in PAGES for step in steps(page)]
COMMANDS = [step for step in STEPS if step.words]
IDS = [f"{Path(step.page).stem}: {' '.join(step.text.split())[:90]}" for step in COMMANDS]


def rows(number: int, count: int) -> str:
    """A file of questions and answers, other ones for every number."""
    return "\n".join(
        json.dumps(
            {
                "instruction": f"What is {number} and {n * 37 % 1000}?",
                "output": f"It is {n * 7919 % 997}; of {number}.",
            }
        )
        for n in range(count)
    )


def prompts(count: int) -> str:
    """A file of questions, one of them answered."""
    lines = [
        {"instruction": f"What is 7 times {n}?", "output": f"It is {7 * n}; of 7." if not n else ""}
        for n in range(count)
    ]
    return "\n".join(map(json.dumps, lines))


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart, finished, of the smallest size."""
    out = tmp_path_factory.mktemp("finished") / "quickstart"
    assert main(["quickstart", *SIZES, "--out", str(out)]) == 0
    return out


def furnish(folder: Path, page: str, quickstart: Path, *, promised: bool) -> None:
    """Put what the page takes for granted into the folder; promised: also the models that its earlier commands make."""
    given = {**EVERYWHERE, **GIVEN.get(page, {})}
    if any(step.page == page and step.words == ["quickstart"] for step in STEPS):
        del given["runs/quickstart"]  # the page makes it
    if promised:
        words = [word for step in COMMANDS if step.page == page for word in step.words]
        made = [word for word in words if re.fullmatch(r"runs/\S+/(student|teacher)/model", word)]
        given |= {word: word.split("/")[-2] for word in made if word not in given}
        adapters = {after for flag, after in pairwise(words) if flag.endswith(".adapter")}
        given |= {word: "adapter" for word in made if word in adapters}
        given |= {word: "text" for word in words if word.endswith((".txt", ".safetensors"))}
    for number, (name, kind) in enumerate(given.items()):
        path = folder / name
        if path.exists() or any(parent.is_symlink() for parent in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind in ("quickstart", "variant"):
            shutil.copytree(quickstart, path)
            with (path / "config.yaml").open("a") as file:
                file.write(
                    f"variant: {name}\n" * (kind == "variant")
                )  # a setting in which these runs differ
        elif kind in ("teacher", "student"):
            shutil.copytree(quickstart / kind / "model", path)
        elif kind == "adapter":
            shutil.copytree(quickstart / "student" / "model", path)
            (path / "config.json").unlink()
            (path / "model.safetensors").rename(path / "adapter_model.safetensors")
            base = json.dumps({"base_model_name_or_path": str(quickstart / "student" / "model")})
            (path / "adapter_config.json").write_text(base)
        else:
            path.write_text(
                {
                    "config": CONFIG,
                    "marked": MARKED,
                    "prompts": prompts(80),
                    "text": "text",
                    "records": rows(number, 80),
                    "sweep": SWEEP,
                }[kind]
            )


def sized(words: list[str]) -> list[str]:
    """The command with SIZES, where it asks for a full-sized training or audit."""
    config = words[1] if len(words) > 1 and not words[1].startswith("-") else ""
    has_sizes = Path(config).is_dir() or (
        Path(config).is_file() and "teacher:" in Path(config).read_text()
    )
    if words[:2] == ["mosaic", "run"] and "--teacher" in words:  # ours has a context of 96
        return [*words, "--mosaic.block-tokens", "64", "--mosaic.canaries.length", "90"]
    given = set(words)
    sizes = [
        flag
        for name, value in zip(SIZES[::2], SIZES[1::2], strict=True)
        if name not in given
        for flag in (name, value)
    ]
    return words if words[0] not in TRAINING or (config and has_sizes) else [*words, *sizes]


def test_every_page_is_read_and_no_exception_is_out_of_date() -> None:
    assert {"README.md", "docs/how-to/lora.md", "docs/how-to/reproduce.md"} <= {
        step.page for step in COMMANDS
    }
    texts = [step.text for step in COMMANDS]
    assert [part for part in NOT_RUN if not any(part in text for text in texts)] == []
    assert [text for text in REFUSED if text not in texts] == []
    assert set(GIVEN) <= {step.page for step in COMMANDS}
    whole = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    assert [
        name for name in (*EVERYWHERE, *NAMES) if name not in whole and name != "runs/quickstart"
    ] == []


@pytest.mark.parametrize("step", COMMANDS, ids=IDS)
def test_a_command_is_understood_and_can_be_planned(
    step: Step,
    quickstart: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from stillage.cli import evaluate, generate_text, plain_text
    from stillage.cli.command_line import plugin_files, read_settings
    from stillage.cli.compare_runs import Comparison
    from stillage.cli.paths import split_at_flags
    from stillage.face.config_source import own_folder
    from stillage.face.evaluation import Matrix
    from stillage.run.parse import typed

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = step.words
    assert words[0] in VERBS or words[0] == "distil"
    files = [str(ROOT / word) if word.startswith("docs/") else word for word in words]
    furnish(tmp_path, step.page, quickstart, promised=True)
    monkeypatch.chdir(tmp_path)
    for before in STEPS[: STEPS.index(step)]:
        if before.page == step.page and not before.words:
            subprocess.run(["bash", "-euc", before.text], check=True)
    if words[:2] == ["data", "plain-text"]:
        typed(plain_text.ACTIONS[words[2]][1], split_at_flags(words)[1], "stillage")
    elif words[:2] == ["mosaic", "run"]:
        code = main([*(word for word in sized(words) if word != "--dry-run"), "--dry-run"])
        assert code == 0, capsys.readouterr().err
    elif words[0] in ("corpus", "mosaic"):
        action = importlib.import_module(f"stillage.cli.{words[0]}_{words[1]}")
        typed(action.SETTINGS, split_at_flags(words)[1], "stillage")
    elif words[0] == "generate" or (words[0] == "evaluate" and evaluate.names_model(words[1:])):
        assert Path(words[1]).is_dir()
        typed(generate_text.Ask if words[0] == "generate" else Matrix, words[2:], "stillage")
    elif words[0] == "compare":
        typed(Comparison, split_at_flags(words)[1], "stillage")
    elif words[0] in PLANNED or words[0] == "evaluate":
        changed = [word for word in files if word not in ("--dry-run", "--accept-changes")]
        is_sweep = len(words) > 1 and (Path(words[1]) / "sweep.json").is_file()
        if step.text not in REFUSED and not is_sweep:
            flat = read_settings(words[0], plugin_files(changed[1:])[1])
            out = Path(flat["out"][0]) if "out" in flat else own_folder(words[0], changed[1:], flat)
            if not (out / "config.yaml").exists():
                shutil.rmtree(out, ignore_errors=True)  # what the command itself will make
        code = main([*changed, "--dry-run"])
        said = capsys.readouterr().err
        assert code == (2 if step.text in REFUSED else 0), said
        assert REFUSED.get(step.text, "") in said
    else:
        assert main(files) == 0


def run_step(step: Step, capsys: pytest.CaptureFixture[str]) -> None:
    """Do what a step says, in the working folder."""
    if not step.words:
        subprocess.run(["bash", "-euc", step.text], check=True)
        return
    words = [str(ROOT / word) if word.startswith("docs/") else word for word in step.words]
    code = main(sized(words))
    said = capsys.readouterr().err
    assert code == (2 if step.text in REFUSED else 0), f"{step.text}\n{said}"
    assert REFUSED.get(step.text, "") in said


SHORT = ("ls", "doctor", "generate", "data", "audit")
"""Verbs that take seconds on models that there are."""


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/audit-your-own-models.md"])
def test_what_is_quick_is_done(
    page: str,
    quickstart: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    furnish(tmp_path, page, quickstart, promised=True)
    monkeypatch.chdir(tmp_path)
    done = [
        step
        for step in COMMANDS
        if step.page == page and step.words[0] in SHORT and not step.reason
    ]
    for step in done:
        run_step(step, capsys)
    assert done


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({step.page for step in COMMANDS}))
def test_a_page_can_be_followed_from_top_to_bottom(
    page: str,
    quickstart: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    furnish(tmp_path, page, quickstart, promised=False)
    monkeypatch.chdir(tmp_path)
    for step in STEPS:
        if step.page == page and not step.reason:
            run_step(step, capsys)
