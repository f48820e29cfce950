"""Files are whole or not there; stages are done exactly when their manifest verifies; one process to a folder."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import pytest

from stillage.errors import ConfigError, Interrupted
from stillage.run import lock, stages
from stillage.run.folder import (
    atomic,
    changed_file,
    hash_files,
    list_files,
    read_json,
    write_json,
)
from stillage.run.lock import locked
from stillage.run.stages import Stage, changed_settings, run_stage, stage_keys, status
from stillage.run.stop import Stopped, watch_signals


def test_atomic_leaves_the_old_file_when_the_body_fails(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="no"), atomic(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        raise ValueError("no")
    assert read_json(tmp_path / "a.json") == 1
    assert os.listdir(tmp_path) == ["a.json"]


def test_atomic_replaces_a_folder(tmp_path: Path) -> None:
    for content in ("1", "2"):
        with atomic(tmp_path / "model") as temporary:
            temporary.mkdir()
            (temporary / "w").write_text(content)
    assert (tmp_path / "model" / "w").read_text() == "2"
    assert os.listdir(tmp_path) == ["model"]


def test_writers_of_one_file_do_not_touch_what_the_other_has_begun(tmp_path: Path) -> None:
    """Two machines that share the folder may give their processes one number."""
    for name in ("file", "folder"):
        with atomic(tmp_path / name) as first:
            first.write_text("first") if name == "file" else first.mkdir()
            with atomic(tmp_path / name) as second:
                second.write_text("second") if name == "file" else second.mkdir()
    assert (tmp_path / "file").read_text() == "first"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_full_disk_is_exit_75_and_keeps_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(Interrupted) as caught, atomic(tmp_path / "a.json"):
        raise OSError(28, "No space left on device")
    assert caught.value.exit_code == 75
    assert read_json(tmp_path / "a.json") == 1


KILLED = """
import sys; from pathlib import Path; from stillage.run.folder import write_json
n = 0
while True:
    n += 1
    write_json(Path(sys.argv[1]), ["x" * 1000] * 200 + [n])
"""


def test_sigkill_at_random_moments_never_leaves_a_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)])
        while not path.exists():
            time.sleep(0.01)
        time.sleep(random.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(read_json(path)) == 201
        assert list_files(tmp_path) == [path]


def counting_stage(log: list[str], **settings: object) -> Stage:
    def work(folder: Path) -> None:
        log.append("ran")
        write_json(folder / "a.json", settings)

    return Stage(name="one", settings=settings, work=work)


def test_a_stage_is_done_exactly_when_its_manifest_verifies(tmp_path: Path) -> None:
    log: list[str] = []
    stage = counting_stage(log, lr=1)
    key = stage_keys([stage])["one"]
    assert status(tmp_path / stage.name, stage, key).reason == "not done yet"
    run_stage(tmp_path / stage.name, stage, key)
    assert status(tmp_path / stage.name, stage, key).is_done
    (tmp_path / "one" / "a.json").write_text("{}")
    assert status(tmp_path / stage.name, stage, key).reason == "damaged: a.json has changed"
    (tmp_path / "one" / "a.json").unlink()
    assert status(tmp_path / stage.name, stage, key).reason == "damaged: a.json is missing"
    run_stage(tmp_path / stage.name, stage, key)
    assert status(tmp_path / stage.name, stage, key).is_done and len(log) == 2


def test_another_setting_sets_the_old_result_aside(tmp_path: Path) -> None:
    log: list[str] = []
    first, second = counting_stage(log, lr=1), counting_stage(log, lr=2)
    run_stage(tmp_path / first.name, first, stage_keys([first])["one"])
    found = status(tmp_path / second.name, second, stage_keys([second])["one"])
    assert not found.is_done and found.reason == "lr: 1 -> 2"
    run_stage(tmp_path / second.name, second, stage_keys([second])["one"])
    assert read_json(tmp_path / "one" / "a.json") == {"lr": 2}
    assert [read_json(path / "a.json") for path in (tmp_path / "aside").iterdir()] == [{"lr": 1}]


def test_a_changed_setting_of_a_group_is_named_in_full() -> None:
    old = {"audit": {"attacks": ["loss"], "level": 0.95, "params": {}}, "seed": 1}
    new = {"audit": {"attacks": ("loss", "zlib"), "level": 0.95, "params": {"a": "1"}}, "seed": 1}
    assert changed_settings(old, new) == (
        "audit.attacks: ['loss'] -> ['loss', 'zlib'], audit.params.a: None -> 1"
    )
    assert changed_settings({"g": dict.fromkeys("abcde", 1)}, {"g": {}}).endswith(
        "g.c: 1 -> None, and 2 more"
    )
    assert changed_settings({"a": "x" * 99}, {"a": 1}) == f"a: {'x' * 56} ... -> 1"
    assert changed_settings(new, new) == ""


def test_an_unfinished_stage_keeps_its_files_only_for_the_same_key(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def work(folder: Path) -> None:
        seen.append(sorted(path.name for path in folder.iterdir()))
        write_json(folder / "checkpoint.json", 1)
        if len(seen) == 1:
            raise Interrupted("stopped")

    stage = Stage(name="one", settings={}, work=work)
    with pytest.raises(Interrupted):
        run_stage(tmp_path / stage.name, stage, "k")
    assert status(tmp_path / stage.name, stage, "k").reason == "continues where it stopped"
    run_stage(tmp_path / stage.name, stage, "k")
    assert "checkpoint.json" in seen[1]
    other = Stage(name="two", settings={}, work=work)
    (tmp_path / "two").mkdir()
    write_json(tmp_path / "two" / "stale.json", 1)
    run_stage(tmp_path / other.name, other, "k")
    assert "stale.json" not in seen[2]


def test_a_kill_while_a_stage_is_sealed_costs_none_of_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[str] = []

    def work(folder: Path) -> None:
        log.append("continues" if (folder / "trained.json").exists() else "starts")
        write_json(folder / "trained.json", 1)

    def killed(folder: Path, files: Sequence[Path]) -> dict[str, str]:
        raise KeyboardInterrupt

    stage, folder = Stage(name="one", settings={}, work=work), tmp_path / "one"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stages, "hash_files", killed)
        run_stage(folder, stage, "k")
    assert status(folder, stage, "k").reason == "continues where it stopped"
    run_stage(folder, stage, "k")
    assert log == ["starts", "continues"]
    assert sorted(os.listdir(folder)) == ["manifest.json", "trained.json"]
    assert read_json(folder / "manifest.json")["files"].keys() == {"trained.json"}


def test_keys_follow_inputs_settings_and_schema() -> None:
    def make(lr: int, schema: int) -> dict[str, str]:
        first = Stage(name="a", settings={"lr": lr}, work=lambda _: None, schema=schema)
        return stage_keys([first, Stage(name="b", settings={}, work=lambda _: None, inputs=("a",))])

    assert make(1, 1) == make(1, 1)
    assert make(1, 1)["b"] != make(2, 1)["b"] != make(2, 2)["b"]


HOLDER = """
import sys, time; from pathlib import Path; from stillage.run.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True); time.sleep(60)
"""


def test_a_live_owner_is_named_and_a_dead_one_is_forgotten(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    with pytest.raises(ConfigError) as caught, locked(tmp_path):
        pass
    assert str(process.pid) in str(caught.value)
    process.kill()
    process.wait()
    with locked(tmp_path):
        pass


def test_a_lock_file_that_its_owner_removes_as_it_ends_is_not_worth_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner removes it between another's opening and locking it: that one locks the file that lies there now."""
    flock, calls = fcntl.flock, []

    def removed_first(handle: TextIO, how: int) -> None:
        if not calls:
            (tmp_path / ".lock").unlink()
        calls.append(how)
        flock(handle, how)

    monkeypatch.setattr(lock.fcntl, "flock", removed_first)
    with locked(tmp_path), pytest.raises(ConfigError, match="in use"), locked(tmp_path):
        pass
    assert len(calls) == 3


