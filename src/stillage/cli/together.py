"""A run on several processes: the first leads, the others join its trainings."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage.errors import ConfigError, UserError

if TYPE_CHECKING:
    from stillage.plugins.plugin import Plugin
    from stillage.run.stop import Stop
    from stillage.run.team import Team


def lead(team: Team, work: Callable[[], int]) -> int:
    """Do the work of the first process; however it ends, the others end too."""
    from stillage.run.team import error_for_all, part

    code = 1
    try:
        with team.watched():
            code = work()
        return code
    except BaseException as error:
        told = error_for_all(team, error)
        code = 130 if isinstance(told, KeyboardInterrupt) else getattr(told, "exit_code", 1)
        if told is error:
            raise
        raise told from error
    finally:
        team.end(code)
        if code == 0:
            part()


def follow(team: Team, files: Sequence[Path]) -> int:
    """Take part in each training the first process calls to, saying only errors."""
    from stillage.plugins.plugin import plugged
    from stillage.run.stop import Stopped, watch_signals
    from stillage.run.team import part

    logging.getLogger("stillage").setLevel(logging.ERROR)
    with watch_signals() as stop:
        try:
            with team.watched(), plugged(files) as plugins:
                for order in team.orders():
                    take_part(team, order, plugins, stop)
            code = team.ended() or 0
            team.leave(code)
            if code == 0:
                part()
            return code
        except UserError as error:
            code, text = error.exit_code, str(error)
        except (Stopped, KeyboardInterrupt) as error:
            code, text = getattr(error, "exit_code", 130), ""
        except Exception as error:  # noqa: BLE001 - the first process shows it
            code, text = (75, "") if stop() else (1, f"{type(error).__name__}: {error}")
        if not team.leave(code, text) and text:
            print(f"stillage, process {team.rank} of {team.size}: {text}", file=sys.stderr)
    return code


def take_part(
    team: Team, order: Mapping[str, Any], plugins: tuple[Plugin, ...], stop: Stop
) -> None:
    """Train one model together with the first process."""
    from stillage.experiment.context import make_context
    from stillage.experiment.train_stage import train_model
    from stillage.run.parse import build, from_yaml

    own = [plugin.sha256 for plugin in plugins]
    if own != order["plugins"]:
        what = "The processes of this run read different plugins."
        fix = "Give every process the same --plugin files."
        raise ConfigError(what, f"process {team.rank}: {own}; the first: {order['plugins']}", fix)
    config = build(from_yaml(order["config"], "the config of the first process"))
    context = make_context(config, stop, lambda name, facts: None, plugins=plugins, team=team)
    spec = next(spec for spec in context.specs if spec.name == order["model"])
    train_model(context, spec, Path(order["folder"]))
