"""What the supervisor is told and holds, with a real gateway under one that does what systemd does."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

import httpx
import pytest

from gateway_project import supervisor
from tests.deploy.supervision import workers_of
from tests.live import until


def test_it_is_told_of_readiness_and_of_the_end(supervise):
    gateway = supervise()
    gateway.wait_for("READY=1")
    assert not gateway.heard("STOPPING=1")
    assert gateway.terminate() == 0
    assert gateway.heard("STOPPING=1")


def test_restarts_refuse_no_connection_while_systemd_holds_the_socket(supervise):
    gateway = supervise()
    statuses: list[int] = []
    is_over = threading.Event()

    def ask():
        while not is_over.is_set():
            statuses.append(httpx.get(f"{gateway.url}/health/live", timeout=20).status_code)
            time.sleep(0.02)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        gateway.signal(signal.SIGHUP)  # what `systemctl reload` sends; one process alone ends and is started again
        assert gateway.wait_for_the_end() == 0
        answered = len(statuses)
        gateway.start()
        until(lambda: len(statuses) > answered + 3, "requests are answered again", 10)
    finally:
        is_over.set()
        asking.join()
    assert set(statuses) == {200}


def test_workers_are_replaced_one_by_one_on_reload(supervise):
    gateway = supervise("--workers", "2")
    gateway.wait_for("READY=1")
    before = workers_of(gateway.pid)
    gateway.signal(signal.SIGHUP)
    until(lambda: len(now := workers_of(gateway.pid)) == len(before) and not now & before, "two new workers", 40)
    assert gateway.client.get("/health/ready").status_code == 200
    assert not gateway.heard("STOPPING=1"), "a worker's end was taken for the service's"
    assert gateway.terminate() == 0


def test_a_loop_that_beats_lives_and_one_that_stands_still_is_ended_with_a_trace(supervise):
    gateway = supervise(WATCHDOG_USEC="1500000")
    gateway.wait_for("WATCHDOG=1")
    gateway.states.clear()
    gateway.wait_for("WATCHDOG=1")
    time.sleep(1.6)
    assert gateway.client.get("/health/live").status_code == 200
    # Stopping the whole process is the only standstill that can be had from outside; the timer is due when it goes on.
    gateway.signal(signal.SIGSTOP)
    time.sleep(1.6)
    gateway.signal(signal.SIGCONT)
    assert gateway.wait_for_the_end() == 1
    assert "Timeout (0:00:01.35" in gateway.log
    assert "most recent call first" in gateway.log


def test_a_socket_for_another_process_is_left_alone():
    assert supervisor.inherited_socket({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) is None
    assert supervisor.inherited_socket({}) is None


def test_two_sockets_are_refused_with_the_cure():
    with pytest.raises(supervisor.UnusableSockets, match="keep one ListenStream="):
        supervisor.inherited_socket({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"})


def test_only_the_main_process_says_that_the_service_ends(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.setblocking(False)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "SYSTEMD_EXEC_PID": "1"}
        supervisor.stopping(environment)
        with pytest.raises(BlockingIOError):
            told.recv(100)
        supervisor.stopping({**environment, "SYSTEMD_EXEC_PID": str(os.getpid())})
        assert told.recv(100).startswith(b"STOPPING=1\n")


def test_a_supervisor_that_is_away_is_no_reason_to_fail(tmp_path, caplog):
    assert supervisor.notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")}) is False
    assert "was not told READY=1" in caplog.text


@pytest.mark.parametrize(("raw", "limit_s"), [("30000000", 30.0), ("0", None), ("", None), ("soon", None)])
def test_the_watchdogs_limit_is_systemds(raw, limit_s):
    assert supervisor.watchdog_limit_s({"WATCHDOG_USEC": raw}) == limit_s
