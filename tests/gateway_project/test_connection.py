"""How connections answer and end: whole answers by one write, as uvicorn would give them; no request lost at a shutdown."""

from __future__ import annotations

import asyncio
import gc
import http.client
import re
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from prometheus_client import REGISTRY
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway_project import connection
from gateway_project.connection import WHOLE, PatientConnection
from tests.live import free_port, until

CLOSE = "connection: close\r\n"
ANSWERS: dict[str, tuple[int, list[tuple[bytes, bytes]], bytes]] = {
    "/good": (200, [(b"content-type", b"application/json"), (b"x-request-id", b"gen-1")], b'{"answer": 42}'),
    "/refused": (429, [(b"retry-after", b"1")], b"{}"),
    "/empty": (200, [], b""),
    "/closing": (413, [(b"connection", b"close")], b"{}"),
    "/broken": (200, [(b"x-title", b"a\r\nset-cookie: stolen=1")], b"{}"),
    "/large": (200, [], b"0123456789" * 2_000_000),
}


class Server:
    """uvicorn in a thread, over an application that answers in two parts, the second one when it may; or whole at once.

    `by_one_write` tells of each answer that was to go by one write whether it did; `taken` is the body of each request to /taken,
    None where it had to be received.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.may_end = threading.Event()
        self.by_one_write: list[bool] = []
        self.taken: list[bytes | None] = []
        config = uvicorn.Config(
            self._answer,
            host="127.0.0.1",
            port=self.port,
            http=PatientConnection,
            interface="asgi3",
            lifespan="off",
            log_config=None,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        until(lambda: self._server.started, "the server listens")

    async def _answer(self, scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        if scope["path"] in ANSWERS:
            await self._answer_whole(scope, send)
            return
        if scope["path"] == "/taken":
            self.taken.append(scope["extensions"][WHOLE]["receive"](10))
            if self.taken[-1] is None:
                while (await receive())["more_body"]:
                    pass
            ended = asyncio.create_task(receive())
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
            assert not ended.done()
            await send({"type": "http.response.body", "body": b"taken"})
            assert (await ended)["type"] == "http.disconnect"
            return
        headers = [(b"content-length", b"10")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        while scope["path"] == "/slow" and not self.may_end.is_set():
            await asyncio.sleep(0.005)
        await send({"type": "http.response.body", "body": b" last", "more_body": False})

    async def _answer_whole(self, scope: Any, send: Callable[..., Any]) -> None:
        status, headers, content = ANSWERS[scope["path"]]
        headers = [*headers, (b"content-length", b"%d" % len(content))]
        if scope["query_string"] == b"at-once":
            self.by_one_write.append(scope["extensions"][WHOLE]["send"](status, headers, content))
            if self.by_one_write[-1]:
                return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def shut_down(self) -> None:
        """Begin to; gives when connections have been told, which happens together with the end of listening."""
        self._server.should_exit = True
        until(self._is_refusing, "new connections are refused")

    def _is_refusing(self) -> bool:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            client.connect()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            pass  # it was in the queue of the socket that is just being closed: the next one tells
        finally:
            client.close()
        return False

    def wait_for_the_end(self) -> None:
        self.may_end.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(connection, "LINGER_S", 5.0)
    running = Server()
    running.start()
    yield running
    running._server.should_exit = True
    running.wait_for_the_end()


@pytest.fixture
def client(server: Server) -> Iterator[http.client.HTTPConnection]:
    kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    yield kept
    kept.close()


def ask(client: http.client.HTTPConnection) -> tuple[bytes, str | None]:
    """The answer's body, and what it says of the connection."""
    client.request("GET", "/")
    response = client.getresponse()
    return response.read(), response.getheader("connection")


def test_an_idle_connection_is_answered_once_more_and_told_that_it_ends(server, client):
    assert ask(client) == (b"first last", None)
    server.shut_down()

    assert ask(client) == (b"first last", "close")
    server.wait_for_the_end()


def test_a_connection_whose_answer_had_begun_takes_one_more_request(server, client):
    client.request("GET", "/slow")
    response = client.getresponse()
    assert response.read(5) == b"first"
    server.shut_down()
    server.may_end.set()
    assert response.read() == b" last"

    assert ask(client) == (b"first last", "close")
    server.wait_for_the_end()


def test_a_client_that_asks_for_no_more_does_not_hold_the_shutdown_up(server, client, monkeypatch):
    monkeypatch.setattr(connection, "LINGER_S", 0.05)
    assert ask(client) == (b"first last", None)
    server.shut_down()

    server.wait_for_the_end()


