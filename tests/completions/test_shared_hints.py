"""Hints between processes, on a real Redis: each `SharedHints` here stands for one process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

import pytest
import redis

from catalog.entries import Prices
from completions.hearsay import Hearsay
from completions.shared_hints import HINTS, SharedHints
from completions.upstream import prepare
from gateway_project.errors import ProviderUnavailable
from routingapp.capacity import Capacity
from routingapp.health import Health
from routingapp.keypool import Fault
from routingapp.stickiness import Conversation, Stickiness
from tests.redis_server import RedisServer, needs_redis
from tests.routingapp.world import adapter, provider

pytestmark = needs_redis
ACME = provider("acme", 1, api_keys=("${ACME_A}", "${ACME_B}"))
SERVED = adapter(ACME, 1, prices=Prices.parse({"prompt": "0.000001", "input_cache_read": "0.0000001"}))
TALK: Conversation = (None, "acme/falcon", "session:a")


@dataclass
class Process:
    """One process: what it knows, and its connection."""

    state: Hearsay
    hints: SharedHints

    def fail(self, times: int = 5) -> None:
        """Calls of the adapter that end in a fault of its provider."""
        for _ in range(times):
            self.state.health.started(1, time.monotonic())
            self.state.health.failed(1, time.monotonic(), ProviderUnavailable("boom"))

    @property
    def is_paused(self) -> bool:
        return self.state.health.is_open(1, time.monotonic())

    def pin(self, talk: Conversation = TALK) -> None:
        self.state.stickiness.put(talk, SERVED, time.monotonic())

    def pinned_to(self, talk: Conversation = TALK) -> int | None:
        return self.state.stickiness.get(talk, time.monotonic())


Join = Callable[[], Process]


def counted(way: str) -> float:
    """What the metric says of all processes here together."""
    return HINTS.labels(way)._value.get()


async def until(probe: Callable[[], object], what: str, within_s: float = 5) -> None:
    deadline = time.monotonic() + within_s
    while not probe():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
async def joined_to() -> AsyncIterator[Callable[[str], Process]]:
    """One more process at the Redis of that URL."""
    endpoints = MappingProxyType({1: prepare(SERVED, lambda name: f"sk-{name}")})
    started: list[SharedHints] = []

    def join(url: str) -> Process:
        state = Hearsay(Health(), Capacity(time.time), Stickiness(), lambda: endpoints)
        hints = SharedHints(url, state)
        hints.start()
        started.append(hints)
        return Process(state, hints)

    yield join
    for hints in started:
        await hints.stop()


@pytest.fixture
def join(server: RedisServer, joined_to: Callable[[str], Process]) -> Join:
    server.flush()
    return lambda: joined_to(server.url)


async def test_an_adapter_that_one_process_pauses_is_paused_in_all_and_back_in_all(join):
    one, others = join(), [join(), join()]
    one.fail()
    assert one.is_paused
    await until(lambda: all(other.is_paused for other in others), "the others have heard of the pause")

    later = time.monotonic() + 10
    one.state.health.started(1, later)
    one.state.health.answered(1, later)
    await until(lambda: not any(other.is_paused for other in others), "the others have heard of the answer")


async def test_a_key_that_one_process_finds_limited_rests_in_all(join):
    one, other = join(), join()
    one.state.capacity.pools.failed(ACME, 0, Fault.RATE_LIMITED, 30.0, time.monotonic(), 1)

    def is_out() -> bool:
        return other.state.capacity.pools.out(ACME, time.monotonic(), 1)[Fault.RATE_LIMITED] == 1

    await until(is_out, "the other has heard of the key")
    assert {other.state.capacity.pools.choose(ACME, time.monotonic(), 1) for _ in range(5)} == {1}


async def test_a_conversation_is_where_it_was_in_whichever_process(join):
    one, other = join(), join()
    one.pin()

    await until(lambda: other.pinned_to() == 1, "the other has heard of the pin")


async def test_who_starts_later_knows_what_was_told_before(join):
    one = join()
    one.fail()
    one.pin()
    await until(lambda: not one.hints._waiting, "everything is sent")

    late = join()

    await until(lambda: late.is_paused and late.pinned_to() == 1, "the late one has caught up")
    assert late.state.health.view(1, time.monotonic()).last_error == "ProviderUnavailable: boom (seen by another process)"


async def test_many_pins_at_once_all_arrive(join):
    told, heard = counted("told"), counted("heard")
    one, other = join(), join()
    talks: list[Conversation] = [(number, "acme/falcon", "session:a") for number in range(3000)]
    for talk in talks:
        one.pin(talk)

    await until(lambda: all(other.pinned_to(talk) for talk in talks[::100]) and other.pinned_to(talks[-1]), "all pins")
    assert len(other.state.stickiness) == 3000
    await until(lambda: counted("told") - told == counted("heard") - heard == 3000, "all are counted")


async def test_while_redis_is_away_each_decides_alone_and_afterwards_hears_what_it_missed(tmp_path, joined_to, caplog):
    with caplog.at_level(logging.INFO, "gateway.hints"), RedisServer(tmp_path) as server:
        one, other = joined_to(server.url), joined_to(server.url)
        one.pin()
        await until(lambda: other.pinned_to() == 1, "they hear each other")
        server.stop()
        one.fail()
        assert one.is_paused
        await until(lambda: one.hints.is_away and other.hints.is_away, "both have noticed")
        assert not other.is_paused

        server.start()

        await until(lambda: other.is_paused, "the other has heard of the pause")
        await until(lambda: not one.hints.is_away, "the first has noticed too")
        await one.hints.stop()
        await other.hints.stop()
    messages = [record.getMessage() for record in caplog.records]
    assert len([message for message in messages if "no hints" in message]) == 2, "once for each process"
    assert len([message for message in messages if "hints of other processes again" in message]) == 2


async def test_what_was_learned_while_redis_was_silent_is_heard_afterwards(tmp_path, joined_to):
    with RedisServer(tmp_path) as server:
        one, other = joined_to(server.url), joined_to(server.url)
        one.pin()
        await until(lambda: other.pinned_to() == 1, "they hear each other")
        server.freeze()
        one.fail()
        assert one.is_paused
        await until(lambda: one.hints.is_away, "the silence is noticed")

        server.thaw()

        await until(lambda: other.is_paused, "the other has heard of the pause")
        await one.hints.stop()
        await other.hints.stop()


async def test_hints_that_wait_are_bounded(tmp_path, joined_to):
    dropped = counted("dropped")
    one = joined_to(f"unix://{tmp_path}/nobody.sock")
    for number in range(12_000):
        one.pin((number, "acme/falcon", "session:a"))
        if number % 1000 == 0:
            await asyncio.sleep(0)

    await until(lambda: one.hints.is_away, "nobody is there")
    assert len(one.hints._waiting) <= 10_000
    assert counted("dropped") - dropped >= 1_000
    assert one.pinned_to((11_999, "acme/falcon", "session:a")) == 1


async def test_lines_of_another_version_are_counted_and_the_next_is_heard(server, join, caplog):
    unreadable = counted("unreadable")
    one, other = join(), join()
    with redis.Redis.from_url(server.url) as stranger:
        for line in (b"{", b'[["of-a-later-version", "", 0]]'):
            stranger.xadd("gateway:hints:faults", {"from": "a later version", "hints": line})
    one.fail()

    await until(lambda: other.is_paused, "the next line is heard")
    await until(lambda: one.hints.unreadable == other.hints.unreadable == 2, "both have counted them")
    assert counted("unreadable") - unreadable == 4
    assert caplog.text.count("cannot be read") == 2, "once for each process"


async def test_streams_are_bounded_and_end_with_their_gateway(server, join):
    one = join()
    one.fail()
    one.pin()
    await until(lambda: not one.hints._waiting, "everything is sent")

    with redis.Redis.from_url(server.url) as looking:

        def lifetimes() -> list[int]:
            return [looking.ttl(f"gateway:hints:{kind}") for kind in ("faults", "pins")]

        await until(lambda: min(lifetimes()) > 0, "both streams are there, and will end")
        assert max(lifetimes()) <= 3600
