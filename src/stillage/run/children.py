"""Independent stages side by side, one process each.

So a teacher and its counterfactual twin train at the same time. A child runs `stillage run RUN
--only STAGE`; it shares nothing with its siblings but the run folder, reports progress as JSON
lines, and dies with its parent. Numbers do not depend on it: each process computes on `threads`
threads either way.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillage.errors import Interrupted, UserError
from stillage.run.progress import Progress
from stillage.run.stages import Stage
from stillage.run.stop import Stop

POLL_S, DRAIN_S = 0.05, 10.0
RESUMABLE = (Interrupted.exit_code, 130)
PARENT = "--parent="
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A stage's process, the thread that passes its progress on, and its start time."""

    process: subprocess.Popen[str]
    listener: threading.Thread
    started_s: float


def ready(stages: Sequence[Stage], done: set[str]) -> list[Stage]:
    """The stages whose every input is done, in order."""
    return [stage for stage in stages if set(stage.inputs) <= done]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """How a run starts its children, and what it does as they begin, end and fail."""

    command: Callable[[str], list[str]]  # the command line that does a stage
    jobs: int  # stages at a time
    stop: Stop
    progress: Progress
    say: Callable[[str, float | None], None]  # (name, None) at a start, (name, seconds) at an end
    give_up: Callable[[str, Exception], None] | None = None
    """Takes what cannot be done any more out of the waiting stages; None: a failure ends all."""


def run_together(waiting: list[Stage], done: set[str], parent: Parent) -> None:
    """Do waiting stages side by side until at most one can start, left to the caller.

    Takes what it starts out of `waiting` and puts what is finished into `done`. A signal is passed
    on, and Interrupted raised once every child has left its stage in a good state. A child that
    fails has said why; the others are stopped, and SystemExit carries its exit code. With
    parent.give_up the others go on, unless the child was interrupted.
    """
    running: dict[str, Child] = {}
    try:
        while running or len(ready(waiting, done)) > 1:
            for stage in ready(waiting, done)[: parent.jobs - len(running)]:
                name = stage.name
                waiting.remove(stage)
                parent.say(name, None)
                running[name] = launch(name, parent.command(name), parent.progress)
            if parent.stop():
                end(running, parent.stop.number)
                stopped = f"stages: {', '.join(running)}"
                raise Interrupted("The run was stopped.", stopped, "Run the same command again.")
            ended = [name for name, child in running.items() if child.process.poll() is not None]
            for name in ended:
                child = running.pop(name)
                took_s = time.monotonic() - child.started_s
                # all that it told comes before its end; a grandchild may hold the pipe
                child.listener.join(DRAIN_S)
                if (code := child.process.returncode) == 0:
                    done.add(name)
                    parent.say(name, took_s)
                elif parent.give_up is None or code in RESUMABLE:
                    raise SystemExit(code if code > 0 else 1)
                else:
                    parent.give_up(name, said_by_child(name, code))
            time.sleep(POLL_S)
    finally:
        end(running, signal.SIGTERM)


def said_by_child(name: str, code: int) -> UserError:
    """The error of a child that printed its own before it ended."""
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    values = f"it {how}; what it said stands above"
    return UserError(f"{name} failed in a process of its own.", values)


def command_of(run: Path, store: Path | None, plugins: Sequence[Path], name: str) -> list[str]:
    """The command line of a child."""
    words = [sys.executable, "-m", "stillage", "run", str(run)]
    words += [f"{PARENT}{os.getpid()}", "--only", name]
    words += ["--store", str(store)] if store else []
    return [*words, *(f"--plugin={path}" for path in plugins)]


def launch(name: str, command: Sequence[str], progress: Progress) -> Child:
    """Start one stage in a process of its own session, and pass its progress on."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, encoding="utf-8", errors="replace", start_new_session=True
    )
    listener = threading.Thread(target=listen, args=(name, process, progress), daemon=True)
    listener.start()
    return Child(process=process, listener=listener, started_s=time.monotonic())


def listen(name: str, process: subprocess.Popen[str], progress: Progress) -> None:
    """Pass a child's progress on; what else it prints goes to standard error."""
    assert process.stdout is not None
    # read to the end whatever it holds: a full pipe would hold the child up for ever
    for line in process.stdout:
        try:
            facts = json.loads(line)
        except ValueError:
            facts = None
        if isinstance(facts, dict):
            progress(name, facts)
        else:
            print(line, end="", file=sys.stderr, flush=True)


def end(running: Mapping[str, Child], number: int) -> None:
    """Ask the children to stop, and wait until each has left a good state."""
    for child in running.values():
        if child.process.poll() is None:
            child.process.send_signal(number)
    for child in running.values():
        child.process.wait()


def die_with_parent(parent_pid: int) -> None:
    """Have this child killed when the parent dies (Linux), so a stage has one owner.

    parent_pid: as the parent itself said it (it may be gone before this child has looked).
    Elsewhere the lock of the stage makes the next owner wait.
    """
    import ctypes

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent_pid:
            raise SystemExit(75)


def parent_in(words: Sequence[str]) -> int:
    """Return the process that started this child: the one named, or its parent."""
    said = [word.removeprefix(PARENT) for word in words if word.startswith(PARENT)]
    return int(said[0]) if said else os.getppid()


class Lines:
    """The child's progress: JSON lines on standard output, a few a second at most."""

    def __init__(self, every_s: float = 0.5) -> None:
        """every_s: seconds between lines."""
        self.every_s = every_s
        self.last_s = 0.0

    def show(self, name: str, facts: Mapping[str, Any]) -> None:
        """Print the facts, unless the last line is too fresh; always a loop's end."""
        now = time.monotonic()
        ends = (("step", "total"), ("done", "of"))
        is_end = any(total in facts and facts.get(count) == facts[total] for count, total in ends)
        if is_end or now - self.last_s >= self.every_s:
            self.last_s = now
            print(json.dumps(dict(facts), default=str), flush=True)
