"""CPU time of one whole chat request, from the caller's bytes to the row in the database: everything on, as in production.

    uv run python -m tests.benchmarks.request_cost [--rounds 5]

Goal: at most 500 microseconds, of one worker with 32 callers at once. The gateway, the provider (`transport_cost`) and the callers
are processes of their own; only the gateway's time counts, of all its threads, system calls included. Unlike requests per second it
hardly depends on what else the machine does, though caches are colder on busy cores: compare figures of a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import uvloop

from tests.benchmarks import transport_cost
from tests.live import Gateway

CALLERS, ROUND_S = 32, 3.0
MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Say hello to everyone in the room. Say hello to everyone in the room."},
]
BODY = json.dumps({"model": "bench", "max_tokens": 64, "temperature": 0.7, "messages": MESSAGES}).encode()
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


class Caller(asyncio.Protocol):
    """Asks again as soon as it is answered, and counts in `answered`. Anything but 200 is an error."""

    answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""
        self._transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if not length or len(body) < int(length):
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            raise AssertionError(self._received)
        Caller.answered += 1
        self._received = b""
        self._transport.write(REQUEST)


def call(port: int, answered_to: Connection) -> None:
    """Call the gateway at `port` for ROUND_S, and tell how often it answered."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CALLERS):
            await loop.create_connection(Caller, "127.0.0.1", port)
        await asyncio.sleep(ROUND_S)

    uvloop.run(run())
    answered_to.send(Caller.answered)


@contextmanager
def process(target: Callable[..., None], *arguments: object) -> Iterator[Connection]:
    """`target` in a process of its own, given one end of a pipe; the other end is ours."""
    ours, theirs = multiprocessing.Pipe()
    running = multiprocessing.Process(target=target, args=(*arguments, theirs), daemon=True)
    running.start()
    try:
        yield ours
    finally:
        running.terminate()
        running.join()


def cpu_s(pid: int) -> float:
    """What a process and its threads have used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def round_us(gateway: Gateway) -> tuple[float, float]:
    """Microseconds a request, and requests a second, of one round."""
    before, began = cpu_s(gateway.pid), time.monotonic()
    with process(call, gateway.port) as answered_from:
        answered: int = answered_from.recv()
    took_s = time.monotonic() - began
    return (cpu_s(gateway.pid) - before) / answered * 1e6, answered / took_s


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help=f"rounds of {ROUND_S:g} s, the first of them for warming up")
    options = parser.parse_args()
    with process(transport_cost.serve) as port_from, TemporaryDirectory() as directory:
        provider = {"kind": "bench", "base_url": f"http://127.0.0.1:{port_from.recv()}/v1", "api_key": ""}
        model = {
            "id": "bench",
            "name": "Bench",
            "pricing": {"prompt": "0.000001", "completion": "0.000002"},
            "route": [{"kind": "bench", "provider_model_id": "bench"}],
        }
        with Gateway(Path(directory), {"providers": [provider], "models": [model]}) as gateway:
            for number in range(options.rounds):
                microseconds, rate = round_us(gateway)
                print(f"round {number}: {microseconds:5.0f} us CPU a request, {rate:5.0f} requests a second")  # noqa: T201


if __name__ == "__main__":
    main()
