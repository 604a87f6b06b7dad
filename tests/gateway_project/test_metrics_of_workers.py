"""Several workers of one server: whichever is scraped tells of all of them, and what the dead leave is cleared away."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway_project import worker_metrics
from tests.fakes.catalogue import seed
from tests.live import until

AUTH = {"Authorization": "Bearer scrape-me-0123456789"}


def value(gateway, name: str, **labels: str) -> float:
    # A connection each, so that the kernel deals the scrapes out to the workers.
    with httpx.Client(base_url=gateway.url) as client:
        families = text_string_to_metric_families(client.get("/metrics", headers=AUTH).text)
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_all_workers_are_added_up_and_a_dead_one_leaves_no_gauge(start_gateway, fake):
    gateway = start_gateway(
        seed(fake, {"w/ok": "ok?tokens=5"}), options=("--workers", "2"), METRICS_TOKEN="scrape-me-0123456789"
    )
    until(lambda: value(gateway, "gateway_models") == 1, "a worker has sampled")
    body = {"model": "w/ok", "messages": [{"role": "user", "content": "hello"}]}
    for _ in range(20):
        with httpx.Client(base_url=gateway.url) as client:
            assert client.post("/v1/chat/completions", json=body).status_code == 200
    # The other worker gives its share within one sampling.
    until(lambda: value(gateway, "gateway_requests_total", model="w/ok") == 20, "all requests are counted", 8)
    assert value(gateway, "gateway_request_duration_seconds_count", model="w/ok") == 20
    assert value(gateway, "gateway_request_duration_seconds_bucket", model="w/ok", le="+Inf") == 20
    assert value(gateway, "gateway_tokens_total", **{"class": "completion"}) == 100
    assert value(gateway, "gateway_models") == 1

    (folder,) = (gateway.directory / "metrics").glob("server-*[0-9]")
    victim, survivor = (int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_livesum_*.db"))
    os.kill(victim, signal.SIGKILL)
    # The server takes notice twice a second, starts another, and meanwhile the kernel may deal connections to the dead.
    until(lambda: is_gone(victim), "it is dead", 10)
    with contextlib.suppress(httpx.TransportError):
        value(gateway, "gateway_models")
    until(lambda: not list(folder.glob(f"gauge_live*_{victim}.db")), "its gauges are gone")
    assert list(folder.glob(f"gauge_live*_{survivor}.db"))
    assert value(gateway, "gateway_requests_total", model="w/ok") == 20


def test_a_server_of_one_process_keeps_its_metrics_in_memory(tmp_path, monkeypatch):
    monkeypatch.delenv(worker_metrics.VARIABLE, raising=False)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)
    assert worker_metrics.share(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_what_an_operator_has_set_stays(tmp_path, monkeypatch):
    monkeypatch.setenv(worker_metrics.VARIABLE, "/srv/metrics")
    assert str(worker_metrics.share(tmp_path)) == "/srv/metrics"


SHARE = """
import multiprocessing, os, sys
from pathlib import Path
from gateway_project import worker_metrics
class Server: pid = int(sys.argv[2])
multiprocessing.parent_process = lambda: Server
print(worker_metrics.share(Path(sys.argv[1])))
"""


def share(var_dir, server: int) -> str:
    run = subprocess.run(
        [sys.executable, "-c", SHARE, str(var_dir), str(server)], capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


@pytest.mark.parametrize("next_server", [41, 42], ids=["another id", "the same id, as in a container"])
def test_the_files_of_a_dead_server_are_removed_those_of_a_living_one_are_not(tmp_path, next_server):
    dead, living = tmp_path / "metrics" / "server-42", tmp_path / "metrics" / "server-43"
    for folder in (dead, living):
        folder.mkdir(parents=True)
        folder.with_suffix(".lock").touch()
        (folder / "counter_7.db").touch()
    with living.with_suffix(".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        assert share(tmp_path, next_server) == str(tmp_path / "metrics" / f"server-{next_server}")
    assert not (dead / "counter_7.db").exists()
    assert (living / "counter_7.db").exists()
