"""What the processes of one run tell each other, on a store in memory: orders, the end, and who failed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch.distributed as dist

from stillage.cli.together import follow, lead
from stillage.errors import CheckpointError, ConfigError, Interrupted, UserError
from stillage.run import team as teams
from stillage.run.team import (
    Team,
    error_for_all,
    first_is_there,
    is_helper,
    rank_and_size,
    told_by,
    wait_until,
)


@pytest.fixture
def pair() -> tuple[Team, Team]:
    """The first of two processes, and the other."""
    store = dist.HashStore()
    return Team(rank=0, size=2, store=store), Team(rank=1, size=2, store=store)


def test_the_place_is_what_the_launcher_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert rank_and_size() == (0, 1) and not is_helper()
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert rank_and_size() == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    assert rank_and_size() == (3, 4) and is_helper()


def test_orders_come_in_turn_and_end_with_the_first(pair: tuple[Team, Team]) -> None:
    first, other = pair
    got: list[dict[str, object]] = []
    listener = threading.Thread(target=lambda: got.extend(other.orders()))
    listener.start()
    for number in range(3):
        first.call({"part": f"student {number}", "plugins": []})
    first.store.add("left", 1)  # the other has nothing to say at the end
    first.end(0)
    listener.join(timeout=60)
    assert not listener.is_alive()
    assert got == [{"part": f"student {number}", "plugins": []} for number in range(3)]


class BetweenTwoLooks:
    """A store in which the first calls and ends just after the other's first look."""

    def __init__(self, first: Team) -> None:
        self.first, self.looks = first, 0

    def check(self, keys: list[str]) -> bool:
        found = self.first.store.check(keys)
        self.looks += 1
        if self.looks == 1:
            self.first.call({"part": "student"})
            self.first.store.set("ended", "0")
        return found

    def get(self, key: str) -> bytes:
        return self.first.store.get(key)


def test_an_order_and_the_end_said_between_two_looks_are_both_heard(
    pair: tuple[Team, Team],
) -> None:
    other = Team(rank=1, size=2, store=BetweenTwoLooks(pair[0]))  # pyright: ignore[reportArgumentType]
    assert list(other.orders()) == [{"part": "student"}]


def test_the_first_failure_is_told_once_and_decides_the_exit_code(pair: tuple[Team, Team]) -> None:
    first, other = pair
    assert first.failure() is None
    first.store.set("ended", "1")
    assert other.leave(2, "The plugin is missing.") is True
    assert other.leave(1, "and more") is True
    assert first.failure() == {"rank": 1, "code": 2, "text": "The plugin is missing."}
    broken = error_for_all(first, RuntimeError("[gloo] Connection closed by peer"))
    assert isinstance(broken, UserError) and broken.exit_code == 2
    assert str(broken) == "Process 1 of 2 stopped: The plugin is missing."


def test_an_error_of_its_own_stays_the_firsts(pair: tuple[Team, Team]) -> None:
    first, _ = pair
    own, bug = CheckpointError("own"), KeyError("bug")
    assert error_for_all(first, own) is own and error_for_all(first, bug) is bug
    gone = error_for_all(first, RuntimeError("[../gloo/transport] Connection closed by peer"))
    assert isinstance(gone, Interrupted) and gone.exit_code == 75


def test_who_is_not_heard_says_it_itself(
    pair: tuple[Team, Team],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first never ends: the other gives up waiting, prints its error, and leaves with its code."""
    first, other = pair
    monkeypatch.setattr(teams, "GOODBYE_S", 0.0)
    first.call({"plugins": ["another"], "config": "", "part": "student", "folder": str(tmp_path)})
    assert follow(other, []) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(
        "stillage, process 1 of 2: The processes of this run read different plugins."
    )


def test_however_the_first_ends_the_others_are_told(pair: tuple[Team, Team]) -> None:
    first, other = pair
    first.store.add("left", 1)

    def refuse() -> int:
        raise ConfigError("Not like this.")

    with pytest.raises(ConfigError, match="Not like this"):
        lead(first, refuse)
    assert first.store.get("ended") == b"2"
    assert list(other.orders()) == []
    assert lead(Team(rank=0, size=1, store=dist.HashStore()), lambda: 0) == 0


@pytest.mark.parametrize("of_first", [True, False])
def test_a_process_that_cannot_notice_is_ended(
    of_first: bool,
    pair: tuple[Team, Team],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its main thread waits for the others, here for the thread that watches; only the first shows why."""
    first, other = pair
    codes: list[int] = []
    ended = threading.Event()
    monkeypatch.setattr(teams, "GRACE_S", 0.0)
    monkeypatch.setattr(teams.os, "_exit", lambda code: (codes.append(code), ended.set()))
    if of_first:
        first.store.set("failed", '{"rank": 1, "code": 2, "text": "No such file."}')
    else:
        first.store.set("ended", "75")
    with (first if of_first else other).watched():
        assert ended.wait(timeout=60)
    assert set(codes) == {2 if of_first else 75}
    assert ("Process 1 of 2 stopped: No such file." in capsys.readouterr().err) == of_first
    assert first.ended() == (2 if of_first else 75)


def test_a_body_that_ends_by_itself_is_left_alone(
    pair: tuple[Team, Team], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams.os, "_exit", lambda code: pytest.fail("nobody failed"))
    with pair[0].watched(), pair[1].watched():
        pass
    assert pair[0].failure() is None and pair[0].ended() is None
    pair[0].store.set("ended", "0")  # a good end of the first: the other may still be tidying up
    over = threading.Event()
    watcher = threading.Thread(target=pair[1].watch, args=(over,))
    watcher.start()
    watcher.join(timeout=1.0)
    assert watcher.is_alive()
    over.set()
    watcher.join()


def test_waiting_ends_when_it_is_true_or_the_time_is_over() -> None:
    looks = iter([False, True])
    assert wait_until(lambda: next(looks), 60)
    assert not wait_until(lambda: False, 0)


def test_another_processes_error_is_shown_with_its_place_and_code(pair: tuple[Team, Team]) -> None:
    error = told_by(pair[0], {"rank": 1, "code": 75, "text": "The disk is full."})
    assert error.what == "Process 1 of 2 stopped: The disk is full." and error.exit_code == 75


def test_a_store_that_is_gone_is_the_first_process_that_is_gone() -> None:
    with pytest.raises(Interrupted, match="first process") as caught, first_is_there():
        raise RuntimeError("Connection reset\nby peer")
    assert caught.value.values == "Connection reset"
    with pytest.raises(KeyError), first_is_there():
        raise KeyError("of our own")
