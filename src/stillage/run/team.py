"""One run on several processes (`torchrun ... -m stillage run CONFIG`).

The first process plans, locks, writes, evaluates and audits. The others wait; called to a training
they take part in it, and they write nothing. They talk through the key-value store of
torch.distributed, so that waiting needs no GPU and no timeout.

Whoever fails says so in the store. A process that waits for it in a sum over all processes would
never look there, so each has a thread that does, and that ends the process when it does not end by
itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from stillage.errors import ConfigError, Interrupted, UserError, first_line

if TYPE_CHECKING:
    from torch.distributed import Store  # pyright: ignore[reportPrivateImportUsage]

JOIN = timedelta(minutes=10)
"""How long processes wait for each other at the start."""
COLLECTIVE = timedelta(minutes=30)
"""How long a sum over all processes may take before they give up beside one that is stuck."""
POLL_S, GRACE_S, GOODBYE_S, SAVING_S = 0.05, 2.0, 20.0, 600.0


def rank_and_size() -> tuple[int, int]:
    """Return (rank, number of processes) as torchrun says; (0, 1) for one alone."""
    size = int(os.environ.get("WORLD_SIZE") or 1)
    return (int(os.environ.get("RANK") or 0), size) if size > 1 else (0, 1)


def is_helper() -> bool:
    """Tell whether this is one of several processes, and not the first."""
    return rank_and_size()[0] > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """The processes of one run, as one of them sees it."""

    rank: int
    size: int
    store: Store

    @property
    def is_first(self) -> bool:
        """Whether this is the process that plans and writes."""
        return self.rank == 0

    def call(self, order: Mapping[str, Any]) -> None:
        """Call the other processes to take part in something, with an order (JSON)."""
        number = self.store.add("orders", 1)
        self.store.set(f"order/{number}", json.dumps(order))

    def orders(self) -> Iterator[dict[str, Any]]:
        """Yield the first process's orders to the last; Interrupted when it is gone."""
        number = 1
        while True:
            with first_is_there():
                # the end first: what was called before it is seen by the look after it
                is_over = self.store.check(["ended"])
                is_called = self.store.check([f"order/{number}"])
                order = json.loads(self.store.get(f"order/{number}")) if is_called else None
            if order is not None:
                yield order
                number += 1
            elif is_over:
                return
            else:
                time.sleep(POLL_S)

    def failure(self) -> dict[str, Any] | None:
        """Return another process's failure: rank, code, text; None where none said so."""
        return json.loads(self.store.get("failed")) if self.store.check(["failed"]) else None

    def ended(self) -> int | None:
        """The exit code of the first; None while it goes on."""
        return int(self.store.get("ended")) if self.store.check(["ended"]) else None

    def end(self, code: int) -> None:
        """Tell the others that the first ends, and wait a moment: it may own their store."""
        self.store.set("ended", str(code))
        wait_until(lambda: self.store.add("left", 0) >= self.size - 1, GOODBYE_S / 2)

    def leave(self, code: int, text: str = "") -> bool:
        """Say why this process, not the first, ends (text), and wait for the first's end.

        It may be saving. False where it did not end in time, so that nobody has shown the text.
        """
        with contextlib.suppress(Exception):  # whatever broke, the exit code must get out
            if text:
                failed = {"rank": self.rank, "code": code, "text": text}
                self.store.compare_set("failed", "", json.dumps(failed))
            limit_s = SAVING_S if code in (75, 130) else GOODBYE_S
            has_ended = wait_until(lambda: self.ended() is not None, limit_s)
            self.store.add("left", 1)
            return has_ended
        return code in (75, 130)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Run a thread that ends this process if another fails and the body hangs."""
        over = threading.Event()
        thread = threading.Thread(target=self.watch, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def watch(self, over: threading.Event) -> None:
        """Look for another's failure, or the first's bad end, in a thread, until over."""
        with contextlib.suppress(Exception):  # a store that is gone: the body finds out
            while not over.wait(5 * POLL_S):
                failed = self.failure() if self.is_first else None
                ended = 0 if self.is_first else self.ended() or 0
                code = ended if failed is None else failed["code"]
                if code == 0:
                    continue
                if over.wait(GRACE_S):
                    return
                if failed is not None:
                    print(f"stillage: {told_by(self, failed)}", file=sys.stderr, flush=True)
                    self.store.set("ended", str(code))
                os._exit(code)


def told_by(team: Team, failed: Mapping[str, Any]) -> UserError:
    """The error of another process, as the first shows it."""
    error = UserError(f"Process {failed['rank']} of {team.size} stopped: {failed['text']}")
    error.exit_code = failed["code"]
    return error


def wait_until(true: Callable[[], bool], limit_s: float) -> bool:
    """Poll until it is true; False when the time is over."""
    deadline = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


@contextlib.contextmanager
def first_is_there() -> Iterator[None]:
    """Turn a store that has gone, with the process that owned it, into Interrupted."""
    from torch.distributed import DistError

    try:
        yield
    except (DistError, RuntimeError) as error:
        what = "The first process of this run is gone."
        raise Interrupted(what, first_line(error), "Run it again.") from error


def join() -> Team:
    """Meet the other processes; ConfigError for nobody, and for too few GPUs."""
    import torch
    from torch import distributed
    from torch.distributed import PrefixStore  # pyright: ignore[reportPrivateImportUsage]
    from torch.distributed.rendezvous import rendezvous

    local, cuda = int(os.environ.get("LOCAL_RANK") or 0), torch.cuda.is_available()
    if cuda:
        if local >= torch.cuda.device_count():
            what = "There are more processes than GPUs on this machine."
            values = f"process {local + 1} of this machine; GPUs: {torch.cuda.device_count()}"
            raise ConfigError(what, values, "Lower --nproc_per_node.")
        torch.cuda.set_device(local)
    try:
        store, rank, size = next(rendezvous("env://", timeout=JOIN))
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo",
            store=PrefixStore("group", store),
            rank=rank,
            world_size=size,
            timeout=COLLECTIVE,
        )
    except (distributed.DistError, ValueError) as error:
        raise ConfigError(
            "The processes of this run did not find each other.",
            f"WORLD_SIZE={os.environ['WORLD_SIZE']}; {first_line(error)}",
            "Start them with torchrun; unset WORLD_SIZE for a run on one process.",
        ) from error
    return Team(rank=rank, size=size, store=PrefixStore("stillage", store))


def part() -> None:
    """Close the connections to the other processes, once nobody needs them."""
    from torch import distributed

    if distributed.is_initialized():
        with contextlib.suppress(RuntimeError):
            distributed.destroy_process_group()


def error_for_all(team: Team, error: BaseException) -> BaseException:
    """Return the error to end with on the first process: another's, if that caused it."""
    from torch.distributed import DistError

    if not isinstance(error, Exception) or isinstance(error, UserError):
        return error
    failed = team.failure()
    if failed is not None:
        return told_by(team, failed)
    if isinstance(error, DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
        return Interrupted(
            "Another process of this run is gone.",
            first_line(error),
            "Look for its error above; the same command continues.",
        )
    return error
