"""An OpenAI-compatible provider for tests, on a real socket, that does whatever the model's name tells it to.

    python -m tests.fakes.provider --port 9100      serve on that port until interrupted
    python -m tests.fakes.provider --list           what it can do

It ignores what precedes `/chat/completions` in the path, so that one server can play many providers: give each its own
prefix as base URL. It remembers every call, and when the caller of it left.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Self

import tests.fakes.faults  # noqa: F401  registers its scenarios
from tests.fakes.call import Call, Reply, RequestReader, read_call
from tests.fakes.scenarios import SCENARIOS


class FakeProvider:
    """The server, in a thread of its own with its own event loop. Use it as a context manager."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.calls: list[Call] = []
        self.waiting: int | None = None
        """The queue that `/metrics` tells of, as vLLM does; None: there is no such page."""
        self._counts: Counter[str] = Counter()
        self._first_at: dict[str, float] = {}
        self._connections = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._stopping: asyncio.Event | None = None
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake-provider", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._is_up.wait(5):
            raise TimeoutError("the fake provider did not come up within 5 s")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close every connection and the port. Done already is as good."""
        assert self._stopping is not None
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(5)

    def base_url(self, name: str = "fake") -> str:
        """The base URL under which this server plays the provider `name`."""
        return f"http://127.0.0.1:{self.port}/{name}/v1"

    def calls_with(self, marker: str) -> list[Call]:
        """The chat calls whose body holds `marker`, oldest first."""
        wanted = marker.encode()
        return [call for call in self.calls if wanted in call.raw]

    def call_with(self, marker: str, *, within_s: float = 3, until: Callable[[Call], bool] = lambda _: True) -> Call:
        """The latest call whose body holds `marker` and that satisfies `until`, waiting for it."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            found = [call for call in self.calls_with(marker) if until(call)]
            if found:
                return found[-1]
            time.sleep(0.005)
        seen = [(call.path, call.model, call.events_sent, call.client_left_at) for call in self.calls_with(marker)]
        raise AssertionError(f"no such call of {marker!r} within {within_s} s; saw {seen}")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        server = await asyncio.get_running_loop().create_server(
            lambda: asyncio.StreamReaderProtocol(RequestReader(), self._connected), "127.0.0.1", self.port, backlog=1024
        )
        self.port = server.sockets[0].getsockname()[1]
        self._is_up.set()
        await self._stopping.wait()
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, RequestReader)
        number = next(self._connections)
        try:
            while not writer.is_closing() and (call := await read_call(reader, number)):
                self.calls.append(call)
                self._counts[call.model] += 1
                first_at = self._first_at.setdefault(call.model, call.arrived_at)
                reply = Reply(call, writer, self._counts[call.model], call.arrived_at - first_at)
                await self._answer(call, reply, reader)
                if call.client_left_at is not None:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # a client that goes away between two requests is no event
        except asyncio.CancelledError:
            if self._stopping is None or not self._stopping.is_set():
                raise
            # Ended, not cancelled: asyncio's stream protocol reports a cancelled handler as an error.
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()

    async def _answer(self, call: Call, reply: Reply, reader: RequestReader) -> None:
        """Play the scenario while watching for the client to leave, whichever is first."""
        answering = asyncio.ensure_future(self._play(call, reply))
        watching = asyncio.ensure_future(reader.client_left.wait())
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                call.client_left_at = time.monotonic()
        finally:
            for task in (answering, watching):
                task.cancel()
            outcome, _ = await asyncio.gather(answering, watching, return_exceptions=True)
        if outcome is None:
            call.finished_at = time.monotonic()
        elif isinstance(outcome, ConnectionError):
            call.client_left_at = time.monotonic()
        elif isinstance(outcome, Exception):
            raise outcome

    async def _play(self, call: Call, reply: Reply) -> None:
        if call.path.endswith(("/chat/completions", "/embeddings")):
            play = SCENARIOS.get("embed" if call.path.endswith("/embeddings") else call.scenario)
            if play is None:
                await reply.json({"error": {"message": f"no model {call.model!r}", "code": "model_not_found"}}, 404)
            else:
                await play(reply)
        elif call.path.endswith("/models"):
            await reply.json({"object": "list", "data": [{"id": name, "object": "model"} for name in SCENARIOS]})
        elif call.path == "/metrics" and self.waiting is not None:
            text = f'vllm:num_requests_waiting{{engine="0",model_name="m"}} {self.waiting}.0\n'
            await reply.whole(text.encode(), 200, {"content-type": "text/plain; version=0.0.4"})
        elif call.path.endswith("/health"):
            await reply.json({"status": "ok"})
        else:
            await reply.json({"error": {"message": f"no page {call.path}", "code": "not_found"}}, 404)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--list", action="store_true", help="print the scenarios and stop")
    arguments = parser.parse_args()
    if arguments.list:
        for name, play in SCENARIOS.items():
            print(f"{name:12} {' '.join((play.__doc__ or '').split())}")  # noqa: T201  it is the command's output
        return
    with FakeProvider(arguments.port) as provider, contextlib.suppress(KeyboardInterrupt):
        print(f"serving {provider.base_url()}", flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    main()
