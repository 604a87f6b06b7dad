"""What processes tell one another over Redis: pauses of adapters, keys at rest, conversations and where their cache is.

No request ever waits for it. What a process learns is sent by one task in the background, what others have sent is taken in by
another, and every decision is made by the state of one's own process. So Redis away or slow costs requests nothing: each process
goes on by itself, and afterwards reads what it has missed.

Two streams carry the hints, one for faults and one for pins, which are far more: the former must not be crowded out. A process that
starts reads the last ten minutes of both, which is as long as anything in them can matter. Ages are told by Redis' own clock, the
only one that all machines have in common.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Iterable
from typing import Any

from prometheus_client import Counter
from redis.exceptions import RedisError

from completions import hint_lines, redis_connection
from completions.hearsay import REMEMBERED_S, Hearsay
from completions.hint_lines import Hint, Told
from completions.redis_connection import RETRY_EVERY_S
from gateway_project.errors import redact
from routingapp.stickiness import Pinned

log = logging.getLogger("gateway.hints")

HINTS = Counter(
    "gateway_hints_total",
    "Hints between processes: told, heard, dropped (too many waited for Redis), unreadable (of another version).",
    ["way"],
)

FAULTS, PINS = "faults", "pins"
KEPT = {FAULTS: 10_000, PINS: 5_000}
"""Lines that a stream keeps, approximately."""
MAX_HINTS = 200
"""In one line."""
PAUSE_S = 0.1
"""Between two sendings: what is learned meanwhile goes out together."""
MAX_WAITING = 10_000
"""Hints kept while Redis is away; the oldest go first."""
READ_AT_ONCE = 500
BLOCK_S = 2.0
"""How long Redis is asked to wait for something new."""
FORGOTTEN_AFTER_S = 3600
"""When Redis drops the streams of a gateway that is no more."""


class SharedHints:
    """The two tasks of one process. Start it inside the event loop that serves."""

    def __init__(self, url: str, hearsay: Hearsay, *, prefix: str = "gateway:hints:") -> None:
        self._hearsay = hearsay
        self._telling = redis_connection.connect(url)
        self._listening = redis_connection.connect(url, answer_within_s=BLOCK_S + 1)
        self._streams = {kind: prefix + kind for kind in (FAULTS, PINS)}
        self._process = uuid.uuid4().hex[:12].encode()
        self._waiting: deque[tuple[Hint, float]] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()
        self._read_to: dict[str, str] = {}
        self._ahead_s = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self.is_away = False
        self.unreadable = 0

    def start(self) -> None:
        self._hearsay.tell_by(self.tell)
        self._tasks = [
            asyncio.create_task(self._keep_telling(), name="hints-told"),
            asyncio.create_task(self._keep_listening(), name="hints-heard"),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            await redis_connection.end(task)
        for client in (self._telling, self._listening):
            with contextlib.suppress(RedisError, OSError):
                await client.aclose()

    def tell(self, hint: Hint) -> None:
        """Send `hint` to the other processes, in the background."""
        if len(self._waiting) == MAX_WAITING:
            HINTS.labels("dropped").inc()
        self._waiting.append((hint, time.monotonic()))
        self._wake.set()

    # --- Telling ------------------------------------------------------------------------------------------------------

    async def _keep_telling(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(MAX_HINTS, len(self._waiting)))]
                try:
                    await self._send(batch)
                except (RedisError, OSError, TimeoutError) as error:
                    self._put_back(batch)
                    self._lost(error)
                    await asyncio.sleep(RETRY_EVERY_S)
                except Exception:  # A bug of ours must not end the telling of all that follows.
                    log.exception("%d hints could not be told", len(batch))
                await asyncio.sleep(PAUSE_S if len(self._waiting) < MAX_HINTS else 0)

    def _put_back(self, batch: list[tuple[Hint, float]]) -> None:
        kept = batch[max(0, len(batch) + len(self._waiting) - MAX_WAITING) :]
        HINTS.labels("dropped").inc(len(batch) - len(kept))
        self._waiting.extendleft(reversed(kept))

    async def _send(self, batch: Iterable[tuple[Hint, float]]) -> None:
        now = time.monotonic()
        lines: dict[str, list[Told]] = {FAULTS: [], PINS: []}
        for hint, learned_at in batch:
            if (mark := self._hearsay.mark(hint)) is not None:
                lines[PINS if isinstance(hint, Pinned) else FAULTS].append(Told(hint, mark, now - learned_at))
        pipe = self._telling.pipeline(transaction=False)
        for kind, line in lines.items():
            if line:
                fields: Any = {b"from": self._process, b"hints": hint_lines.encode(line)}
                pipe.xadd(self._streams[kind], fields, maxlen=KEPT[kind], approximate=True)
                pipe.expire(self._streams[kind], FORGOTTEN_AFTER_S)
        await pipe.execute()
        HINTS.labels("told").inc(sum(map(len, lines.values())))
        self._found()

    # --- Listening ----------------------------------------------------------------------------------------------------

    async def _keep_listening(self) -> None:
        while True:
            try:
                await self._set_clock()
                if not self._read_to:
                    since_ms = int((time.monotonic() + self._ahead_s - REMEMBERED_S) * 1000)
                    self._read_to = dict.fromkeys(self._streams.values(), f"{since_ms}-0")
                while True:
                    if not await self._listen():
                        await self._set_clock()
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(error)
                await self._listening.connection_pool.disconnect()
            except Exception:  # A bug of ours must not end the hearing of all that follows.
                log.exception("a hint could not be taken in")
            await asyncio.sleep(RETRY_EVERY_S)

    async def _set_clock(self) -> None:
        seconds, microseconds = await self._listening.time()
        self._ahead_s = seconds + microseconds / 1_000_000 - time.monotonic()

    async def _listen(self) -> bool:
        """Take in what is new, waiting for it. Gives whether there was anything."""
        read_to: Any = self._read_to
        answer: Any = await self._listening.xread(read_to, count=READ_AT_ONCE, block=int(BLOCK_S * 1000))
        self._found()
        for stream, entries in dict(answer).items():
            for number, fields in entries:
                self._read_to[stream.decode()] = number.decode()
                if fields.get(b"from") != self._process:
                    self._take_in(int(number.partition(b"-")[0]) / 1000, fields.get(b"hints", b""))
            await asyncio.sleep(0)
        return bool(answer)

    def _take_in(self, sent_at: float, line: bytes) -> None:
        """A line that was sent at `sent_at`, on Redis' clock."""
        now = time.monotonic()
        hints, unreadable = hint_lines.decode(line)
        if unreadable and not self.unreadable:
            log.warning("hints of another version of this gateway cannot be read, and are left out")
        self.unreadable += unreadable
        HINTS.labels("unreadable").inc(unreadable)
        HINTS.labels("heard").inc(len(hints))
        under_way_s = max(0.0, now + self._ahead_s - sent_at)
        for told in hints:
            self._hearsay.hear(told, told.age_s + under_way_s, now)

    # --- Both ---------------------------------------------------------------------------------------------------------

    def _lost(self, error: Exception) -> None:
        if not self.is_away:
            self.is_away = True
            # The warning of such an outage is `gateway.limits`'.
            log.info(
                "no hints of other processes (%s: %s): breakers, keys at rest and sessions are each process's own",
                type(error).__name__,
                redact(str(error)),
            )

    def _found(self) -> None:
        if self.is_away:
            self.is_away = False
            log.info("hints of other processes again: breakers, keys at rest and sessions are known to all")
