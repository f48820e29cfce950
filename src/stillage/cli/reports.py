"""`stillage report`: the pages of finished runs and sweeps, written again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.cli.outcome import where_the_page_is
from stillage.errors import ConfigError, DataError
from stillage.face.experiments import write_page

if TYPE_CHECKING:
    from stillage.face.experiments import Experiment, Session


def report_runs(
    asked: Experiment, session: Session, *, is_dry: bool
) -> tuple[Mapping[str, Exception], Sequence[str]]:
    """Write a finished run's page again; of a sweep all points' pages and its own.

    Returns as `do_experiment`: a point that is not finished has failed.
    """
    from stillage.experiment.report_again import report_again
    from stillage.run.lock import locked

    if not asked.grid:
        say = print if is_dry else session.say
        report_again(asked.contexts[""], say, only_say=is_dry)
        return {}, []
    failed: dict[str, Exception] = {}
    for name, context in asked.contexts.items():
        try:
            report_again(context, session.say, only_say=is_dry)
        except DataError as error:  # not finished; the others have their reports
            failed[name] = error
    if is_dry or len(failed) == len(asked.grid):
        return failed, []
    with locked(asked.config.out):
        return failed, write_page(asked.config.out, failed)


def report_sweep_folder(out: Path, words: Sequence[str], *, is_dry: bool) -> int:
    """Write a sweep's page again, of its finished points. ConfigError for settings."""
    if words:
        what, values = "The page of a sweep takes no settings.", f"given: {' '.join(words)}"
        fix = "Give none, or the config of the sweep with its settings."
        raise ConfigError(what, values, fix)
    if is_dry:
        print(f"run   report   from the finished points of {out}")
    else:
        print("\n".join([*write_page(out, {}), *where_the_page_is(out)]))
    return 0
