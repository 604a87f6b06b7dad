"""How kept connections end at a shutdown: no request that is under way to one is lost."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from gateway_project import connection
from gateway_project.connection import PatientConnection
from tests.live import free_port, until


class Server:
    """uvicorn in a thread, over an application that answers in two parts, the second one when it may."""

    def __init__(self) -> None:
        self.port = free_port()
        self.may_end = threading.Event()
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
        headers = [(b"content-length", b"10")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        while scope["path"] == "/slow" and not self.may_end.is_set():
            await asyncio.sleep(0.005)
        await send({"type": "http.response.body", "body": b" last", "more_body": False})

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
