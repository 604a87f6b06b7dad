"""Clients of a server that is being replaced, restarted or killed: a load that notices every request that was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

CLIENTS = 6
PAUSE_S = 0.02
"""Between two requests of a client: shorter than workers take to end, so that their kept connections are always in use."""
TIMEOUT = aiohttp.ClientTimeout(total=60)


class Clients:
    """They keep their connections, and never try anything twice.

    Every second one asks for a stream of `fake/stream`, the others for a whole answer of `fake/ok`. `ids`: the requests that were
    answered; `failures`: what the others got instead.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._url, self._headers = url, headers
        self._stopping = asyncio.Event()
        self.ids: list[str] = []
        self.failures: list[str] = []

    async def _ask_on(self, number: int) -> None:
        is_stream = bool(number % 2)
        body = {"model": "fake/stream" if is_stream else "fake/ok", "stream": is_stream,
                "messages": [{"role": "user", "content": "x"}]}  # fmt: skip
        async with aiohttp.ClientSession(self._url, headers=self._headers, timeout=TIMEOUT) as session:
            while not self._stopping.is_set():
                try:
                    async with session.post("/v1/chat/completions", json=body) as response:
                        answer = await response.read()
                        if response.status == 200 and (answer.endswith(b"data: [DONE]\n\n") or not is_stream):
                            self.ids.append(response.headers["x-request-id"])
                        else:
                            self.failures.append(f"{response.status} {answer[-200:]!r}")
                except (aiohttp.ClientError, TimeoutError) as error:
                    self.failures.append(repr(error))
                await asyncio.sleep(PAUSE_S)

    async def during(self, event: asyncio.Future[None] | asyncio.Task[None]) -> None:
        """Ask until `event` is over, and a little before and after."""
        asking = [asyncio.create_task(self._ask_on(number)) for number in range(CLIENTS)]
        await event
        answered = len(self.ids)
        while len(self.ids) < answered + 5 * CLIENTS and not self.failures:
            await asyncio.sleep(0.01)
        self._stopping.set()
        await asyncio.gather(*asking)
