"""A scan on several processes, killed and continued: the files are those of an undisturbed one.

Kernels run as plain Python in the children (NUMBA_DISABLE_JIT): compiling takes each of them longer than these corpora.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import brute_search
import pytest
from make_shards import make_shards

from stillage.corpus.scan_parts import Part
from stillage.corpus.scan_processes import lost
from stillage.corpus.scan_results import read_scan
from stillage.errors import Interrupted
from stillage.rng import generator

HELPER = str(Path(brute_search.__file__))
INTERPRETED = {
    **os.environ,
    "NUMBA_DISABLE_JIT": "1",
    "PYTHONWARNINGS": "ignore",
    "OMP_NUM_THREADS": "1",
}
RNG = generator(2, "scan tests")
DOCUMENTS = [RNG.integers(0, 4, size) for size in RNG.integers(0, 30, 60)]
TARGETS = [[1, 2, 3, 0, 1, 2], [0, 0, 1, 1, 2, 2]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards, targets, and `alone`: what one process finds that is left in peace."""
    made = tmp_path_factory.mktemp("scan")
    make_shards(made / "shards", DOCUMENTS, vocab_size=6, shard_documents=25)
    (made / "t.jsonl").write_text("\n".join(json.dumps(target) for target in TARGETS))
    subprocess.run(by_brute_force(made, "alone", 0.0), check=True)
    return made


def by_brute_force(folder: Path, out: str, pause_s: float) -> list[str]:
    """One process that compiles nothing; a pause in each part."""
    return [
        sys.executable,
        HELPER,
        str(folder / "shards"),
        str(folder / "t.jsonl"),
        str(folder / out),
        str(pause_s),
    ]


def command(folder: Path, out: Path, *flags: str) -> list[str]:
    """The real command, on two processes."""
    words = f"corpus scan {folder / 'shards'} --targets {folder / 't.jsonl'} --out {out} --max-distance 2"
    return [
        sys.executable,
        "-m",
        "stillage",
        *words.split(),
        *"--tokens-per-part 20 --jobs 2".split(),
        *flags,
    ]


def files_of(folder: Path) -> Mapping[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def when(true: Callable[[], object], process: subprocess.Popen[Any] | None = None) -> None:
    """Wait until it is true; a process that should still run has not ended by then."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.returncode
        time.sleep(0.002)


def parts_in(out: Path) -> int:
    return len(list(out.glob("parts/part-*"))) if out.is_dir() else 0


def workers_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_kills_at_random_times_and_then_the_files_of_an_undisturbed_scan(folder: Path) -> None:
    out, count = folder / "killed", 0
    rng = generator(3, "kills")
    for _ in range(3):
        process = subprocess.Popen(by_brute_force(folder, "killed", 0.02))
        wanted = parts_in(out) + int(rng.integers(0, 8))
        when(lambda: parts_in(out) >= wanted or process.poll() is not None)  # noqa: B023
        time.sleep(float(rng.uniform(0, 0.03)))
        process.kill()
        count += process.wait() == -signal.SIGKILL
    assert count == 3 and 0 < parts_in(out) < len(list((folder / "alone" / "parts").iterdir()))
    subprocess.run(by_brute_force(folder, "killed", 0.0), check=True)
    assert files_of(out) == files_of(folder / "alone")


def test_two_processes_of_which_the_system_kills_one_and_then_ctrl_c(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(folder, out), env=INTERPRETED, stderr=subprocess.PIPE, text=True
    )
    when(lambda: parts_in(out) > 2, process)
    first, second = workers_of(process.pid)
    os.kill(first, signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == 75
    assert (
        "killed by SIGKILL" in said and f"process {first}, part" in said and "out of memory" in said
    )
    assert len(said.strip().splitlines()) == 5 + 3  # what is scanned, and the error
    when(lambda: not Path(f"/proc/{second}").exists())
    assert not list(out.glob("parts/.tmp-*")) and not (out / "manifest.json").exists()

    process = subprocess.Popen(
        command(folder, out), env=INTERPRETED, stderr=subprocess.PIPE, text=True
    )
    before = parts_in(out)
    when(lambda: parts_in(out) > before, process)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert process.stderr is not None and "the same command continues" in process.stderr.read()

    done = subprocess.run(command(folder, out), env=INTERPRETED, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "parts are there already" in done.stderr and "scanned: 60 of 60 documents" in done.stdout
    assert files_of(out) == files_of(folder / "alone")


def test_children_die_with_their_parent(folder: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(folder, tmp_path / "out"), env=INTERPRETED, stderr=subprocess.DEVNULL
    )
    when(lambda: parts_in(tmp_path / "out") > 0, process)
    workers = workers_of(process.pid)
    process.kill()
    process.wait()
    assert len(workers) == 2
    when(lambda: not any(is_alive(worker) for worker in workers))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_error_of_a_child_is_said_as_it_is(folder: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    make_shards(shards, DOCUMENTS, vocab_size=6, shard_documents=25)
    out = tmp_path / "out"
    words = command(folder, out)
    words[words.index(str(folder / "shards"))] = str(shards)
    process = subprocess.Popen(words, env=INTERPRETED, stderr=subprocess.PIPE, text=True)
    when(lambda: (out / "targets.parquet").exists(), process)
    (shards / "shard-00002.safetensors").unlink()
    _, said = process.communicate()
    assert process.returncode == 2 and "shard-00002.safetensors" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (-9, "out of memory"),
        (-7, "cut short"),
        (-11, "compiled code"),
        (-15, "ended it"),
        (-1, "system's log"),
    ],
)
def test_a_killed_process_is_named_with_a_likely_cause(code: int, says: str) -> None:
    error = lost(17, code, Part(number=3, shard=0, first=0, end=1))
    assert isinstance(error, Interrupted) and error.exit_code == 75
    assert says in error.values and "process 17, part 3" in error.values


def test_a_process_that_ends_by_itself_is_our_fault() -> None:
    error = lost(17, 1, Part(number=3, shard=0, first=0, end=1))
    assert error.exit_code == 1 and "exit code 1" in error.what


@pytest.mark.slow
def test_twenty_kills_of_the_command(folder: Path, tmp_path: Path) -> None:
    out, rng, kills = tmp_path / "out", generator(4, "kills"), 0
    while kills < 20:
        process = subprocess.Popen(
            command(folder, out),
            env=INTERPRETED,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        time.sleep(float(rng.uniform(0.3, 2.5)))
        if process.poll() is None:
            children = workers_of(process.pid)
            killed = children[0] if children and rng.random() < 0.5 else process.pid
            with suppress(ProcessLookupError):  # a worker that had just ended
                os.kill(killed, signal.SIGKILL)
        if process.wait() == 0:  # it was faster: there is nothing to continue
            shutil.rmtree(out)
        else:
            kills += 1
    subprocess.run(command(folder, out), env=INTERPRETED, check=True, capture_output=True)
    assert files_of(out) == files_of(folder / "alone")
    assert len(read_scan(out).hits) > 0
