"""A pipeline over scripted providers on a virtual clock: everything of a request but HTTP, sockets and the database."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from accounting import ledger
from accounting.keys import ANONYMOUS, KeyRing
from accounting.record import Record
from catalog.entries import Catalogue, Quirks
from completions import intake
from completions.exchange import ClientHeaders, Exchange
from completions.pipeline import Pipeline
from completions.schemas import ChatRequest
from completions.snapshot import Snapshot
from completions.upstream import Upstream, prepare
from gateway_project.errors import GatewayError
from routingapp.entries import PolicyEntry, RoutingTable
from routingapp.health import Health
from tests.fakes.clock import VirtualLoop
from tests.fakes.transport import Played, Script, ScriptedDialer
from tests.routingapp.world import adapter, model, provider

MODEL = "acme/falcon"
FIRST_BYTE_S, IDLE_S, TOTAL_S = 2.0, 2.0, 10.0
KEEPALIVE_S = 1.0


@dataclass(slots=True)
class Outcome:
    """What a caller got: the pieces of the answer, the error, how it ended; what the providers saw; what is on the record.

    `said` is the answer by part: reasoning, content, and the name and arguments of each call.
    """

    record: Record
    calls: list[Played]
    took_s: float
    error: dict[str, Any] | None = None
    said: dict[str, str] = field(default_factory=dict)
    finishes: list[str] = field(default_factory=list)
    is_done: bool = False
    has_left: bool = False

    @property
    def attempts(self) -> list[int]:
        return [attempt.adapter_id for attempt in self.record.attempts]

    @property
    def asked(self) -> list[int]:
        """The adapters that were really called, in order."""
        return [int(call.host.removeprefix("p").partition(".")[0]) for call in self.calls]


@dataclass(slots=True)
class Stage:
    """One model on adapters 1 to `adapters`, tried in this order. Adapter n is at `pn.test`; `choose` gives its scripts.

    `own` are fields of single providers, by number. `refuses` tells of a host and the number of a call there whether it accepts
    no new connection for it.
    """

    choose: Callable[[str, dict[str, Any], int], Script]
    adapters: int = 3
    policy: PolicyEntry = field(default_factory=PolicyEntry)
    contexts: Sequence[int] = ()
    quirks: Quirks = field(default_factory=Quirks)
    own: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    refuses: Callable[[str, int], bool] = lambda host, number: False
    loop: VirtualLoop = field(default_factory=VirtualLoop)
    health: Health = field(default_factory=Health)
    pipeline: Pipeline = field(init=False)
    snapshot: Snapshot = field(init=False)
    transport: ScriptedDialer = field(init=False)

    def __post_init__(self) -> None:
        times = {"first_byte_timeout_s": FIRST_BYTE_S, "idle_timeout_s": IDLE_S, "total_timeout_s": TOTAL_S}
        common: dict[str, Any] = {"quirks": self.quirks, **times}
        served = [
            adapter(
                provider(
                    f"p{number}", number, base_url=f"http://p{number}.test/v1", **common | dict(self.own.get(number, {}))
                ),
                number,
                context_length=self.contexts[number - 1] if self.contexts else 8192,
            )
            for number in range(1, self.adapters + 1)
        ]
        # All but the first have weight 0, so that they are tried in their order.
        weights = {number: float(number == 1) for number in range(1, self.adapters + 1)}
        self.snapshot = Snapshot(
            Catalogue.of([model(*served)]),
            RoutingTable(MappingProxyType(weights), default_policy=self.policy),
            KeyRing(is_key_required=False),
            endpoints=MappingProxyType({entry.id: prepare(entry, lambda name: None) for entry in served}),
        )
        self.transport = ScriptedDialer(self.choose, self.refuses)
        self.pipeline = Pipeline(Upstream(self.transport), self.health, keepalive_s=KEEPALIVE_S, dice=random.Random(1))

    def ask(self, *, stream: bool = True, leaves_after_s: float | None = None, **fields: Any) -> Outcome:
        """One request, to its end or until the caller leaves."""
        return self.loop.run(self._ask(stream, leaves_after_s, fields))

    async def _ask(self, stream: bool, leaves_after_s: float | None, fields: dict[str, Any]) -> Outcome:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "stream": stream, **fields}
        exchange = Exchange.begin(ANONYMOUS, self.snapshot, ClientHeaders())
        began = exchange.started = self.loop.time()
        intake.accept(exchange, ChatRequest(**body), body, log_content="none")
        first_call = len(self.transport.calls)
        outcome = Outcome(exchange.record, [], 0.0)
        caller = asyncio.ensure_future(self._call(exchange, outcome, stream=stream))
        await asyncio.wait((caller,), timeout=leaves_after_s)
        if not caller.done():
            caller.cancel()
            await asyncio.wait((caller,))
            outcome.has_left = caller.cancelled()
        if not caller.cancelled():
            caller.result()
        outcome.calls = self.transport.calls[first_call:]
        outcome.took_s = self.loop.time() - began
        return outcome

    async def _call(self, exchange: Exchange, outcome: Outcome, *, stream: bool) -> None:
        try:
            if stream:
                source = await self.pipeline.stream(exchange)
                async with aclosing(source):
                    await _read(source, outcome)
            else:
                _take(await self.pipeline.complete(exchange), "message", outcome)
        except GatewayError as error:
            outcome.error = error.body()


async def _read(source: AsyncIterator[bytes], outcome: Outcome) -> None:
    async for part in source:
        # A caller's loop has other things to do between two pieces.
        await asyncio.sleep(0)
        for event in part.decode().split("\n\n"):
            if not event or event.startswith(":"):
                continue
            assert not outcome.is_done, "something follows [DONE]"
            if event == "data: [DONE]":
                outcome.is_done = True
            else:
                _take(json.loads(event.removeprefix("data: ")), "delta", outcome)


def _take(body: dict[str, Any], part: str, outcome: Outcome) -> None:
    assert outcome.error is None, "something follows the error"
    outcome.error = body.get("error")
    for choice in body["choices"]:
        if "usage" not in body or part == "message":  # The usage event repeats the finish.
            outcome.finishes += [choice["finish_reason"]] if choice["finish_reason"] else []
        pieces = {name: choice[part].get(name) or "" for name in ("reasoning", "content")}
        for call in choice[part].get("tool_calls") or ():
            assert "id" in call or f"name {call['index']}" in outcome.said, "a call goes on that never began"
            pieces[f"name {call['index']}"] = call["function"].get("name") or ""
            pieces[f"arguments {call['index']}"] = call["function"].get("arguments") or ""
        for name, text in pieces.items():
            if text or name.startswith(("name", "arguments")):
                outcome.said[name] = outcome.said.get(name, "") + text


def begin_ledger(directory: Any, monkeypatch: Any) -> ledger.Ledger:
    """A real ledger in `directory` whose lines stay in its journal: no database reads them away."""
    begun = ledger.Ledger(directory)
    monkeypatch.setattr(ledger, "_ledger", begun)
    return begun
