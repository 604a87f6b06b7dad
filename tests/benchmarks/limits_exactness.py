"""How exactly processes that share a Redis keep to a limit at the default patience: `python -m tests.benchmarks.limits_exactness`.

Each process offers far more requests than the limit allows and judges them as the gateway does: by its own counters, then by
Redis, for which a request waits five milliseconds, then by what was heard last. `busy_us` is processor time that each admitted
request takes, so that the processes keep each other waiting. Needs a `redis-server` on the path.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.redis_server import RedisServer

HEADROOM_S = 5.0


def run(directory: Path, *, processes: int, limit: int, rate: float, seconds: float, busy_us: float = 0) -> Counter[str]:
    """What `processes`, each offering `rate` requests a second, made of a limit of `limit` requests a minute."""
    spawn = multiprocessing.get_context("spawn")
    with RedisServer(directory) as redis:
        counted = spawn.Queue()
        # All within one minute, so that one window holds everything.
        if 60 - time.time() % 60 < seconds + 2 * HEADROOM_S:
            time.sleep(60 - time.time() % 60 + 0.1)
        begins_at = spawn.Barrier(processes)
        arguments = (redis.url, limit, rate, seconds, busy_us, begins_at, counted)
        workers = [spawn.Process(target=_work, args=(number, *arguments)) for number in range(processes)]
        for worker in workers:
            worker.start()
        total: Counter[str] = Counter()
        for _ in workers:
            total.update(counted.get(timeout=60))
        for worker in workers:
            worker.join(10)
    return total


def _work(number: int, url: str, limit: int, rate: float, seconds: float, busy_us: float, begins: Any, told: Any) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    told.put(asyncio.run(_offer(number, url, limit, rate, seconds, busy_us, begins)))


async def _offer(
    number: int, url: str, limit: int, rate: float, seconds: float, busy_us: float, begins: Any
) -> Counter[str]:
    from accounting.record import Attempt
    from catalog.limits import Limits
    from completions.admission import Gate, NoSeat
    from completions.claims import State
    from completions.shared_limits import SharedLimits
    from completions.visit import Visit
    from routingapp.ask import Ask
    from tests.routingapp.world import adapter, provider

    shared = SharedLimits(url)
    shared.start()
    gate = Gate(shared=shared)
    candidate: Any = SimpleNamespace(adapter=adapter(provider("acme", 1, limits=Limits(rpm=limit)), 1))
    counted: Counter[str] = Counter()

    async def request() -> None:
        visit = Visit(gate.capacity, gate.budgets, shared, patience_s=shared.patience_s)
        exchange: Any = SimpleNamespace(visit=visit, ask=Ask(("acme/falcon",), prompt_tokens=10))
        try:
            seat = await gate.seat(exchange, candidate)
        except NoSeat:
            counted["denied"] += 1
            return
        counted["admitted"] += 1
        assert seat.room is not None
        assert seat.room.claim is not None
        counted["without an answer"] += seat.room.claim.state is not State.TAKEN
        attempt = Attempt(1, "acme", "falcon")
        visit.sit(attempt, seat)
        done_at = time.process_time() + busy_us / 1e6
        while time.process_time() < done_at:
            pass
        await asyncio.sleep(0.05)
        visit.rise(attempt)

    dice = random.Random(number)
    await asyncio.to_thread(begins.wait)
    ends_at = time.monotonic() + seconds
    requests = []
    while time.monotonic() < ends_at:
        requests.append(asyncio.ensure_future(request()))
        await asyncio.sleep(dice.expovariate(rate))
    await asyncio.gather(*requests)
    await shared.stop()
    return counted


def main() -> None:
    for processes, busy_us in ((2, 0), (4, 0), (4, 500)):
        with tempfile.TemporaryDirectory() as directory:
            counted = run(Path(directory), processes=processes, limit=500, rate=200, seconds=5, busy_us=busy_us)
        over = 100 * counted["admitted"] / 500 - 100
        load = os.getloadavg()[0]
        sys.stdout.write(
            f"{processes} processes, {busy_us} us each: {over:+.1f} %, {dict(counted)}, load average {load:.1f}\n"
        )


if __name__ == "__main__":
    main()
