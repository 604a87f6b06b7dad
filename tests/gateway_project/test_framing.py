"""Where requests and answers end, over real sockets: offered upgrades, trailers, clients of HTTP/1.0."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn

from gateway_project.connection import PatientConnection
from tests.live import free_port, until

OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
SMUGGLED = b"POST /smuggled HTTP/1.1\r\nHost: gateway\r\nX-Forwarded-For: 10.0.0.1\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Heard:
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Server:
    """uvicorn in a thread, over an application that remembers what it heard and answers with the body in two parts."""

    def __init__(self) -> None:
        self.port = free_port()
        self.heard: list[Heard] = []
        config = uvicorn.Config(
            self._answer, host="127.0.0.1", port=self.port, http=PatientConnection, interface="asgi3", ws="none",
            lifespan="off", log_config=None,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        until(lambda: self._server.started, "the server listens")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()

    async def _answer(self, scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        body, is_more = b"", True
        while is_more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, is_more = body + message["body"], message["more_body"]
        self.heard.append(Heard(scope["path"], list(scope["headers"]), body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"heard ", "more_body": True})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    @property
    def paths(self) -> list[str]:
        return [each.path for each in self.heard]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def exchange(port: int, *segments: bytes) -> bytes:
    """All that comes back for `segments`, each sent by itself, until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for segment in segments:
            opened.sendall(segment)
            if len(segments) < 10:
                time.sleep(0.05)
        return b"".join(iter(lambda: opened.recv(1 << 16), b""))


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def whole(head: bytes, body: bytes) -> list[bytes]:
    return [head + body]


def head_and_body(head: bytes, body: bytes) -> list[bytes]:
    return [head, body]


def byte_by_byte(head: bytes, body: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in head + body]


@dataclass(frozen=True)
class Framed:
    header: bytes
    body: bytes


def by_length(content: bytes) -> Framed:
    return Framed(b"Content-Length: %d\r\n" % len(content), content)


def by_chunks(content: bytes) -> Framed:
    first, second = content[:3], content[3:]
    body = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(first), first, len(second), second)
    return Framed(b"Transfer-Encoding: chunked\r\n", body)


# --- offered upgrades -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [whole, head_and_body, byte_by_byte])
@pytest.mark.parametrize("framed", [by_length, by_chunks])
@pytest.mark.parametrize("content", [b'{"model": "m"}', SMUGGLED], ids=["JSON", "a request in the body"])
def test_a_request_that_offers_an_upgrade_is_served_as_if_it_did_not(server, cut, framed, content):
    body = framed(content)
    head = b"POST /asked HTTP/1.1\r\nHost: gateway\r\n" + OFFER + body.header + b"\r\n"

    answers = exchange(server.port, *cut(head, body.body), LAST)

    assert server.paths == ["/asked", "/last"], "and nothing of the body was taken for a request"
    assert server.heard[0].body == content
    assert b"upgrade" not in dict(server.heard[0].headers)
    assert statuses(answers) == [200, 200]


def test_requests_behind_one_that_offers_an_upgrade_are_answered_in_order(server):
    offering = b"GET /%d HTTP/1.1\r\nHost: gateway\r\n" + OFFER + b"\r\n"

    answers = exchange(server.port, b"".join(offering % number for number in range(50)) + LAST)

    assert re.findall(rb"heard |/\w+(?=\r)", answers)[1::2] == [*(b"/%d" % number for number in range(50)), b"/last"]


def test_a_websocket_is_not_opened(server, caplog):
    offer = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    with caplog.at_level(logging.WARNING):
        answers = exchange(server.port, b"GET /socket HTTP/1.1\r\nHost: gateway\r\n" + offer + b"\r\n")

    assert statuses(answers) == [200]
    assert server.paths == ["/socket"]
    assert caplog.text == ""


def test_a_client_that_offers_an_upgrade_and_waits_to_be_told_to_continue_is_told(server):
    head = b"POST /asked HTTP/1.1\r\nHost: gateway\r\nExpect: 100-continue\r\nContent-Length: 2\r\n" + OFFER + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as opened:
        opened.sendall(head)
        assert opened.recv(1 << 16).startswith(b"HTTP/1.1 100 Continue")
        opened.sendall(b"{}")
        assert opened.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    assert server.heard[0].body == b"{}"


@pytest.mark.parametrize("framing", [b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 2\r\n" * 2])
def test_an_offer_hides_no_contradiction_of_lengths(server, framing):
    answers = exchange(server.port, b"POST /asked HTTP/1.1\r\nHost: gateway\r\n" + OFFER + framing + b"\r\n{}" + LAST)

    assert statuses(answers) == [400]
    assert server.paths == []


@pytest.mark.parametrize("target", [b"example.com:443", b"/v1/models"])
def test_a_tunnel_is_refused_and_what_was_sent_into_it_is_not_read(server, target):
    answers = exchange(server.port, b"CONNECT " + target + b" HTTP/1.1\r\nHost: gateway\r\n\r\n" + SMUGGLED + LAST)

    assert statuses(answers) == [400]
    assert b"no proxy" in answers
    assert server.paths == []


# --- trailers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [whole, head_and_body, byte_by_byte])
def test_trailers_are_no_headers(server, cut):
    head = b"POST /asked HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
    trailers = b"Authorization: Bearer stolen\r\nX-Forwarded-For: 10.0.0.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"

    exchange(server.port, *cut(head, b"2\r\n{}\r\n0\r\n" + trailers + b"\r\n"), LAST)

    assert server.paths == ["/asked", "/last"]
    assert server.heard[0].body == b"{}"
    assert server.heard[0].headers == [(b"host", b"gateway"), (b"transfer-encoding", b"chunked")]
    assert server.heard[1].headers == [(b"host", b"gateway"), (b"connection", b"close")]


# --- clients of HTTP/1.0 ----------------------------------------------------------------------------------------------


def test_an_answer_to_a_client_of_http_1_0_ends_with_the_connection(server):
    head, _, body = exchange(server.port, b"GET /old HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")

    assert body == b"heard /old"
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head


def test_an_answer_to_any_other_client_comes_in_chunks(server):
    head, _, body = exchange(server.port, LAST).partition(b"\r\n\r\n")

    assert b"transfer-encoding: chunked" in head
    assert body.endswith(b"0\r\n\r\n")
