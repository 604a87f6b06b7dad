"""Limits and budgets that hold over all processes together, counted in Redis.

Owns the connection, the two scripts and what happens when Redis is away or slow: nobody waits for it longer than `patience_s`, and
for one that is slow all the time nobody waits at all; requests are then judged by what their own process has heard last
(`completions.heard`). One task talks to Redis over one connection, so that everything arrives in the order in which it happened;
what waits meanwhile goes out together. One line in the log says that Redis is away.

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
from completions.heard import Heard
from completions.redis_connection import RETRY_EVERY_S
from gateway_project.errors import redact

log = logging.getLogger("gateway.limits")

PATIENCE_S = 0.005
"""How long one request waits for Redis in all."""
ANSWER_WITHIN_S = 2.0
"""After this long without an answer the connection is given up. Long, because nobody waits for it, and a process that gets no
processor for a while must not take itself for one that has lost its Redis."""
LATE = 4
"""Nobody waits for an answer while the one before it takes this many times as long as anybody waits."""
SLOW_IN_A_ROW = 3
"""After so many answers in a row that took longer than anybody waits, nobody waits until one is quick again."""
REFRESH_EVERY_S = 5.0
STALE_AFTER_S = 15.0
"""What a process holds counts for this long after it last said so."""
MAX_WAITING = 10_000
_TURNS_OF_GRACE = 10


class SharedLimits:
    """The connection of one process. Start it inside the event loop that serves."""

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S, prefix: str = "gateway:limits:") -> None:
        self.patience_s = patience_s
        self._redis = redis_connection.connect(url, answer_within_s=ANSWER_WITHIN_S, decode_responses=True)
        self._prefix = prefix
        self._process = uuid.uuid4().hex[:12]
        self._queue: list[Claim | Rate | Held] = []
        self._holding: dict[str, Held] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._refreshed_at = 0.0
        self._heard = Heard()
        self._slow = 0
        self._asked_at: float | None = None
        self.is_away = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="shared-limits")

    async def stop(self) -> None:
        await redis_connection.end(self._task)
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    def claim(self, claims: Sequence[Rate | Held]) -> Claim:
        """Ask for all of `claims` or none. `wait` for what is said."""
        self._remember(claims)
        asked = Claim(claims, self._heard.ask(claims), asyncio.get_running_loop().create_future())
        if self.is_away or len(self._queue) >= MAX_WAITING:
            self._give_up([asked])
        else:
            self._queue.append(asked)
            self._wake.set()
        return asked

    async def wait(self, asked: Claim, patience_s: float | None = None) -> None:
        """Until Redis has answered, at most `patience_s` seconds; then what is known here decides."""
        patience_s = self.patience_s if patience_s is None else patience_s
        try:
            if patience_s > 0 and not self._is_slow() and not asked.answer.done():
                await asyncio.wait((asked.answer,), timeout=patience_s)
            # Where this process was busy, and not Redis slow, the answer has come already and only has to be read.
            for _ in range(_TURNS_OF_GRACE):
                if asked.answer.done():
                    return
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            asked.abandon()
            raise
        asked.leave(self._heard.denied(asked.claims, asked.marks, time.time()))

    def _is_slow(self) -> bool:
        is_late = self._asked_at is not None and time.monotonic() - self._asked_at > LATE * self.patience_s
        return is_late or self._slow >= SLOW_IN_A_ROW

    def note(self, changes: Sequence[Rate | Held]) -> None:
        """Say what has changed, without waiting for it and without asking whether it fits. Limits do not matter here."""
        self._remember(changes)
        self._heard.ask(changes)
        if self.is_away or len(self._queue) >= MAX_WAITING:
            self._heard.settle(changes)
        else:
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
        began = self._asked_at = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                try:
                    answers = await self._send(queue)
                except NoScriptError:
                    await self._load_scripts()
                    answers = await self._send(queue)
        except BaseException:
            self._give_up(queue)
            raise
        finally:
            self._asked_at = None
        self._slow = self._slow + 1 if time.monotonic() - began > self.patience_s else 0
        for item, answer in zip(queue, answers, strict=True):
            if isinstance(item, Claim):
                self._take_in(item, answer)
            else:
                self._heard.settle([item])

    def _take_in(self, asked: Claim, answer: Sequence[int]) -> None:
        """What Redis has said of a claim."""
        fits, position, used, spent, *counters = answer
        self._heard.answer(asked.claims, list(zip(counters[::2], counters[1::2], strict=True)), time.time())
        # What was decided without waiting holds: it is counted, or given back, only now that it is known what Redis counts.
        asked.end(State.TAKEN if fits else State.DENIED, None if fits else Denied(position - 1, used, spent))
        if asked.is_left and asked.is_wanted and not fits:
            asked.end(State.TAKEN)
            self.note([claim for claim in asked.claims if isinstance(claim, Rate)])
            held = [self._holding.get(claim.name) for claim in asked.claims if isinstance(claim, Held)]
            self.note([replace(known, spending=0) for known in held if known is not None])
        elif fits and not asked.is_wanted:
            self.note([replace(claim, amount=-claim.amount) for claim in asked.claims if isinstance(claim, Rate)])

    async def _load_scripts(self) -> None:
        for script in (limit_scripts.CLAIM, limit_scripts.NOTE):
            await self._redis.script_load(script)

    async def _send(self, queue: Sequence[Claim | Rate | Held]) -> list[Sequence[int]]:
        """Everything in its order, changes that follow one another in one go. Gives an answer for each, empty for changes."""
        pipe = self._redis.pipeline(transaction=False)
        now = time.time()
        asking = limit_scripts.Asking(self._process, now, now + STALE_AFTER_S)
        lengths: list[int] = []
        for is_claim, group in itertools.groupby(queue, lambda item: isinstance(item, Claim)):
            if is_claim:
                for asked in group:
                    assert isinstance(asked, Claim)
                    keys, arguments = limit_scripts.spell(asked.claims, asking, self._prefix)
                    pipe.evalsha(limit_scripts.CLAIM_SHA, len(keys), *keys, *arguments)
                    lengths.append(0)
            else:
                changes = [change for change in group if not isinstance(change, Claim)]
                keys, arguments = limit_scripts.spell(changes, asking, self._prefix)
                pipe.evalsha(limit_scripts.NOTE_SHA, len(keys), *keys, *arguments)
                lengths.append(len(changes))
        answers: list[Sequence[int]] = []
        for length, answer in zip(lengths, await pipe.execute(), strict=True):
            answers += [()] * length if length else [answer]
        return answers

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
        self._give_up(queue)
        if not self.is_away:
            self.is_away = True
            log.warning("Redis is away (%s): limits and budgets hold in each process alone until it is back", cause)
            self._wake.set()

    def _give_up(self, queue: Sequence[Claim | Rate | Held]) -> None:
        """None of these will be answered: claims are judged by what is known here."""
        for item in queue:
            if isinstance(item, Claim):
                item.end(State.UNKNOWN, self._heard.denied(item.claims, item.marks, time.time()))
                self._heard.drop(item.claims)
            else:
                self._heard.settle([item])
