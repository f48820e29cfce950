"""Independent stages side by side: one process each, so that a teacher and its counterfactual twin train at the same time.

A child runs `stillage run RUN --only STAGE`; it shares nothing with its siblings but the run folder, reports progress as
JSON lines, and dies with its parent. Numbers do not depend on it: each process computes on `threads` threads either way.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stillage.errors import Interrupted
from stillage.run.stages import Stage
from stillage.run.stop import Stop

Progress = Callable[[str, Mapping[str, Any]], None]
POLL_S = 0.05
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


def ready(stages: Sequence[Stage], done: set[str]) -> list[Stage]:
    """The stages whose every input is done, in order."""
    return [stage for stage in stages if set(stage.inputs) <= done]


def run_together(
    waiting: list[Stage],
    done: set[str],
    command: Callable[[str], list[str]],
    jobs: int,
    stop: Stop,
    progress: Progress,
    say: Callable[[str, float | None], None],
) -> None:
    """Do waiting stages, at most `jobs` at a time, until at most one can start (the caller does that one itself).

    command(name): the command line that does a stage. Takes what it starts out of `waiting` and puts what is finished into
    `done`; say(name, None) at a start, say(name, seconds) at an end. A signal is passed on, and Interrupted raised once
    every child has left its stage in a good state. A child that fails has said why; the others are stopped, and SystemExit
    carries its exit code.
    """
    running: dict[str, tuple[subprocess.Popen[str], float]] = {}
    try:
        while running or len(ready(waiting, done)) > 1:
            for stage in ready(waiting, done)[: jobs - len(running)]:
                waiting.remove(stage)
                say(stage.name, None)
                running[stage.name] = (launch(stage.name, command(stage.name), progress), time.monotonic())
            if stop():
                end(running, stop.number)
                raise Interrupted(
                    "The run was stopped.", f"stages: {', '.join(running)}", "Run the same command again."
                )
            for name in [name for name, (process, _) in running.items() if process.poll() is not None]:
                process, started = running.pop(name)
                if process.returncode != 0:
                    raise SystemExit(process.returncode if process.returncode > 0 else 1)
                done.add(name)
                say(name, time.monotonic() - started)
            time.sleep(POLL_S)
    finally:
        end(running, signal.SIGTERM)


def command_of(run: Path, store: Path | None, plugins: Sequence[Path], name: str) -> list[str]:
    """The command line of a child."""
    words = [sys.executable, "-m", "stillage", "run", str(run), "--only", name]
    return [*words, *(["--store", str(store)] if store else []), *(f"--plugin={path}" for path in plugins)]


def launch(name: str, command: Sequence[str], progress: Progress) -> subprocess.Popen[str]:
    """Start one stage in a process of its own session, and pass its progress on."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            progress(name, json.loads(line))

    threading.Thread(target=listen, daemon=True).start()
    return process


def end(running: Mapping[str, tuple[subprocess.Popen[str], float]], number: int) -> None:
    """Ask the children to stop, and wait until each has left its stage in a good state."""
    for process, _ in running.values():
        if process.poll() is None:
            process.send_signal(number)
    for process, _ in running.values():
        process.wait()


def die_with_parent(parent_pid: int) -> None:
    """In a child: be killed when the parent dies (Linux), so that a stage never has two owners for long.

    Elsewhere the lock of the stage makes the next owner wait.
    """
    import ctypes
    import os

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent_pid:
            raise SystemExit(75)


class Lines:
    """The child's side of the progress: JSON lines on standard output, a few a second at most."""

    def __init__(self, every_s: float = 0.5) -> None:
        """every_s: seconds between lines."""
        self.every_s = every_s
        self.last_s = 0.0

    def show(self, name: str, facts: Mapping[str, Any]) -> None:
        """Print the facts, unless the last line is too fresh; the end of a loop is always told."""
        now = time.monotonic()
        is_end = ("total" in facts and facts.get("step") == facts["total"]) or (
            "of" in facts and facts.get("done") == facts["of"]
        )
        if is_end or now - self.last_s >= self.every_s:
            self.last_s = now
            print(json.dumps(dict(facts), default=str), flush=True)
