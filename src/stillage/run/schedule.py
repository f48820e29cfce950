"""What several runs that share a store have to do: every stage once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stillage.run.stages import Stage, Status, stage_folder, stage_keys, status

CHECK_AHEAD = ("data", "tokenizer")
"""Stages that also check, before anything is trained, the shapes and limits of all models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A run's folder, the store that it shares with others, and its stages."""

    run: Path
    store: Path | None
    stages: Sequence[Stage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One stage, in the name of one of the runs that need it."""

    run: str
    stage: Stage
    key: str
    state: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Every stage once, inputs first, by label: "run: stage", or its name in one run."""

    offers: Mapping[str, Sequence[Task]]  # label -> the stage in the name of each run that needs it
    needs: Mapping[str, tuple[str, ...]]  # label -> labels of its inputs
    of_run: Mapping[str, tuple[str, ...]]  # name of a run -> labels of all its stages
    folders: Mapping[str, Path]  # label -> where the stage lies

    @property
    def tasks(self) -> dict[str, Task]:
        """Return each stage in the name of the first run that needs it."""
        return {label: offers[0] for label, offers in self.offers.items()}

    def labelled(self, label: str) -> Stage:
        """Return the stage and its inputs under their labels."""
        return replace(self.offers[label][0].stage, name=label, inputs=self.needs[label])

    def still_offered(self, label: str, failed: Collection[str]) -> list[Task]:
        """List the stage in the names of the runs that need it and have not failed."""
        return [task for task in self.offers[label] if task.run not in failed]

    def ended_by(self, label: str, run: str) -> list[str]:
        """Name the runs that end as the stage fails in the name of one of them.

        All that need it; but what checks ahead may go well in another's name.
        """
        offers = self.offers[label]
        checks = offers[0].stage.name in CHECK_AHEAD
        return [run] if checks else [task.run for task in offers]


def schedule(plans: Mapping[str, Planned]) -> Schedule:
    """Sort out which stages are equal and which of them are done; writes nothing.

    plans: name of a run -> its stages; the name of a run alone is empty.
    """
    offers: dict[str, list[Task]] = {}
    needs: dict[str, tuple[str, ...]] = {}
    of_run: dict[str, tuple[str, ...]] = {}
    labels: dict[Path, str] = {}
    for run, plan in plans.items():
        stages, found = plan.stages, stage_keys(plan.stages)
        at = {
            stage.name: stage_folder(plan.run, stage, found[stage.name], plan.store)
            for stage in stages
        }
        for stage in stages:
            folder, key = at[stage.name], found[stage.name]
            label = labels.setdefault(folder, f"{run}: {stage.name}" if run else stage.name)
            known = offers.get(label, [])
            if not known:
                state = status(folder, stage, key)
                needs[label] = tuple(labels[at[name]] for name in stage.inputs)
                offers[label] = []
            elif {*stage.kept} <= {*known[0].stage.kept}:
                state = known[0].state
            else:
                state = status(folder, stage, key)
            task = Task(run=run, stage=stage, key=key, state=state)
            # done in the name of a run that keeps most
            offers[label] = sorted([*known, task], key=lambda one: -len(one.stage.kept))
        of_run[run] = tuple(labels[folder] for folder in at.values())
    folders = {label: path for path, label in labels.items()}
    return Schedule(offers=offers, needs=needs, of_run=of_run, folders=folders)


def described(found: Schedule) -> list[str]:
    """Describe each stage: skip or run, label, why, how many sweep points it serves."""
    several = len(found.of_run) > 1
    width = max([24, *(len(label) for label in found.tasks)]) if several else 24
    lines = []
    for label, task in found.tasks.items():
        serves, state = len(found.offers[label]), task.state
        shared = f" (for {serves} points)" if several and serves > 1 else ""
        lines.append(
            f"{'skip' if state.is_done else 'run '}  {label:<{width}} {state.reason}{shared}"
        )
    return lines
