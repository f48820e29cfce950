"""The help of a verb: one screen of common flags, and the rest by section.

stillage run --help            what is set most, with defaults
stillage run --help audit      every setting of one section, explained
stillage run --help all        every setting that the verb reads
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.cli.verbs import VERBS
from stillage.errors import ConfigError, did_you_mean
from stillage.run.config import Config
from stillage.run.setting_texts import Setting, group_texts, setting_rows

if TYPE_CHECKING:
    from stillage.run.flags import Flat

WIDTH = 100
ALL = "all"
MOSAIC = "mosaic run"
RUN = "out seed jobs threads stages track"
TRAINING = "tokenizer. teacher. teacher_train. student. student_train. distill."
EVERYTHING = f"{RUN} data. {TRAINING} lm. generate. audit. mosaic. report."
GIVEN = """tokenizer.path tokenizer.revision
    teacher.path teacher.revision teacher.dtype teacher.quantize teacher.adapter
    student.path student.revision student.dtype student.quantize student.adapter"""
USES = {
    "quickstart": EVERYTHING,
    "run": EVERYTHING,
    "evaluate": EVERYTHING,
    "data": "out seed data.",
    "distill": f"{RUN} data. {TRAINING} lm.",
    "audit": f"out seed jobs threads data. audit. report. {GIVEN}",
    "report": "out report.",
    MOSAIC: f"{RUN} {TRAINING} audit. mosaic.",
}
"""Verb -> what the paths of the settings that it reads begin with."""
DATA = "data.source data.files data.columns data.template data.max_tokens"
TRAIN = """teacher.path teacher_train.epochs student.path student.layers student.lora_rank
    distill.method distill.params distill.init_epochs
    student_train.epochs student_train.batch_size student_train.lr_peak"""
AUDIT = "audit.attacks audit.reference audit.extract audit.max_records audit.strict"
COMMON = {
    "run": f"""{DATA} {TRAIN} student_train.precision {AUDIT} audit.shadows report.show_text
        out seed jobs stages""",
    "quickstart": """data.people data.public_answers data.needed_until
        teacher.layers teacher.width teacher_train.epochs
        student.layers student.width student_train.epochs
        distill.method distill.params distill.minimal generate.records
        audit.attacks audit.extract audit.shadows audit.blocks report.show_text
        out seed jobs threads""",
    "data": f"""{DATA} data.max_prompt_tokens data.shares data.group_by data.inclusion
        data.people data.public_answers data.needed_until data.train_on
        data.slice_by data.max_bad_lines data.revision out seed""",
    "distill": f"""{DATA} data.needed_until {TRAIN} distill.minimal student.prune_teacher_to
        student_train.precision student_train.keep student_train.packing
        student_train.validate_every lm.path out seed jobs threads""",
    "audit": f"""student.path teacher.path members nonmembers student.revision teacher.revision
        data.columns data.template data.max_tokens data.slice_by
        {AUDIT} audit.extract_tokens audit.exposure_records
        audit.shadows audit.blocks audit.fprs audit.level audit.batch_tokens
        report.show_text report.examples out seed jobs threads""",
    "report": "report.show_text report.examples out",
    MOSAIC: """mosaic.books mosaic.titles mosaic.hosts mosaic.experiments mosaic.params
        mosaic.copies mosaic.inject mosaic.attacks mosaic.canaries.members
        mosaic.canaries.nonmembers mosaic.canaries.length mosaic.canaries.generator
        mosaic.masked_model mosaic.writer mosaic.writer_model mosaic.pretrain_epochs
        mosaic.block_tokens mosaic.monitor_every mosaic.keep_models
        teacher.path teacher.layers teacher.width
        teacher_train.epochs teacher_train.batch_size teacher_train.lr_peak
        audit.reference out seed jobs threads""",
}
"""Verb -> the settings that its first screen shows, in this order."""
PARTS = (
    Setting(path="members", kind="FILE", default="none", text="Records that the teacher learned."),
    Setting(
        path="nonmembers",
        kind="FILE",
        default="none",
        text="Records of the same kind that nobody learned.",
    ),
)
"""The two files of an audit: short names of data.files."""
ABOUT = {
    MOSAIC: "What near-copies of a text in training data are worth, beside exact ones: canaries "
    "are written, injected and attacked, experiment by experiment (`stillage ls experiments`)."
}
"""What a verb does that is an action of another."""
SWITCHES: Mapping[str, str] = {
    "--dry-run": "print what would run, and first why it would be refused; runs nothing",
    "--accept-changes": "do finished stages again where other settings ask for it",
    "--plugin FILE.py": "add the divergences, methods, attacks, measures of a file",
    "--sweep.SETTING A B ...": "a grid: one run for each value, or each combination of values",
}
AUDIT_ALONE = "       stillage audit --student S --teacher T --members A.jsonl --nonmembers B.jsonl"
OWN = {"quickstart": "runs/quickstart", "report": "RUN", MOSAIC: "runs/mosaic-BOOKS"}
"""Where a verb writes that is given no config; the others: runs/VERB-DATA without a config."""
WRITES = {
    MOSAIC: "It writes into --out; without it into runs/CONFIG, or of flags alone into "
    "runs/mosaic-BOOKS.\nThe same command again continues there.",
    "quickstart": "It writes into runs/quickstart, or into --out.",
    "report": "It writes into the folder of the run that is given.",
}
ELSEWHERE = (
    "It writes into --out; without it into runs/CONFIG, or of flags alone into runs/{verb}-DATA.\n"
    "The same command again continues there."
)


def around_help(words: Sequence[str]) -> tuple[list[str], str]:
    """Split a command at its --help: the words before, and the section after it."""
    at = next(place for place, word in enumerate(words) if word in ("--help", "-h"))
    after = words[at + 1 : at + 2]
    section = after[0] if after and not after[0].startswith("-") else ""
    return list(words[:at]), section


def plan_help(verb: str, words: Sequence[str]) -> str:
    """Return the help of a verb that plans stages.

    Defaults are those of what stands before --help. ConfigError for a section that it has not.
    """
    before, section = around_help(words)
    values = defaults(verb, before)
    rows = [row for row in setting_rows(values) if row.path.startswith(tuple(USES[verb].split()))]
    if not section:
        return first_screen(verb, rows)
    rows += method_rows(values) if verb in ("run", "quickstart", "distill") else []
    return section_text(f"stillage {verb}", rows, section)


def defaults(verb: str, words: Sequence[str]) -> Config:
    """Return the settings that hold where no more flags are given."""
    from stillage.cli.command_line import read_settings
    from stillage.run.parse import build
    from stillage.run.sweep import swept

    usual = Config(out=Path(OWN.get(verb, f"runs/{verb}-DATA")))
    if verb != "quickstart" and not words:
        return usual
    try:
        flat: Flat = swept(read_settings("run" if verb == MOSAIC else verb, words))[0]
        return build({"out": [str(usual.out)], **flat})
    except ConfigError:  # a half-typed command: its help is wanted, not its error
        return usual


def method_rows(values: Config) -> list[Setting]:
    """Describe the method's own settings, as flags of the section distill."""
    from stillage.distill.methods import METHODS

    method = METHODS.get(values.distill.method)
    if method is None:
        return []
    own = method.params()
    given = {name: text for name, text in values.distill.params.items() if name != "preset"}
    return [
        replace(row, path=f"distill.params.{name}", default=given.get(name, row.default))
        for row in setting_rows(own)
        if (name := row.path.split(".")[-1]) != "sampling"  # is typed without its own name
    ]


