"""What several runs that share a store have to do: every stage once, in the name of the first run that needs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stillage.experiment.plan import Context
from stillage.run.stages import Stage, stage_folder, stage_keys, status

CHECK_AHEAD = ("data", "tokenizer")
"""Stages that also check, before anything is trained, what their key does not hold: the shapes and limits of all models."""
Plans = Mapping[str, tuple[Context, Sequence[Stage]]]
"""Name of a run -> what its work is given, and its stages; the name of a run alone is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One stage, in the name of one of the runs that need it."""

    run: str
    context: Context
    stage: Stage
    key: str
    reason: str
    is_done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Every stage once, by its label ("run: stage", or the stage's name where there is one run), inputs first."""

    offers: Mapping[str, Sequence[Task]]  # label -> the stage in the name of each run that needs it
    needs: Mapping[str, tuple[str, ...]]  # label -> labels of its inputs
    of_run: Mapping[str, tuple[str, ...]]  # name of a run -> labels of all its stages
    folders: Mapping[str, Path]  # label -> where the stage lies

    @property
    def tasks(self) -> dict[str, Task]:
        """Each stage in the name of the first run that needs it."""
        return {label: offers[0] for label, offers in self.offers.items()}

    def labelled(self, label: str) -> Stage:
        """The stage and its inputs under their labels."""
        return replace(self.offers[label][0].stage, name=label, inputs=self.needs[label])

    def next_offer(self, label: str, failed: Collection[str]) -> Task | None:
        """The stage in the name of a run that did not fail yet, where that may end otherwise; None where it cannot."""
        left = [task for task in self.offers[label] if task.run not in failed]
        return left[0] if left and left[0].stage.name in CHECK_AHEAD else None


def schedule(plans: Plans) -> Schedule:
    """Sort out which stages are equal, and which of them are done. Reads, never writes."""
    offers: dict[str, list[Task]] = {}
    needs: dict[str, tuple[str, ...]] = {}
    of_run: dict[str, tuple[str, ...]] = {}
    labels: dict[Path, str] = {}
    for run, (context, stages) in plans.items():
        found = stage_keys(stages)
        at = {
            stage.name: stage_folder(context.run, stage, found[stage.name], context.store)
            for stage in stages
        }
        for stage in stages:
            folder, key = at[stage.name], found[stage.name]
            label = labels.setdefault(folder, f"{run}: {stage.name}" if run else stage.name)
            if label not in offers:
                state = status(folder, stage, key)
                needs[label] = tuple(labels[at[name]] for name in stage.inputs)
            else:
                state = offers[label][0]
            offers.setdefault(label, []).append(
                Task(
                    run=run,
                    context=context,
                    stage=stage,
                    key=key,
                    reason=state.reason,
                    is_done=state.is_done,
                )
            )
        of_run[run] = tuple(labels[folder] for folder in at.values())
    return Schedule(
        offers=offers,
        needs=needs,
        of_run=of_run,
        folders={label: path for path, label in labels.items()},
    )


def described(found: Schedule) -> list[str]:
    """A line per stage: skip or run, its label, why, and of a sweep how many points it serves."""
    several = len(found.of_run) > 1
    width = max([24, *(len(label) for label in found.tasks)]) if several else 24
    lines = []
    for label, task in found.tasks.items():
        serves = len(found.offers[label])
        shared = f" (for {serves} points)" if several and serves > 1 else ""
        lines.append(
            f"{'skip' if task.is_done else 'run '}  {label:<{width}} {task.reason}{shared}"
        )
    return lines
