"""Several workers of one server: whichever is scraped tells of all of them, and what the dead leave is cleared away."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gateway_project import worker_metrics
from tests.fakes.catalogue import REFUSING_URL, Served, provider_slug, seed
from tests.live import until

AUTH = {"Authorization": "Bearer scrape-me-0123456789"}


def samples(gateway) -> list[Sample]:
    # A connection each, so that the kernel deals the scrapes out to the workers.
    with httpx.Client(base_url=gateway.url) as client:
        families = text_string_to_metric_families(client.get("/metrics", headers=AUTH).text)
        return [sample for family in families for sample in family.samples]


def value(gateway, name: str, **labels: str) -> float:
    return sum(
        sample.value for sample in samples(gateway) if sample.name == name and labels.items() <= sample.labels.items()
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
    assert not list(folder.glob(f"[ch]*_{victim}.db")), "what it has counted is with what all the dead have counted"
    assert list(folder.glob(f"counter_{survivor}.db"))
    assert value(gateway, "gateway_request_duration_seconds_bucket", model="w/ok", le="+Inf") == 20


def count(folder: Path, pid: int, **amounts: float) -> Path:
    """What worker `pid` has counted, in its file."""
    file = folder / f"counter_{pid}.db"
    values = MmapedDict(str(file))
    for name, amount in amounts.items():
        values.write_value(mmap_key(name, f"{name}_total", [], [], "Something."), amount, 0.0)
    values.close()
    (folder / f"worker-{pid}.lock").touch()
    return file


def counted(folder: Path) -> dict[str, float]:
    """As a scrape adds it up."""
    with worker_metrics.settled(folder):
        return {
            sample.name: sample.value
            for one in MultiProcessCollector(None, str(folder)).collect()
            for sample in one.samples
        }


def test_what_the_dead_have_counted_is_one_file(tmp_path):
    for pid in (11, 12, 13):
        count(tmp_path, pid, a=1.0, b=pid)
    living = count(tmp_path, 14, a=5.0)
    with (tmp_path / "worker-14.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(2):
            assert counted(tmp_path) == {"a_total": 8.0, "b_total": 36.0}
            assert sorted(tmp_path.glob("*.db")) == [living, tmp_path / "counter_dead.db"]
    assert counted(tmp_path) == {"a_total": 8.0, "b_total": 36.0}
    assert list(tmp_path.glob("*.db")) == [tmp_path / "counter_dead.db"]


@pytest.mark.parametrize("killed_at", ["rename", "unlink", "replace"])
def test_one_that_is_killed_while_it_adds_up_loses_and_doubles_nothing(tmp_path, monkeypatch, killed_at):
    count(tmp_path, 11, a=1.0)
    assert counted(tmp_path) == {"a_total": 1.0}
    left = count(tmp_path, 12, a=2.0)
    if killed_at == "rename":
        (tmp_path / "counter_12.partial").write_bytes(b"\x40\0\0\0half of it")
    else:
        worker_metrics._added(left)
        if killed_at == "replace":
            left.unlink()
    assert counted(tmp_path) == {"a_total": 3.0}
    assert list(tmp_path.glob("*.db")) == [tmp_path / "counter_dead.db"]


def test_whoever_reads_meanwhile_sees_every_count_once(tmp_path):
    count(tmp_path, 10, a=1.0)
    seen: list[list[float]] = []

    def read() -> None:
        seen.append([counted(tmp_path)["a_total"] for _ in range(20)])

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for pid in range(11, 31):
        with (tmp_path / "scrape.lock").open("a") as lock:  # a file is made whole here, as no worker's is read half made
            fcntl.flock(lock, fcntl.LOCK_EX)
            count(tmp_path, pid, a=1.0)
    for reader in readers:
        reader.join()
    assert counted(tmp_path) == {"a_total": 21.0}
    assert len(seen) == 4
    assert all(values == sorted(values) and values[-1] <= 21.0 for values in seen), "a counter never goes down"


def test_files_of_an_operators_folder_stay_as_they_are(tmp_path):
    file = count(tmp_path, 11, a=1.0)
    (tmp_path / "worker-11.lock").unlink()
    assert counted(tmp_path) == {"a_total": 1.0}
    assert list(tmp_path.glob("*.db")) == [file]


def test_what_is_switched_off_or_removed_is_in_nobodys_gauges(start_gateway, fake):
    """Whichever worker is scraped, and although the files of the others still hold what they had told."""
    ours = Served("ok", {"local": True}, base_url=REFUSING_URL)
    content = seed(fake, {"w/ok": "ok", "w/ours": ours, "w/refused": "status?code=401"})
    gateway = start_gateway(content, options=("--workers", "2"), METRICS_TOKEN="scrape-me-0123456789")
    engine, refused = provider_slug("w/ours"), provider_slug("w/refused")

    def seen(name: str, **labels: str) -> int:
        """How many series."""
        return sum(1 for sample in samples(gateway) if sample.name == name and labels.items() <= sample.labels.items())

    until(lambda: seen("gateway_engine_up", provider=engine), "the engine is seen to be down")
    until(lambda: seen("gateway_provider_keys_out", provider=refused) == 2, "keys are watched")
    assert value(gateway, "gateway_engine_up", provider=engine) == 0

    operate = "from catalog.models import Adapter, Provider; "
    off = f"Provider.objects.filter(slug='{engine}').update(is_enabled=False); "
    away = (
        f"Adapter.objects.filter(provider__slug='{refused}').delete(); Provider.objects.filter(slug='{refused}').delete()"
    )
    gateway.manage("shell", "-v", "0", "-c", operate + off + away)
    until(lambda: not seen("gateway_engine_up"), "the engine is nowhere", 15)
    until(lambda: not seen("gateway_provider_keys_out", provider=refused), "the keys are nowhere", 15)
    until(lambda: not seen("gateway_breaker_state", provider=refused), "the breaker is nowhere", 15)
    for _ in range(10):
        assert not seen("gateway_engine_up")
        assert not seen("gateway_breaker_state", provider=engine)
        assert seen("gateway_breaker_state", provider=provider_slug("w/ok")) == 1
    gateway.manage("shell", "-v", "0", "-c", operate + off.replace("False", "True"))
    until(lambda: seen("gateway_engine_up", provider=engine), "it is watched again", 15)
    assert value(gateway, "gateway_engine_up", provider=engine) == 0


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
