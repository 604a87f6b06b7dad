"""A provider's list of models on a real socket, in whatever form and with whatever fault a test asks for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One request. `query` has the last value of each parameter."""

    server: ListServer

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def do_GET(self) -> None:
        self.server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.server.answer(self)

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests print nothing."""


class ListServer(ThreadingHTTPServer):
    """Answers every request by `answer`, and keeps each one's path and headers in `seen`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.answer: Answer = document({"data": []})
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join(5)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle is what some tests are about."""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


def document(value: Any) -> Answer:
    """`value` as JSON."""
    return lambda handler: handler.send(json.dumps(value).encode())


def raw(body: bytes, status: int = 200, **headers: str) -> Answer:
    return lambda handler: handler.send(body, status, **headers)


def paged(parameter: str, pages: dict[str, Any]) -> Answer:
    """The page whose name the query has under `parameter`; "" is the first."""
    return lambda handler: handler.send(json.dumps(pages[handler.query.get(parameter, "")]).encode())


def dripping(body: bytes, pause_s: float) -> Answer:
    """`body` byte by byte, each after a pause: never silent for long, and never done."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for byte in body:
            time.sleep(pause_s)
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()

    return answer


def breaking_off(body: bytes) -> Answer:
    """Half of what it announces."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(2 * len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer
