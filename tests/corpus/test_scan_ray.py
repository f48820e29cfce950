"""A scan on a ray cluster: the files of a scan alone, also when a node goes away; without ray, what to install."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
from make_shards import make_shards

from stillage.corpus import scan_ray
from stillage.corpus.scan import Hands, do_scan, plan_corpus_scan
from stillage.corpus.scan_plan import ScanSettings
from stillage.corpus.shards import open_shards
from stillage.errors import CapabilityError, ConfigError
from stillage.rng import generator

RNG = generator(2, "scan tests")
DOCUMENTS = [RNG.integers(0, 4, size) for size in RNG.integers(0, 60, 400)]
TARGETS = [[1, 2, 3, 0, 1, 2], [0, 0, 1, 1, 2, 2]]
NEAR = ScanSettings(max_distance=2, metric="both", tokens_per_part=60)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CapabilityError, match=r"pip install 'stillage\[ray\]'"):
        scan_ray.load_ray()


@pytest.mark.slow
def test_a_node_is_removed_and_the_files_are_those_of_a_scan_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    ray = scan_ray.load_ray()
    from ray.cluster_utils import Cluster

    make_shards(tmp_path / "shards", DOCUMENTS, vocab_size=6, shard_documents=150)
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(target) for target in TARGETS))
    planned = plan_corpus_scan(open_shards(tmp_path / "shards"), tmp_path / "t.jsonl", NEAR)
    do_scan(planned, tmp_path / "alone", Hands(jobs=1))
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # in the nodes' processes; numba is loaded here
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    node = cluster.add_node(num_cpus=1)
    out, said = tmp_path / "out", []
    try:
        hands = Hands(ray=cluster.address, progress=lambda name, facts: said.append(facts["done"]))
        scan = Thread(target=do_scan, args=(planned, out, hands))
        scan.start()
        while len(said) < 20:
            assert scan.is_alive()
            time.sleep(0.01)
        assert len(ray.nodes()) == 2
        cluster.remove_node(node, allow_graceful=False)
        assert scan.is_alive()
        scan.join(120)
        assert not scan.is_alive()
    finally:
        cluster.shutdown()
    assert files_of(out) == files_of(tmp_path / "alone")
    assert len(said) == len(planned.parts) > 100
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "foo bar", "ray://127.0.0.1:1", "127.0.0.1:port"]
)
def test_an_address_where_nobody_answers_is_refused_at_once(address: str) -> None:
    with pytest.raises(ConfigError, match=r"No ray cluster[\s\S]*ray start"):
        scan_ray.check_address(address)
