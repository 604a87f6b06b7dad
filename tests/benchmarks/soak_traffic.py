"""The mixed traffic of the soak: what is asked, how often, and which answers are right. An open loop over real sockets.

Kinds are drawn at random, at a constant rate, whatever the answers take. Unknown models and wrong keys are never the same twice:
nothing may be kept of them. Of addresses and of conversations with a model the server keeps something on purpose, up to a bound
that would take hours to reach (`MAX_METERS`, `MAX_CONVERSATIONS`): so there are a thousand of each, all met during the warm-up.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.fakes.catalogue import Served

MODELS: dict[str, Any] = {
    "soak/quick": "ok?tokens=30",
    "soak/cached": "ok?tokens=12&cached=5&thinking=3",
    "soak/paced": "ok?tokens=12&delay=0.04",
    "soak/long": "ok?tokens=300&delay=0.05",
    "soak/late": "slow-first?delay=0.5",
    "soak/tools": "tools?calls=2",
    "soak/second": ("status?code=500", "ok?tokens=8"),
    "soak/flapping": ("flapping", "ok?tokens=8"),
    "soak/resumed": ("cut?tokens=9&after=3", "ok?tokens=9"),
    "soak/split": ("ok?tokens=5", "ok?tokens=5"),
    "soak/broken": "status?code=500",
    "soak/picky": "status?code=400",
    "soak/silent": Served("silence", {"timeouts": {"first_byte": 1, "idle": 1, "total": 1}}),
}
PROVIDERS_FAULTS = frozenset({429, 502, 503, 504})
"""What a caller may get for a fault of a provider, or while its breaker is open."""
ADMIN_PAGES = (
    "/admin/", "/admin/catalog/languagemodel/", "/admin/catalog/adapter/", "/admin/catalog/provider/",
    "/admin/accounting/requestlog/", "/admin/accounting/apikey/", "/admin/routingapp/routingweight/",
    "/admin/console/playground/", "/",
)  # fmt: skip
READ_PAGES = ("/v1/models", "/v1/key", "/health", "/health/ready", "/v1/stats?hours=24&group_by=model", "/v1/routing")
MOST_AT_ONCE = 400
CALLERS = 1000
CONVERSATIONS = 50
"""Each with any of a dozen models, with a key or without."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request: `share` of the whole, the statuses that are right for it, and how it is asked.

    One with a `path` is made only of servers whose OpenAPI document has it.
    """

    name: str
    share: float
    right: frozenset[int]
    ask: Callable[[Traffic], Awaitable[int]]
    path: str = ""


@dataclass(slots=True)
class Traffic:
    """Asks the gateway at `url` what `kinds` say. `key` is a management key; `admin` a session that is logged in to admin."""

    url: str
    key: str
    api: aiohttp.ClientSession
    admin: aiohttp.ClientSession
    kinds: Sequence[Kind]
    asked: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(20261123))
    _serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, rate: float, seconds: float) -> None:
        """`rate` requests a second for `seconds`, then wait for the last answers."""
        loop = asyncio.get_running_loop()
        began, shares = loop.time(), [kind.share for kind in self.kinds]
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
            (kind,) = self.dice.choices(self.kinds, shares)
            if len(self._under_way) >= MOST_AT_ONCE:
                self.skipped += 1
                continue
            task = asyncio.create_task(self._one(kind))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    async def _one(self, kind: Kind) -> None:
        self.asked[kind.name] += 1
        try:
            status = await kind.ask(self)
        except (aiohttp.ClientError, TimeoutError, AssertionError) as error:
            self.wrong[f"{kind.name}: {type(error).__name__} {str(error)[:200]}"] += 1
            return
        if status not in kind.right:
            self.wrong[f"{kind.name}: {status}"] += 1

    def stranger(self) -> dict[str, str]:
        """Headers of a caller with a key, or of one without from an address of its own."""
        if self.dice.random() < 0.5:
            return {"Authorization": f"Bearer {self.key}"}
        number = self.dice.randrange(CALLERS)
        return {"X-Forwarded-For": f"10.1.{number // 250}.{number % 250}"}

    def body(self, *models: str, **more: Any) -> dict[str, Any]:
        words = "lorem " * self.dice.choice((3, 30, 300, 3000))
        asked = {"model": self.dice.choice(models), "messages": [{"role": "user", "content": words}], **more}
        if self.dice.random() < 0.3:
            asked["session_id"] = f"conversation-{self.dice.randrange(CONVERSATIONS)}"
        return asked

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        async with self.api.post(self.url + path, json=body, headers=headers or self.stranger()) as response:
            return response.status, await response.read()

    async def chat(self, *models: str, **more: Any) -> tuple[int, bytes]:
        return await self.post("/v1/chat/completions", self.body(*models, **more))


async def whole(traffic: Traffic) -> int:
    status, _ = await traffic.chat("soak/quick", "soak/cached", "soak/tools", "soak/split")
    return status


async def stream(traffic: Traffic) -> int:
    status, content = await traffic.chat("soak/quick", "soak/paced", "soak/cached", "soak/tools", "soak/split", stream=True)
    assert content.endswith(b"data: [DONE]\n\n"), f"a stream that ends with {content[-80:]!r}"
    return status


async def recovered(traffic: Traffic) -> int:
    status, _ = await traffic.chat("soak/second", "soak/flapping", "soak/resumed", stream=traffic.dice.random() < 0.7)
    return status


async def embedding(traffic: Traffic) -> int:
    given = ["one", "two words", "three of them"][: traffic.dice.randint(1, 3)]
    status, _ = await traffic.post("/v1/embeddings", {"model": "soak/quick", "input": given})
    return status


async def provider_fault(traffic: Traffic) -> int:
    status, _ = await traffic.chat("soak/broken", "soak/silent", stream=traffic.dice.random() < 0.5)
    return status


async def callers_fault(traffic: Traffic) -> int:
    dice, path = traffic.dice, "/v1/chat/completions"
    match dice.randrange(5):
        case 0:
            status, _ = await traffic.chat(f"nobody/has-{next(traffic._serial)}")
        case 1:
            status, _ = await traffic.chat("soak/quick", temperature=99)
        case 2:
            status, _ = await traffic.chat("soak/picky")
        case 3:
            wrong = {"Authorization": f"Bearer sk-or-v1-{dice.randbytes(16).hex()}"}
            status, _ = await traffic.post(path, traffic.body("soak/quick"), wrong)
        case _:
            status, _ = await traffic.post(path, {"model": "soak/quick", "messages": "none"})
    return status


async def leaving(traffic: Traffic) -> int:
    """Go away before the first content, or in the middle of the stream."""
    before = traffic.dice.random() < 0.3
    body = traffic.body("soak/late" if before else "soak/long", stream=True)
    async with traffic.api.post(
        traffic.url + "/v1/chat/completions", json=body, headers=traffic.stranger(), timeout=aiohttp.ClientTimeout(30)
    ) as response:
        if not before:
            for _ in range(traffic.dice.randint(1, 20)):
                await response.content.readline()
        response.close()
        return response.status


async def reading(traffic: Traffic) -> int:
    headers = {"Authorization": f"Bearer {traffic.key}"}
    async with traffic.api.get(traffic.url + traffic.dice.choice(READ_PAGES), headers=headers) as response:
        await response.read()
        return response.status


async def admin(traffic: Traffic) -> int:
    async with traffic.admin.get(traffic.url + traffic.dice.choice(ADMIN_PAGES), allow_redirects=False) as response:
        await response.read()
        return response.status


OK = frozenset({200})
KINDS = (
    Kind("whole", 0.36, OK, whole),
    Kind("stream", 0.27, OK, stream),
    Kind("recovered", 0.07, OK, recovered),
    Kind("embedding", 0.08, OK, embedding, "/v1/embeddings"),
    Kind("provider's fault", 0.02, PROVIDERS_FAULTS, provider_fault),
    Kind("caller's fault", 0.08, frozenset({400, 401, 404, 422, 429}), callers_fault),
    Kind("leaving", 0.07, OK, leaving),
    Kind("reading", 0.04, OK, reading),
    Kind("admin", 0.01, OK, admin),
)
