"""kill -9 in the middle of traffic: whatever a caller has received completely is in the books, once."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from tests.fakes.catalogue import seed
from tests.live import Gateway, until

REQUESTS = 2000
CONCURRENCY = 32
KILL_AFTER = 900


async def received_ids(gateway: Gateway) -> list[str]:
    """Ids of the answers that came back whole, streamed and not in turn, while the gateway was killed under way."""
    numbers = iter(range(REQUESTS))
    ids: list[str] = []
    async with aiohttp.ClientSession(gateway.url, connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:

        async def ask(is_stream: bool) -> None:
            body = {"model": "fake/ok", "messages": [{"role": "user", "content": "one two"}], "stream": is_stream}
            async with session.post("/v1/chat/completions", json=body) as response:
                text = await response.text()
                assert response.status == 200, text
            if is_stream:
                assert text.endswith("data: [DONE]\n\n")
                ids.append(json.loads(text.split("\n\n")[0].removeprefix("data: "))["id"])
            else:
                ids.append(json.loads(text)["id"])

        async def keep_asking() -> None:
            for number in numbers:
                try:
                    await ask(number % 2 == 0)
                except aiohttp.ClientError:
                    return

        askers = [asyncio.create_task(keep_asking()) for _ in range(CONCURRENCY)]
        while len(ids) < KILL_AFTER and not all(asker.done() for asker in askers):
            await asyncio.sleep(0.002)
        await asyncio.to_thread(gateway.kill9)
        await asyncio.gather(*askers)
    return ids


async def test_every_answer_that_was_received_has_exactly_one_row_after_kill_9(start_gateway, fake):
    gateway = start_gateway(seed(fake, {"fake/ok": "ok"}))
    ids = await received_ids(gateway)
    assert KILL_AFTER <= len(ids) < REQUESTS
    assert len(set(ids)) == len(ids)

    gateway.start()
    query = "SELECT request_id FROM api_logs"
    until(lambda: set(ids) <= {row["request_id"] for row in gateway.sql(query)}, "every answer is in api_logs", 10)
    rows = gateway.sql(
        "SELECT COUNT(*) AS n, COUNT(DISTINCT request_id) AS ids, SUM(total_tokens) AS tokens FROM api_logs"
    )[0]
    assert rows["n"] == rows["ids"]
    # At most the requests in flight were recorded and not received.
    assert len(ids) <= rows["n"] <= len(ids) + CONCURRENCY
    assert rows["tokens"] == rows["n"] * 14
    totals = gateway.sql("SELECT SUM(requests) AS n FROM accounting_usagetotal")[0]
    assert totals["n"] == rows["n"]


async def test_requests_under_way_are_finished_when_the_gateway_is_asked_to_stop(start_gateway, fake, marker):
    gateway = start_gateway(seed(fake, {"fake/slow": "ok?tokens=20&delay=0.05"}))
    body = {"model": "fake/slow", "messages": [{"role": "user", "content": "x"}], "stream": True, "user": marker}
    async with aiohttp.ClientSession(gateway.url) as session, session.post("/v1/chat/completions", json=body) as response:
        first = await response.content.readany()
        stopping = asyncio.create_task(asyncio.to_thread(gateway.terminate))
        rest = await response.content.read()
        assert (first + rest).endswith(b"data: [DONE]\n\n")
        assert b'"error"' not in first + rest
    assert await stopping in (0, -15)
    assert gateway.row(user_id=marker)["completion_tokens"] == 20