def test_who_is_refused_while_the_owner_removes_its_lock_is_told_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def removed_after(handle: TextIO, how: int) -> None:
        try:
            flock(handle, how)
        except BlockingIOError:
            (tmp_path / ".lock").unlink()
            raise

    with locked(tmp_path):
        monkeypatch.setattr(lock.fcntl, "flock", removed_after)
        with pytest.raises(ConfigError, match=f'"pid": {os.getpid()}'), locked(tmp_path):
            pass


def test_a_folder_that_its_owner_removes_as_it_ends_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mkdir, calls = tmp_path / "run", Path.mkdir, []

    def removed_after(path: Path, **how: bool) -> None:
        mkdir(path, **how)
        calls.append(path)
        if len(calls) == 1:
            path.rmdir()

    monkeypatch.setattr(Path, "mkdir", removed_after)
    with locked(folder):
        assert (folder / ".lock").is_file() and len(calls) == 2


def test_a_signal_waits_inside_deferred_and_not_outside() -> None:
    with pytest.raises(Stopped) as caught, watch_signals() as stop, stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
    assert caught.value.exit_code == 75
    with pytest.raises(Stopped) as caught, watch_signals():
        os.kill(os.getpid(), signal.SIGINT)
    assert caught.value.exit_code == 130


def test_a_changed_or_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("a.json", "sub/b.json"):
        write_json(tmp_path / name, name)
    hashes = hash_files(tmp_path, list_files(tmp_path))
    assert list(hashes) == ["a.json", "sub/b.json"] and changed_file(tmp_path, hashes) == ""
    write_json(tmp_path / "sub" / "b.json", "other")
    assert changed_file(tmp_path, hashes) == "sub/b.json has changed"
    (tmp_path / "a.json").unlink()
    assert changed_file(tmp_path, hashes) == "a.json is missing"


@pytest.mark.parametrize("error", [OSError(28, "No space left"), ValueError("x (os error 28)")])
def test_a_full_disk_interrupts_whoever_tells_it(tmp_path: Path, error: Exception) -> None:
    target = tmp_path / "a.bin"
    with pytest.raises(Interrupted, match="disk is full"), atomic(target) as temporary:
        temporary.write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_once_where_writes_are_nested(tmp_path: Path) -> None:
    with (
        pytest.raises(Interrupted) as caught,
        atomic(tmp_path / "folder") as outer,
        atomic(outer / "file"),
    ):
        raise ValueError("x (os error 28)")
    assert len(str(caught.value).splitlines()) == 3
