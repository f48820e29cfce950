"""`stillage ls methods|attacks|experiments|...`: list what there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import get_type_hints

from stillage.cli.paths import aligned_lines
from stillage.errors import UserError, did_you_mean

NEEDS: Mapping[str, str] = {
    "reference": "reference model",
    "outside": "a model given as audit.reference",
    "counterfactual": "counterfactual model",
    "initial": "initial weights",
    "teacher_initial": "the teacher's initial weights",
    "self_prompted": "a model trained on its texts",
    "needed": "data.needed_until",
    "neighbours": "masked model",
    "nonmember_prefix": "known nonmembers",
    "member_prefix": "known members",
    "frequency": "public records",
}
"""What an attack needs besides the target, by whom it asks or what about."""
KINDS: Mapping[str, str] = {"nonmembers": "nonmembers", "both": "members and nonmembers"}

HOW_TYPED = (
    'Typed as --mosaic.params.NAME.SETTING VALUE, lists as 2,4 or "2 4"; '
    "`stillage ls experiments NAME` says what each setting is."
)


def list_methods() -> list[tuple[str, ...]]:
    """List name, paper, settings with defaults."""
    from stillage.distill.methods import METHODS
    from stillage.distill.settings import setting_fields

    rows = [("method", "paper", "settings")]
    for method in METHODS.values():
        fields = setting_fields(method.params).items()
        settings = " ".join(f"{name}={default}" for name, (_, default) in fields)
        rows.append((method.name, method.paper, settings or "-"))
    return rows


def list_attacks() -> list[tuple[str, ...]]:
    """List name, what the attacker needs, paper."""
    from stillage.audit.attacks import ATTACKS, FITTED_ATTACKS, SHADOW_ATTACKS

    rows = [("attack", "needs", "paper")]
    for attack in ATTACKS.values():
        asked = (NEEDS.get(one.party) or NEEDS.get(one.transform) for one in attack.queries)
        needs = dict.fromkeys(filter(None, asked))
        rows.append((attack.name, " + ".join([attack.access, *needs]), attack.paper))
    for one in FITTED_ATTACKS.values():
        rows.append((one.name, f"logprob + known {KINDS[one.learns]}", one.paper))
    for one in SHADOW_ATTACKS.values():
        rows.append((one.name, f"logprob + {2 * one.least} shadows", one.paper))
    return rows


def list_divergences() -> list[tuple[str, ...]]:
    """List name and settings."""
    from stillage.distill.settings import DIVERGENCE_PARAMS

    rows = ((name, " ".join(known) or "-") for name, known in DIVERGENCE_PARAMS.items())
    return [("divergence", "settings"), *rows]


def list_presets(*, grouped: bool = False) -> list[tuple[str, ...]]:
    """List our presets with their first lines, then the published training scripts.

    grouped: only count those of each release and family.
    """
    from stillage.face.config_source import PRESETS
    from stillage.presets.published import describe_script, published

    files = sorted(PRESETS.glob("*.yaml"))
    heads = [file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ") for file in files]
    scripts = published().values()
    rows = ((script.preset, describe_script(script)) for script in scripts)
    if grouped:
        counts = Counter(f"{script.source}/{script.family}/..." for script in scripts)
        rows = ((group, f"{count} published scripts") for group, count in counts.items())
    own = zip((file.stem for file in files), heads, strict=True)
    return [("preset", "what it is"), *own, *rows]


def list_experiments() -> list[tuple[str, ...]]:
    """List the experiments of `stillage mosaic run`.

    Name, question, settings with defaults.
    """
    from stillage.mosaic.experiments import EXPERIMENTS

    rows = [("experiment", "what it shows", "settings")]
    for one in EXPERIMENTS.values():
        settings = (f"{entry.name}={shown_default(entry.default)}" for entry in fields(one.params))
        rows.append((one.name, one.title, " ".join(settings) or "-"))
    return rows


def experiment_settings(name: str) -> list[tuple[str, ...]]:
    """List the settings of an experiment: how each is typed, its default, what it is."""
    from stillage.mosaic.experiments import EXPERIMENTS
    from stillage.run.own_settings import written_form
    from stillage.run.setting_texts import field_texts

    if name not in EXPERIMENTS:
        what, known = f"There is no experiment {name!r}.", f"known: {', '.join(EXPERIMENTS)}"
        raise UserError(what, known, did_you_mean(name, EXPERIMENTS, "Choose one of these."))
    params = EXPERIMENTS[name].params
    texts, kinds = field_texts(params), get_type_hints(params)
    prefix = f"--mosaic.params.{name}."
    rows = [
        (
            f"{prefix}{entry.name.replace('_', '-')} {written_form(kinds[entry.name])}",
            shown_default(entry.default) or "none",
            texts[entry.name],
        )
        for entry in fields(params)
    ]
    return [(f"{name}: {EXPERIMENTS[name].title}", "default", "what it is"), *rows]


def shown_default(value: object) -> str:
    """Write a default as it would be typed, lists with commas."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def preset_yaml(name: str) -> str:
    """Write a preset as a config file."""
    from stillage.face.config_source import config_file
    from stillage.presets.published import published
    from stillage.presets.script_settings import script_yaml

    script = published().get(name)
    return config_file(name).read_text(encoding="utf-8") if script is None else script_yaml(script)


LISTS: dict[str, Callable[[], list[tuple[str, ...]]]] = {
    "methods": list_methods,
    "attacks": list_attacks,
    "divergences": list_divergences,
    "experiments": list_experiments,
    "presets": list_presets,
}


def help_text(verb: str, words: list[str]) -> str:
    """Return how the verb is called."""
    return f"usage: stillage {verb} [{'|'.join(LISTS)} [NAME]] [--plugin FILE.py]"


def main(verb: str, words: list[str]) -> int:
    """Print one list, or all without an argument; `presets NAME` as a config.

    `experiments NAME` says what the settings of an experiment mean.
    With --plugin FILE.py, what the file adds is listed too.
    """
    from stillage.cli.command_line import plugin_files
    from stillage.plugins.plugin import plugged

    files, words = plugin_files(words)
    with plugged(files):
        show(words)
    return 0


def show(words: list[str]) -> None:
    """Print what is asked for."""
    names = [word for word in words if not word.startswith("-")]
    if names[:1] == ["presets"] and len(names) == 2 and names[1] not in LISTS:
        print(preset_yaml(names[1]).rstrip())
        return
    if names[:1] == ["experiments"] and len(names) == 2 and names[1] not in LISTS:
        print("\n".join(aligned_lines(experiment_settings(names[1]))))
        return
    for name in names or LISTS:
        if name not in LISTS:
            known = f"known: {', '.join(LISTS)}"
            raise UserError(f"There is no list {name!r}.", known, "Choose one of these.")
        rows = LISTS[name]() if names or name != "presets" else list_presets(grouped=True)
        print("\n".join([*aligned_lines(rows), ""]))
        if name == "experiments":
            print(f"{HOW_TYPED}\n")
