"""The parts of a scan side by side on one machine, each by the next free process.

A process opens shards and targets by path and writes its parts itself: what goes between it and
the parent is a part's number and what it counted.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from stillage.corpus.scan_part_file import PartFacts
from stillage.corpus.scan_parts import Part
from stillage.corpus.scan_task import ScanJob
from stillage.errors import Interrupted, UserError

Heard = Callable[[PartFacts], None]
"""heard(facts): a part was scanned, and its file is there."""
CAUSES = {
    signal.SIGKILL: "most likely the machine ran out of memory",
    signal.SIGBUS: "most likely a shard was cut short, or its disk went away, while it was read",
    signal.SIGSEGV: "a fault in compiled code: please report it",
    signal.SIGTERM: "somebody, or a scheduler, ended it",
    signal.SIGXCPU: "its limit of processor time was reached",
}
"""What usually sends a process such a signal."""


@dataclass(slots=True, kw_only=True)
class Worker:
    """A process, and the part that it has in hand."""

    process: subprocess.Popen[str]
    part: Part | None = None

    def give(self, part: Part) -> None:
        """Hand it a part; a process that is gone is heard of when it is read from."""
        assert self.process.stdin is not None
        self.part = part
        with suppress(BrokenPipeError):  # the end of its output comes next
            self.process.stdin.write(json.dumps(asdict(part)) + "\n")
            self.process.stdin.flush()

    def answer(self) -> PartFacts:
        """Read what it says of its part. Raises its error, or what killed it."""
        assert self.process.stdout is not None and self.part is not None
        line = self.process.stdout.readline()
        if not line:
            raise lost(self.process.pid, self.process.wait(), self.part)
        return facts_in(json.loads(line))


def facts_in(answer: dict[str, Any]) -> PartFacts:
    """Read an answer; raises the error that it holds."""
    if "error" in answer:
        error = UserError(*answer["error"])
        error.exit_code = answer["exit_code"]
        raise error
    facts = answer["facts"]
    return PartFacts(**{**facts, "part": Part(**facts["part"])})


def on_processes(parts: Sequence[Part], job: ScanJob, jobs: int, heard: Heard) -> None:
    """Scan parts on so many processes; the caller hears of each as it is done.

    Interrupted (exit 75) where the system killed one; a user's error where one met it. However it
    ends, no process is left; what they had finished is there.
    """
    waiting = deque(parts)
    workers = [start_worker(job) for _ in range(min(jobs, len(waiting)))]
    try:
        with selectors.DefaultSelector() as busy:
            for worker in workers:
                assert worker.process.stdout is not None
                worker.give(waiting.popleft())
                busy.register(worker.process.stdout, selectors.EVENT_READ, worker)
            while busy.get_map():
                for key, _ in busy.select():
                    worker: Worker = key.data
                    facts = worker.answer()
                    if waiting:
                        worker.give(waiting.popleft())
                    else:
                        busy.unregister(key.fileobj)
                    heard(facts)
    finally:
        end_workers(workers)


def start_worker(job: ScanJob) -> Worker:
    """Start a process, in a session of its own: Ctrl-C does not reach it."""
    words = [str(job.folder), str(job.corpus), str(os.getpid())]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "stillage.corpus.scan_worker", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    return Worker(process=process)


def end_workers(workers: Sequence[Worker]) -> None:
    """End processes at once: a part in hand is lost whole."""
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.wait()
        for pipe in (worker.process.stdin, worker.process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # a part that was never read
                pipe.close()


def lost(pid: int, code: int, part: Part) -> UserError:
    """The error for a process that ended without an answer."""
    values = f"process {pid}, part {part.number} in hand"
    if code >= 0:
        error = UserError(
            f"A process of the scan ended with exit code {code}.", values, "See what it said above."
        )
        error.exit_code = 1
        return error
    number = signal.Signals(-code)
    cause = CAUSES.get(number, "see the system's log")
    return Interrupted(
        f"A process of the scan was killed by {number.name}.",
        f"{values}; {cause}",
        "Run the same command again, with fewer --jobs where memory was short: it continues.",
    )
