"""CPU time of one call of a provider: `Upstream.send` to the last byte read, without anything above it.

    uv run python -m tests.benchmarks.transport_cost

Goals: at most 60 microseconds for a whole answer, at most 5 more for each streamed chunk. The provider is a process of its own that
answers at once; the chunks of a stream come as the kernel hands them over, several to a read. Figures are the least of many short
runs in process time of this side (system calls included), so that other work on the machine counts little.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import cast

import uvloop

from completions.dialects.base import Encoded
from completions.upstream import Upstream, prepare
from tests.routingapp.world import adapter, provider

RUNS, CALLS, AT_ONCE = 30, 100, 32
BODY = json.dumps(
    {"id": "chatcmpl-1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello. " * 10}}]}
)
ANSWER = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}".encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": " token"}, "finish_reason": null}]}\n\n'


class Provider(asyncio.Protocol):
    """Answers a body of digits with a stream of that many chunks, any other with ANSWER. Requests come in one piece here."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        body = data.partition(b"\r\n\r\n")[2]
        if not body.isdigit():
            self.transport.write(ANSWER)
            return
        self.transport.write(HEAD)
        for _ in range(int(body)):
            self.transport.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
        self.transport.write(b"0\r\n\r\n")


def serve(port_to: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0)
        port_to.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


async def least_us(work: Callable[[], Awaitable[object]], repeats: int) -> float:
    """Microseconds of one of the `repeats` things that the fastest run of `work` does."""
    least = float("inf")
    for _ in range(RUNS):
        began = time.process_time()
        await work()
        least = min(least, time.process_time() - began)
    return least / repeats * 1e6


async def measure(port: int) -> None:
    endpoint = prepare(adapter(provider("bench", 1, base_url=f"http://127.0.0.1:{port}/v1"), 1), lambda name: None)
    upstream = Upstream()

    async def call(body: bytes = b'{"messages": []}') -> None:
        answer = await upstream.send(endpoint, Encoded(body), stream=body.isdigit(), within_s=10)
        if body.isdigit():
            while await answer.read(10):
                pass
        else:
            await answer.read_all(10)
        await answer.aclose()

    async def calls(body: bytes = b'{"messages": []}') -> None:
        for _ in range(CALLS):
            await call(body)

    async def calls_at_once() -> None:
        await asyncio.gather(*[calls() for _ in range(AT_ONCE)])

    one = await least_us(calls, CALLS)
    print(f"whole answer           {one:6.1f} us a call")  # noqa: T201
    print(f"whole answer, {AT_ONCE} at once {await least_us(calls_at_once, CALLS * AT_ONCE):6.1f} us a call")  # noqa: T201
    for chunks in (20, 200):
        streamed = await least_us(lambda chunks=chunks: calls(b"%d" % chunks), CALLS)
        print(f"stream of {chunks:3} chunks   {streamed:6.1f} us a call, {(streamed - one) / chunks:4.1f} us a chunk")  # noqa: T201
    await upstream.aclose()


def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    serving = multiprocessing.Process(target=serve, args=(theirs,), daemon=True)
    serving.start()
    try:
        uvloop.run(measure(ours.recv()))
    finally:
        serving.terminate()
        serving.join()


if __name__ == "__main__":
    main()
