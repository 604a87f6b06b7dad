"""What clients see of a server that ends: running answers, new connections, and the end of its patience."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable

import httpx
import pytest

from tests.deploy.supervision import Served
from tests.fakes.call import Call
from tests.fakes.catalogue import seed
from tests.fakes.provider import FakeProvider
from tests.live import until

MODELS = {
    "fake/long": "ok?tokens=60&delay=0.1",
    "fake/endless": "ok?tokens=600&delay=0.1",
    "fake/huge": "huge?kb=65536",
}
Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path, fake: FakeProvider, migrated_database):
    started: list[Served] = []

    def start(*options: str, **environment: str) -> Served:
        gateway = Served(tmp_path / "gateway", seed(fake, MODELS), environment, database=migrated_database, options=options)
        started.append(gateway)
        return gateway.__enter__()

    yield start
    for gateway in started:
        gateway.__exit__()


def chat(model: str) -> dict[str, object]:
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": "x"}]}


def is_refusing(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one worker", "two workers"])
def test_new_connections_are_refused_while_the_last_answers_end(serve: Serve, options):
    gateway = serve(*options)
    with gateway.client.stream("POST", "/v1/chat/completions", json=chat("fake/long")) as response:
        lines = response.iter_lines()
        next(lines)
        gateway.signal(signal.SIGTERM)
        until(lambda: is_refusing(gateway.port), "new connections are refused", 2)
        rest = list(lines)
    assert len(rest) > 20, "it refused while the answer went on, and not because it had ended"
    assert rest[-2:] == ["data: [DONE]", ""]
    assert gateway.wait_for_the_end() == 0
    assert "Traceback" not in gateway.log


def test_connections_that_systemd_takes_wait_for_the_next_start(supervise):
    gateway = supervise("--workers", "2")
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_for_the_end() == 0
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as early:
        early.sendall(b"GET /health/live HTTP/1.1\r\nHost: gateway\r\n\r\n")
        gateway.start()
        assert early.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_a_stream_that_outlasts_the_grace_ends_with_an_error_and_as_a_whole_body(serve: Serve):
    gateway = serve(SHUTDOWN_GRACE_S="1")
    with gateway.client.stream("POST", "/v1/chat/completions", json=chat("fake/endless")) as response:
        lines = response.iter_lines()
        next(lines)
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        try:
            events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        except httpx.RemoteProtocolError as error:
            pytest.fail(f"the body was not ended: {error}")
    assert time.monotonic() - began < 5
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["error"]["code"] == 503
    assert gateway.wait_for_the_end() == 0
    assert "Traceback" not in gateway.log
    assert gateway.log.count("a stream was cut off") == 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/admin/login/"], ids=["lean lane", "Django's lane"])
def test_a_body_that_is_not_complete_by_the_end_of_the_grace_is_refused_in_the_envelope(serve: Serve, path):
    gateway = serve(SHUTDOWN_GRACE_S="1")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as slow:
        head = f"POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        slow.sendall(head.encode() + b'{"model": ')
        gateway.signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: slow.recv(1 << 16), b""))
    told, _, content = answer.partition(b"\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in told.lower()
    assert "shutting down" in json.loads(content)["error"]["message"]
    assert gateway.wait_for_the_end() == 0
    assert "Traceback" not in gateway.log


def test_a_stream_that_nobody_reads_is_recorded_although_its_body_cannot_be_ended(serve: Serve, fake, marker):
    gateway = serve(SHUTDOWN_GRACE_S="1")
    body = json.dumps({**chat("fake/huge"), "user": marker}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", gateway.port))
        stalled.sendall(head % len(body) + body)
        call = fake.call_with(marker)
        until(lambda: call.events_sent and call.events_sent == _a_moment_later(call), "nothing more fits into the sockets")
        gateway.signal(signal.SIGTERM)
        gateway.wait_for_the_end()
    assert "could not be recorded" not in gateway.log
    assert gateway.row(user_id=marker)["status_code"] == 499


def _a_moment_later(call: Call) -> int:
    time.sleep(0.3)
    return call.events_sent
