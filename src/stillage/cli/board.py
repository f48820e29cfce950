"""Progress: a bar with the time left on a terminal, one line every 30 s elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from stillage.run.stop import watch_signals

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from stillage.face.experiments import Session
    from stillage.plugins.plugin import Plugin
    from stillage.run.team import Team

LINE_EVERY_S = 30.0


class Board:
    """Shows what a run is doing; on standard error, so that output can be piped."""

    def __init__(self) -> None:
        """On a terminal a live bar, otherwise lines."""
        self.is_terminal = sys.stderr.isatty()
        self.bar: Progress | None = None
        self.tasks: dict[str, TaskID] = {}
        self.last_line_s: dict[str, float] = {}

    def __enter__(self) -> Board:
        """Start the bar."""
        if self.is_terminal:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[facts]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self.bar.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, at: TracebackType | None) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if self.bar is not None:
            self.bar.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def show(self, name: str, facts: Mapping[str, Any]) -> None:
        """Show facts of the work in hand: the step of a training, or the records done."""
        if self.bar is None:
            now = time.monotonic()
            says_where = "step" in facts or "doing" in facts  # more than a model's name
            if now - self.last_line_s.setdefault(name, now) >= LINE_EVERY_S and says_where:
                self.last_line_s[name] = now
                self.say(f"{name}: {facts_in_words(facts)}")
            return
        if name not in self.tasks:
            self.tasks[name] = self.bar.add_task(name, total=None, facts="")
        done, total = facts.get("step", facts.get("done", 0)), facts.get("total", facts.get("of"))
        done, total = (facts["share"], 1.0) if "share" in facts else (done, total)
        is_over = total is not None and done == total  # until the next loop of this name begins
        self.bar.update(
            self.tasks[name],
            completed=done,
            total=total,
            facts=facts_in_words(facts, short=True),
            visible=not is_over,
        )


@contextmanager
def watched_session(plugins: tuple[Plugin, ...], team: Team | None) -> Iterator[Session]:
    """Open a session that signals stop and that a board shows."""
    from stillage.face.experiments import Session

    with watch_signals() as stop, Board() as board:
        yield Session(stop=stop, say=board.say, progress=board.show, plugins=plugins, team=team)


def facts_in_words(facts: Mapping[str, Any], *, short: bool = False) -> str:
    """Write facts as words: step 120/800 (15 %), loss 2.31, 9,800 tokens/s, 0:41 left.

    Or: student, scoring 12 of 64 records. short: beside a bar that shows the step.
    """
    parts = []
    if "model" in facts:
        parts.append(str(facts["model"]))
    if "doing" in facts:
        count = f"{facts.get('done', 0):,}"
        count += f" of {facts['of']:,}" if facts.get("of") is not None else ""
        parts.append(str(facts["doing"]).replace("{}", count))
    if "total" in facts and "step" in facts and not short:
        percent = 100 * facts["step"] / max(1, facts["total"])
        parts.append(f"step {facts['step']}/{facts['total']} ({percent:.0f} %)")
    if "share" in facts:
        parts.append(f"{100 * facts['share']:.0f} %")
    if "loss" in facts:
        parts.append(f"loss {facts['loss']:.3f}")
    if "tokens_per_s" in facts:
        parts.append(f"{facts['tokens_per_s']:,.0f} tokens/s")
    if "eta_s" in facts:
        parts.append(f"{clock(facts['eta_s'])} left")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """Write seconds as 0:41, 12:05 or 2:10:00."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
