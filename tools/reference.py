"""Write the reference pages that can be read off the code, or check that they are current.

python tools/reference.py            write docs/reference/{methods,attacks,settings,tables}.md
python tools/reference.py --check    exit with 1 where a page differs from the code
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import corpus_tables
import mosaic_tables
import tables as run_tables

from stillage.audit.attacks import ATTACKS, FITTED_ATTACKS, SHADOW_ATTACKS
from stillage.audit.blind import BLIND
from stillage.cli import VERBS
from stillage.cli.corpus import ACTIONS as CORPUS_ACTIONS
from stillage.cli.ls import list_attacks
from stillage.cli.mosaic import ACTIONS as MOSAIC_ACTIONS
from stillage.distill.methods import METHODS
from stillage.distill.settings import DIVERGENCE_PARAMS
from stillage.functional.divergence import DIVERGENCES
from stillage.mosaic.experiments import EXPERIMENTS
from stillage.run.config import Config
from stillage.run.flags import ALIASES
from stillage.run.setting_texts import Setting, group_texts, setting_rows

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
NOTE = "Written by `tools/reference.py` from the code; change the code, then run it again."


def docstring_head(thing: object) -> str:
    """Return the first line of a docstring."""
    return str(inspect.getdoc(thing)).splitlines()[0]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines
    )


def settings_table(rows: Iterable[Setting]) -> str:
    """Lay out settings: flag, what is typed, default, text."""
    return table(
        ("flag", "value", "default", "what it is"),
        [
            (
                f"`--{row.path.replace('_', '-')}`",
                row.kind,
                "" if row.default == "none" else f"`{row.default}`",
                row.text,
            )
            for row in rows
        ],
    )


def page(title: str, *parts: str) -> str:
    """Join the parts of a page."""
    return "\n\n".join([f"# {title}", NOTE, *parts]) + "\n"


def methods() -> str:
    """Describe every distillation method and divergence."""
    parts = [
        "A method is chosen by `--method NAME`, its own settings by `--distill.params.NAME VALUE`; "
        "`--distill.params.preset paper` starts from the published ones, `as_released` from those of "
        "the released code where that differs. Any method works with LoRA, packing, a plain-text "
        "corpus beside it (`--lm.path`) and several processes.",
    ]
    for method in METHODS.values():
        module = inspect.getmodule(method.terms)
        presets = f" Presets: {', '.join(f'`{name}`' for name in method.presets)}."
        about = (
            f"{docstring_head(module)} Source: {method.paper}.{presets if method.presets else ''}"
        )
        rows = setting_rows(method.params(), "distill.params.")
        parts += [f"## {method.name}", about, settings_table(rows) if rows else "No settings."]
    rows = [
        (f"`{name}`", docstring_head(DIVERGENCES[name]), " ".join(f"`{one}`" for one in known))
        for name, known in DIVERGENCE_PARAMS.items()
    ]
    parts += [
        "## Divergences",
        "p is the teacher, q the student; `--distill.params.divergence NAME`.",
    ]
    return page(
        "Methods and divergences", *parts, table(("divergence", "what it is", "settings"), rows)
    )


def attacks() -> str:
    """Describe every membership attack."""
    scores = {
        name: docstring_head(entry.score)
        for known in (ATTACKS, FITTED_ATTACKS, SHADOW_ATTACKS)
        for name, entry in known.items()
    }
    rows = [(f"`{name}`", scores[name], needs, paper) for name, needs, paper in list_attacks()[1:]]
    usual = ", ".join(f"`{name}`" for name in Config().audit.attacks)
    return page(
        "Membership attacks",
        "An attack gives each record a score: **higher = more likely a member**. "
        f"Run by default: {usual}; `--audit.attacks NAME ...` chooses others, and `--audit.shadows 8` "
        "adds those that need shadow pipelines. How to read the result, what each costs and its "
        "formula: [the audit](../explanation/audit.md).",
        table(("attack", "score", "needs", "source"), rows),
        f"Blind attackers ({', '.join(f'`{name}`' for name in BLIND)}) read the records and no model, "
        "and are always run: where they beat chance, the split is at fault, not the model "
        "(Das et al. 2024, arXiv:2406.16201).",
    )


def settings() -> str:
    """Describe every verb and every setting of a run."""
    verbs = table(("verb", "what it does"), [(f"`{v}`", words) for v, (_, words) in VERBS.items()])
    short = table(
        ("short", "the same as"),
        [
            (f"`--{a.replace('_', '-')}`", f"`--{path.replace('_', '-')}`")
            for a, path in ALIASES.items()
        ],
    )
    sections: dict[str, list[Setting]] = {}
    for row in setting_rows(Config()):
        sections.setdefault(row.path.rpartition(".")[0], []).append(row)
    texts = group_texts()
    groups = [
        f"## {name or 'The run as a whole'}\n\n{texts.get(name, '')}\n\n{settings_table(rows)}"
        for name, rows in sections.items()
    ]
    return page(
        "Verbs, flags and settings",
        "A setting has one name in a YAML config (`data: {max_tokens: 256}`), on the command line "
        "(`--data.max-tokens 256`) and in Python. `stillage VERB --help` shows the common ones, "
        "`--help SECTION` and `--help all` the rest.",
        verbs,
        "## Short names",
        short,
        *groups,
        *actions("corpus", CORPUS_ACTIONS),
        *actions("mosaic", MOSAIC_ACTIONS),
        *experiments(),
    )


def experiments() -> list[str]:
    """Describe the settings of every experiment of a mosaic run."""
    parts = [
        "## Experiments of stillage mosaic run",
        'A list is typed in one word, `2,4` or `"2 4"`; `stillage ls experiments NAME` shows the same.',
    ]
    for one in EXPERIMENTS.values():
        rows = setting_rows(one.params(), f"mosaic.params.{one.name}.")
        about = settings_table(rows) if rows else "No settings."
        parts.append(f"### {one.name}\n\n{one.title}.\n\n{about}")
    return parts


def actions(verb: str, known: Mapping[str, str]) -> list[str]:
    """Describe the actions of a verb: how each is called, and its flags."""
    parts = [
        f"## Actions of stillage {verb}",
        f"`stillage {verb} ACTION --help` shows these; they stand in no config.",
    ]
    for action, text in known.items():
        module = importlib.import_module(f"stillage.cli.{verb}_{action}")
        if not hasattr(module, "SETTINGS"):  # an action of a config, such as mosaic run
            taken, _, about = text.partition(": ")
            call = f"`stillage {verb} {action} {taken}`"
            parts.append(
                f"### {verb} {action}\n\n{call}: {about}. Its settings are those of a run."
            )
            continue
        call = f"`stillage {verb} {action} {' '.join(module.NAMES)} ...`"
        about, rows = text.partition(": ")[2], settings_table(setting_rows(module.SETTINGS()))
        parts.append(f"### {verb} {action}\n\n{call}: {about}.\n\n{rows}")
    return parts


def tables() -> str:
    """Describe every table of a run, column by column."""
    head = ("column", "type", "what it is")
    parts = [
        "Tables are Parquet: `pandas.read_parquet`, or `stillage.Run(folder)`. `pandas.read_parquet` of a "
        "run's tables is enough to redraw any figure of its report.",
        "## results.parquet",
        "A row per number, in `evaluate`, `audit`, `blocks`, `signal`, `exposure`, `dp` and `report`, and in "
        "`compare.parquet`. A column that does not apply is empty (text), NaN (float) or 0 (int). A sweep adds "
        "a column per setting that it varies. Rewording a `note` changes nothing.",
        table(head, run_tables.result_rows()),
    ]
    for name, about in run_tables.ROWS.items():
        parts += [f"## {name}", about, table(head, run_tables.table_rows(name))]
    rows = [(f"`{key}`", text) for key, text in run_tables.VALIDITY.items()]
    parts += ["## audit/validity.json", table(("key", "what it is"), rows)]
    parts += [
        "## Tables of stillage mosaic",
        "Of a mosaic run. CONDITION is the folder of one training, e.g. `exact_03` or `replace_10_n10`; KIND "
        "names the near-copies.",
    ]
    for name, about in mosaic_tables.ROWS.items():
        parts += [f"### {name}", about, table(head, mosaic_tables.mosaic_rows(name))]
    parts += [
        "## Tables of stillage corpus",
        "SHARDS, SCAN, KEPT and OVERLAP are the folders that an action was given for what it writes.",
    ]
    for name, about in corpus_tables.ROWS.items():
        parts += [f"### {name}", about, table(head, corpus_tables.corpus_rows(name))]
    return page("Tables", *parts)


PAGES: Mapping[str, Callable[[], str]] = {
    "methods.md": methods,
    "attacks.md": attacks,
    "settings.md": settings,
    "tables.md": tables,
}


def main(words: Sequence[str]) -> int:
    """Write the pages, or name those that differ."""
    stale = [
        name
        for name, write in PAGES.items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != write()
    ]
    if "--check" in words:
        for name in stale:
            print(f"docs/reference/{name} differs from the code: run python tools/reference.py")
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name in stale:
        (FOLDER / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"written: docs/reference/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