def test_a_client_that_wanted_its_connection_closed_has_it_closed(server, client):
    client.request("GET", "/slow", headers={"Connection": "close"})
    response = client.getresponse()
    assert response.getheader("connection") == "close"
    server.shut_down()
    server.may_end.set()
    assert response.read() == b"first last"

    server._thread.join(3)
    assert not server._thread.is_alive(), "nothing lingers for a client that will not return"


# --- whole answers ----------------------------------------------------------------------------------------------------


def exchange(port: int, *requests: bytes) -> bytes:
    """Everything that comes back for `requests`, sent at once, until the server closes the connection; without the date."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as opened:
        opened.sendall(b"".join(requests))
        parts = iter(lambda: opened.recv(1 << 20), b"")
        return re.sub(rb"date: [^\r]*\r\n", b"", b"".join(parts))


def request(path: str, *, method: str = "GET", version: str = "1.1", headers: str = "") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nhost: localhost\r\n{headers}\r\n".encode()


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"method": "HEAD"},
        {"version": "1.0"},
        {"headers": CLOSE},
        {"headers": "expect: 100-continue\r\n"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/good", "/refused", "/empty", "/closing", "/broken"])
def test_an_answer_by_one_write_is_the_one_that_uvicorn_would_write(server: Server, path: str, how: dict[str, str]) -> None:
    last = request("/good", headers=CLOSE)

    at_once = exchange(server.port, request(f"{path}?at-once", **how), last)

    assert at_once == exchange(server.port, request(path, **how), last)
    assert at_once.startswith(b"HTTP/1.1 ") or path == "/broken"
    assert b"stolen" not in at_once


def test_a_usual_answer_goes_by_one_write(server: Server) -> None:
    exchange(server.port, request("/good?at-once"), request("/refused?at-once"), request("/good", headers=CLOSE))

    assert server.by_one_write == [True, True]


def test_nothing_of_a_request_is_left_to_the_garbage_collector(server: Server) -> None:
    def alive() -> int:
        return sum(isinstance(each, RequestResponseCycle) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()
        exchange(server.port, *[request("/good?at-once")] * 20, request("/good", headers=CLOSE))
        until(lambda: alive() <= before + 1, "all but the connection's last request are gone")
    finally:
        gc.enable()


def test_an_answer_waits_for_a_client_that_has_not_read_the_one_before(server: Server) -> None:
    content = ANSWERS["/large"][2]

    answers = exchange(server.port, request("/large?at-once"), request("/large?at-once"), request("/good", headers=CLOSE))

    assert server.by_one_write == [True, False]
    assert answers.count(content) == 2


# --- no requests ---


def test_what_is_refused_before_it_is_a_request_is_counted_as_its_senders_error(server: Server) -> None:
    labels = {"model": "other", "provider": "none", "domain": "caller", "error_type": "invalid_request"}

    def refused() -> float:
        return REGISTRY.get_sample_value("gateway_errors_total", labels) or 0

    before = refused()
    assert exchange(server.port, b"GARBAGE\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert refused() == before + 1


# --- whole requests ---------------------------------------------------------------------------------------------------


def sent(content: bytes, headers: str = "") -> bytes:
    return request("/taken", method="POST", headers=f"content-length: {len(content)}\r\n{headers}") + content


def test_a_body_that_is_there_is_taken_at_once(server: Server) -> None:
    answers = exchange(server.port, sent(b"0123456789"), sent(b""), sent(b"last", CLOSE))

    assert answers.count(b"taken") == 3
    assert server.taken == [b"0123456789", b"", b"last"]


def test_a_body_that_is_larger_than_the_limit_is_left_to_be_received(server: Server) -> None:
    answers = exchange(server.port, sent(b"0123456789a"), sent(b"last", CLOSE))

    assert answers.count(b"taken") == 2
    assert server.taken == [None, b"last"]


def test_a_body_that_is_still_on_its_way_is_left_to_be_received(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as opened:
        opened.sendall(sent(b"0123456789")[:-5])
        until(lambda: server.taken == [None], "the first part has arrived")
        opened.sendall(b"56789")

        assert opened.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_a_client_that_waits_to_be_told_to_continue_is_told(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as opened:
        opened.sendall(sent(b"0123456789", "expect: 100-continue\r\n")[:-10])

        assert opened.recv(1 << 16).startswith(b"HTTP/1.1 100 Continue")
        opened.sendall(b"0123456789")
        assert opened.recv(1 << 16).startswith(b"HTTP/1.1 200")
