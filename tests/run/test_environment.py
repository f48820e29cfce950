"""What env.json says of a machine, and what it does not."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sys

import pytest

from stillage.run import environment as module
from stillage.run.environment import cpu_count, environment, package_versions


def test_versions_are_those_installed_and_what_is_not_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PACKAGES", ("numpy", "no-such-package-at-all"))
    import numpy as np

    assert package_versions() == {"numpy": np.__version__, "no-such-package-at-all": "missing"}


def test_no_user_and_no_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    text = json.dumps(environment())
    assert "hf_secret" not in text and socket.gethostname() not in text
    assert getpass.getuser() not in json.dumps(environment()["platform"]) or os.getuid() == 0
    assert sys.version.split()[0] in text


def test_processors_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= cpu_count() <= (os.cpu_count() or 1)
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.delattr(os, "sched_getaffinity")
        assert cpu_count() == os.cpu_count()
