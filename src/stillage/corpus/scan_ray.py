"""The parts of a scan on a ray cluster: the same task, wherever a core is free.

Shards and scan folder are on a file system that every node sees under the same path. A part whose
node or process dies is done again elsewhere; two that write one part write the same bytes.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from stillage.corpus.scan_parts import Part
from stillage.corpus.scan_processes import Heard, facts_in
from stillage.corpus.scan_task import ScanJob, scanner
from stillage.errors import CapabilityError, ConfigError, Interrupted, UserError, first_line

AUTO = "auto"
ANSWER_S = 10.0
RETRIES = 20
"""How often a part is done again because its process or node died."""
AHEAD = 2
"""Parts in ray's hands for each core: enough that none waits, few enough to end soon."""


def load_ray() -> Any:  # noqa: ANN401 - a module that need not be there
    """Import ray, which then tells nobody that it is used. CapabilityError without it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # else each task warns of a change of defaults to come
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        fix = "pip install 'stillage[ray]', or leave --ray out: the processes of one machine do it."
        raise CapabilityError("ray is not installed.", f"--ray: {error}", fix) from error
    return ray


@contextmanager
def cluster(address: str, jobs: int) -> Iterator[Any]:
    """Join the cluster at an address; auto: the one that runs here, or one of our own.

    A cluster that this process has joined already is used as it is. Yields ray.
    """
    check_address(address)
    ray = load_ray()
    if ray.is_initialized():
        yield ray
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(address=address, **quiet)
    except ConnectionError as error:
        if address != AUTO:
            raise no_cluster(address, error) from error
        ray.init(address="local", num_cpus=jobs, include_dashboard=False, **quiet)
    try:
        yield ray
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Refuse an address where nobody answers; ray itself would try for many minutes."""
    if address == AUTO:
        return
    try:
        place = urlsplit(address if "://" in address else f"ray://{address}")
        socket.create_connection((place.hostname, place.port or 0), ANSWER_S).close()
    except (OSError, ValueError) as error:
        raise no_cluster(address, error) from error


def no_cluster(address: str, error: Exception) -> ConfigError:
    """What is said of an address where there is no cluster."""
    fix = "Give the HOST:PORT that `ray start --head` printed, or auto."
    values = f"--ray {address}: {first_line(error)}"
    return ConfigError("No ray cluster answers at this address.", values, fix)


def on_ray(
    parts: Sequence[Part],
    job: ScanJob,
    plan_hash: str,
    heard: Heard,
    ray: Any,  # noqa: ANN401
) -> None:
    """Scan parts on the cluster that ray has joined; the caller hears of each.

    Interrupted where a part's process died RETRIES times; a user's error where a task met one.
    """
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(do_part)
    waiting, running = deque(parts), []
    try:
        while waiting or running:
            cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
            room = min(cpus * AHEAD - len(running), len(waiting))
            running += [task.remote(job, plan_hash, waiting.popleft()) for _ in range(room)]
            done, running = ray.wait(running, num_returns=1, timeout=1.0)
            for ready in done:
                heard(facts_in(task_answer(ray, ready)))
    finally:
        for left in running:
            ray.cancel(left, force=True)


def task_answer(ray: Any, ready: Any) -> dict[str, Any]:  # noqa: ANN401 - ray's own
    """What a task said. Interrupted where ray gave it up."""
    errors = ray.exceptions
    try:
        return ray.get(ready)
    except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError) as error:
        raise Interrupted(
            f"ray gave a part up after {RETRIES} tries.",
            first_line(error),
            "Look at the nodes' memory and disks; the same command continues.",
        ) from error


def do_part(job: ScanJob, plan_hash: str, part: Part) -> dict[str, Any]:
    """Do one part on some node; an error of the user's is an answer too."""
    try:
        if not job.folder.is_dir():
            values = f"{job.folder} is not there on {os.uname().nodename}"
            fix = "Keep shards and --out on a file system that every node sees under one path."
            raise ConfigError("A node of the cluster does not see the scan.", values, fix)
        return {"facts": asdict(scanner(job, plan_hash).do(part))}
    except UserError as error:
        return {"error": error.args, "exit_code": error.exit_code}