def first_screen(verb: str, rows: Sequence[Setting]) -> str:
    """Lay out the common settings of a verb, one a line."""
    known = {row.path: row for row in (*rows, *PARTS)}
    source = "" if verb == "quickstart" else "[CONFIG.yaml | RUN | PRESET] "
    tables = {
        "data.files": "data.files.PART",
        "distill.params": "distill.params.NAME",
        "mosaic.params": "mosaic.params.NAME.SETTING",
    }
    lines = [
        f"usage: stillage {verb} {source}[--flag value ...]",
        *([AUDIT_ALONE] if verb == "audit" else []),
        *textwrap.wrap(ABOUT.get(verb) or VERBS[verb][1], WIDTH),
        "",
    ]
    for path in COMMON[verb].split():
        row = known[path]
        flag = f"--{tables[path]}" if path in tables else row.flag
        lines.append(one_line(flag, row.default, row.first_sentence))
    switches = {name: text for name, text in SWITCHES.items() if verb != "report" or "dry" in name}
    lines += ["", *(f"  {name:<25}{text}" for name, text in switches.items()), ""]
    if verb == "data":
        lines.append("stillage data plain-text ACTION ...: a plain-text corpus, made or packed.")
    lines += WRITES.get(verb, ELSEWHERE.format(verb=verb.split()[0])).splitlines()
    sections = ", ".join(dict.fromkeys(row.section for row in rows))
    lines += textwrap.wrap(
        f"--help SECTION explains every setting of one: {sections}; or all.", WIDTH
    )
    return "\n".join(lines)


def one_line(flag: str, default: str, text: str) -> str:
    """Lay out one setting: flag, default (cut where it is long), what it is."""
    line = f"  {flag:<30} {default:<11} {text}"
    if len(default) > 11 and len(line) > WIDTH:
        line = f"  {flag:<30} {default[:8]}... {text}"
    return "\n".join(textwrap.wrap(line, WIDTH, subsequent_indent=" " * 45))


def section_text(prog: str, rows: Sequence[Setting], section: str) -> str:
    """Explain the settings of a section, or all; ConfigError where there is none."""
    names = list(dict.fromkeys(row.section for row in rows))
    if section not in (*names, ALL):
        what = f"The help of {prog} has no section {section!r}."
        fix = did_you_mean(section, [*names, ALL], f"Write `{prog} --help SECTION`.")
        raise ConfigError(what, f"sections: {', '.join(names)}, {ALL}", fix)
    groups: dict[str, list[Setting]] = {}
    for row in rows:
        if section in (row.section, ALL):
            groups.setdefault(row.path.rpartition(".")[0], []).append(row)
    titles = {"": "The run as a whole.", "distill.params": "The method's own settings."}
    titles = group_texts() | titles
    blocks = [
        f"{group or 'run'}: {titles.get(group, '')}\n\n" + "\n".join(map(explained, entries))
        for group, entries in groups.items()
    ]
    return "\n\n".join(blocks)


def explained(row: Setting) -> str:
    """Lay out one setting with its whole text."""
    long = "--" + row.path.replace("_", "-")
    head = f"  {long} {row.kind}" + (f"  (short: {row.flag})" if row.flag != long else "")
    text = textwrap.fill(f"(default: {row.default}) {row.text}", WIDTH - 6)
    return f"{head}\n{textwrap.indent(text, ' ' * 6)}"


def settings_help(usage: str, values: object, words: Sequence[str]) -> str:
    """Return the help of a verb with few settings: its call, then each of them.

    values: a dataclass of settings; those of a group in it are shown too. `--help all` explains.
    """
    rows = setting_rows(values)
    if not rows:
        return usage
    if around_help(words)[1] == ALL:
        return "\n".join([usage, "", *map(explained, rows)])
    lines = [one_line(row.flag, row.default, row.first_sentence) for row in rows]
    return "\n".join([usage, "", *lines, "", "--help all explains each of them."])
