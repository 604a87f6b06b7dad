"""Limits and budgets that hold over all processes together, counted in Redis.

Owns the connection, the two scripts and what happens when Redis is away or slow: nobody waits for it longer than `patience_s`,
requests are then judged by what their own process knows, and one line in the log says so. One task talks to Redis over one
connection, so that everything arrives in the order in which it happened; what waits meanwhile goes out together.

Windows are counters per period, as in `routingapp.limits`, over wall-clock time. What is held (requests under way, money
reserved) is one number per process, written whole and with a date: a process that dies takes its share with it, and a message
that was lost is made good by the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace

from redis.exceptions import NoScriptError, RedisError

from completions import limit_scripts, redis_connection
from completions.claims import Claim, Denied, Held, Rate, State
from completions.redis_connection import ANSWER_WITHIN_S, RETRY_EVERY_S
from gateway_project.errors import redact

log = logging.getLogger("gateway.limits")

PATIENCE_S = 0.005
"""How long one request waits for Redis in all."""
SLOW_IN_A_ROW = 3
"""So many requests in a row that could not wait for the answer, and Redis counts as away."""
SLOW_APART_S = 0.02
"""Requests that wait at the same time are one of these: they wait for the same answer."""
REFRESH_EVERY_S = 5.0
STALE_AFTER_S = 15.0
"""What a process holds counts for this long after it last said so."""
MAX_WAITING = 10_000
_TURNS_OF_GRACE = 10


class SharedLimits:
    """The connection of one process. Start it inside the event loop that serves."""

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S, prefix: str = "gateway:limits:") -> None:
        self.patience_s = patience_s
        self._redis = redis_connection.connect(url, decode_responses=True)
        self._prefix = prefix
        self._process = uuid.uuid4().hex[:12]
        self._queue: list[Claim | Rate | Held] = []
        self._holding: dict[str, Held] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._refreshed_at = 0.0
        self._slow = 0
        self._slow_at = 0.0
        self.is_away = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="shared-limits")

    async def stop(self) -> None:
        await redis_connection.end(self._task)
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    def claim(self, claims: Sequence[Rate | Held]) -> Claim | None:
        """Ask for all of `claims` or none; None while Redis is away. `wait` for what it says."""
        if self.is_away or len(self._queue) >= MAX_WAITING:
            return None
        self._remember(claims)
        asked = Claim(*self._spell(claims), asyncio.get_running_loop().create_future())
        self._queue.append(asked)
        self._wake.set()
        return asked

    async def wait(self, asked: Claim, patience_s: float | None = None) -> None:
        """Until Redis has answered, at most `patience_s` seconds."""
        await asyncio.wait((asked.answer,), timeout=max(0.0, self.patience_s if patience_s is None else patience_s))
        # Where this process was busy, and not Redis slow, the answer has come already and only has to be read.
        for _ in range(_TURNS_OF_GRACE):
            if asked.answer.done():
                return
            await asyncio.sleep(0)
        now = time.monotonic()
        if now - self._slow_at >= SLOW_APART_S:
            self._slow, self._slow_at = self._slow + 1, now
        if self._slow >= SLOW_IN_A_ROW:
            self._lost(f"it took longer than {self.patience_s * 1000:g} ms to answer, {SLOW_IN_A_ROW} times in a row")

    def note(self, changes: Sequence[Rate | Held]) -> None:
        """Say what has changed, without waiting for it and without asking whether it fits. Limits do not matter here."""
        self._remember(changes)
        if not self.is_away and len(self._queue) < MAX_WAITING:
            self._queue += changes
            self._wake.set()

    def _remember(self, changes: Sequence[Rate | Held]) -> None:
        for change in changes:
            if isinstance(change, Held):
                self._holding[change.name] = change

    # --- The task that talks ------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        is_ready = False
        while True:
            try:
                if not is_ready:
                    # Before the first request needs it: connecting takes longer than anybody waits.
                    await self._load_scripts()
                    is_ready = True
                elif self.is_away:
                    await asyncio.sleep(RETRY_EVERY_S)
                    await self._try_again()
                else:
                    # Not `wait_for`, which in Python 3.11 may lose a cancellation.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(REFRESH_EVERY_S):
                            await self._wake.wait()
                    await self._talk()
            except (RedisError, OSError, TimeoutError) as error:
                is_ready = True
                self._lost(f"{type(error).__name__}: {redact(str(error))}")
                await self._redis.connection_pool.disconnect()

    async def _talk(self) -> None:
        self._wake.clear()
        queue, self._queue = self._queue, []
        queue += self._refresh()
        if not queue:
            return
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                try:
                    answers = await self._send(queue)
                except NoScriptError:
                    await self._load_scripts()
                    answers = await self._send(queue)
        except BaseException:
            _give_up(queue)
            raise
        self._slow = 0
        for asked, (fits, position, used, spent) in answers:
            if fits:
                asked.end(State.TAKEN)
            else:
                asked.end(State.DENIED, Denied(position - 1, used, spent))

    async def _load_scripts(self) -> None:
        for script in (limit_scripts.CLAIM, limit_scripts.NOTE):
            await self._redis.script_load(script)

    async def _send(self, queue: Sequence[Claim | Rate | Held]) -> list[tuple[Claim, list[int]]]:
        """Everything in its order, changes that follow one another in one go. Gives the answers to the claims."""
        pipe = self._redis.pipeline(transaction=False)
        places: list[Claim | None] = []
        for is_claim, group in itertools.groupby(queue, lambda item: isinstance(item, Claim)):
            if is_claim:
                for asked in group:
                    assert isinstance(asked, Claim)
                    pipe.evalsha(limit_scripts.CLAIM_SHA, len(asked.keys), *asked.keys, *asked.arguments)
                    places.append(asked)
            else:
                keys, arguments = self._spell([change for change in group if not isinstance(change, Claim)])
                pipe.evalsha(limit_scripts.NOTE_SHA, len(keys), *keys, *arguments)
                places.append(None)
        answers = await pipe.execute()
        return [(asked, answer) for asked, answer in zip(places, answers, strict=True) if asked is not None]

    def _refresh(self) -> list[Held]:
        """Everything this process holds, once in a while; what it holds no more is said one last time."""
        now = time.monotonic()
        if now - self._refreshed_at < REFRESH_EVERY_S:
            return []
        self._refreshed_at = now
        known = [replace(held, spending=0) for held in self._holding.values()]
        self._holding = {name: held for name, held in self._holding.items() if held.amount}
        return known

    async def _try_again(self) -> None:
        began = time.monotonic()
        await self._redis.ping()
        if time.monotonic() - began <= ANSWER_WITHIN_S / 5:
            self.is_away = False
            self._refreshed_at = 0.0
            self._wake.set()
            log.warning("Redis answers again: limits and budgets hold over all processes")

    def _lost(self, cause: str) -> None:
        """From now on every process judges for itself. Said once, until Redis is back."""
        self._slow = 0
        queue, self._queue = self._queue, []
        _give_up(queue)
        if not self.is_away:
            self.is_away = True
            log.warning("Redis is away (%s): limits and budgets hold in each process alone until it is back", cause)
            self._wake.set()

    def _spell(self, claims: Sequence[Rate | Held]) -> tuple[list[str], list[str | int | float]]:
        """Keys and arguments as the scripts read them."""
        now = time.time()
        keys: list[str] = []
        arguments: list[str | int | float] = [self._process, int(now * 1000), int((now + STALE_AFTER_S) * 1000)]
        for claim in claims:
            name = self._prefix + claim.name
            if isinstance(claim, Rate):
                index, into = divmod(claim.at, claim.period_s)
                keys += (f"{name}:{int(index)}", f"{name}:{int(index) - 1}")
                arguments += ("rate", claim.amount, claim.limit, 1 - into / claim.period_s, claim.period_s * 2)
            else:
                keys.append(name)
                amounts = (claim.amount, claim.limit, claim.needed, claim.spent, claim.spending, claim.lasts_s)
                arguments += ("held", *amounts)
        return keys, arguments


def _give_up(queue: Sequence[Claim | Rate | Held]) -> None:
    for item in queue:
        if isinstance(item, Claim):
            item.end(State.UNKNOWN)
