"""Limits over several processes, on a real Redis: each `SharedLimits` here stands for one process."""

from __future__ import annotations

import asyncio
import logging
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from completions.claims import Claim, Denied, Held, Rate, State
from completions.shared_limits import PATIENCE_S, SLOW_IN_A_ROW, SharedLimits
from tests.benchmarks import limits_exactness
from tests.redis_server import RedisServer, needs_redis

pytestmark = needs_redis
Join = Callable[[], SharedLimits]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
async def join(server: RedisServer) -> AsyncIterator[Join]:
    """One more process at the same Redis."""
    server.flush()
    started: list[SharedLimits] = []

    def start() -> SharedLimits:
        shared = SharedLimits(server.url)
        shared.start()
        started.append(shared)
        return shared

    yield start
    for shared in started:
        await shared.stop()


async def ask(shared: SharedLimits, *claims: Rate | Held, patience_s: float = 5.0) -> Claim:
    """The claim with its answer. Patient, so that a busy machine does not decide the test."""
    asked = shared.claim(claims)
    await shared.wait(asked, patience_s)
    return asked


async def denied_of(shared: SharedLimits, *claims: Rate | Held) -> Denied:
    """What is said of claims that do not fit."""
    asked = await ask(shared, *claims)
    assert asked.state is State.DENIED
    assert asked.denied is not None
    return asked.denied


def rate(amount: int = 1, limit: int = 10, name: str = "acme:rpm", at: float | None = None) -> Rate:
    return Rate(name, amount, limit, 60, time.time() // 60 * 60 + 1 if at is None else at)


async def test_a_window_is_one_for_all_processes(join):
    one, other = join(), join()
    states = [(await ask(shared, rate())).state for _ in range(8) for shared in (one, other)]

    assert states.count(State.TAKEN) == 10
    denied = await denied_of(other, rate())
    assert (denied.position, denied.used) == (0, 10)


async def test_the_last_period_still_counts_in_part(join):
    one = join()
    minute = time.time() // 60 * 60
    assert (await ask(one, rate(10, at=minute - 30))).state is State.TAKEN

    assert (await ask(one, rate(6, at=minute + 30))).state is State.DENIED
    assert (await ask(one, rate(5, at=minute + 30))).state is State.TAKEN


async def test_all_claims_are_taken_or_none(join):
    one, other = join(), join()
    for _ in range(5):
        assert (await denied_of(one, rate(), rate(limit=0, name="acme:tpm"))).position == 1

    states = [(await ask(other, rate())).state for _ in range(11)]
    assert states.count(State.TAKEN) == 10


async def test_what_was_not_used_is_given_back(join):
    one, other = join(), join()
    taken = rate(10)
    await ask(one, taken)
    one.note([rate(-7)])
    await ask(one, rate(0))

    assert (await ask(other, rate(8))).state is State.DENIED
    assert (await ask(other, rate(7))).state is State.TAKEN


async def test_a_window_that_is_over_is_not_brought_back(join):
    one = join()
    one.note([rate(-5, name="gone"), rate(50, name="gone")])

    assert (await ask(one, rate(10, name="gone"))).state is State.TAKEN


async def test_running_requests_of_all_processes_are_counted_together(join):
    one, other = join(), join()
    for count in (1, 2):
        assert (await ask(one, Held("acme:now", count, 3, needed=1))).state is State.TAKEN
    assert (await ask(other, Held("acme:now", 1, 3, needed=1))).state is State.TAKEN
    denied = await denied_of(other, Held("acme:now", 2, 3, needed=1))
    assert denied.used == 3

    one.note([Held("acme:now", 1, 3)])
    await ask(one, rate(0))
    other.note([Held("acme:now", 1, 3)])

    assert (await ask(other, Held("acme:now", 2, 3, needed=1))).state is State.TAKEN


async def test_what_a_dead_process_held_is_free_again(join, monkeypatch):
    monkeypatch.setattr("completions.shared_limits.STALE_AFTER_S", 0.2)
    one, other = join(), join()
    assert (await ask(one, Held("acme:now", 3, 3, needed=3))).state is State.TAKEN
    await one.stop()
    assert (await ask(other, Held("acme:now", 1, 3, needed=1))).state is State.DENIED
    other.note([Held("acme:now", 0, 3)])

    await asyncio.sleep(0.3)

    assert (await ask(other, Held("acme:now", 1, 3, needed=1))).state is State.TAKEN


async def test_what_is_held_for_long_is_said_again_before_it_goes_stale(join, monkeypatch):
    monkeypatch.setattr("completions.shared_limits.STALE_AFTER_S", 0.5)
    monkeypatch.setattr("completions.shared_limits.REFRESH_EVERY_S", 0.1)
    one, other = join(), join()
    await ask(one, Held("acme:now", 3, 3, needed=3))

    await asyncio.sleep(0.8)

    assert (await ask(other, Held("acme:now", 1, 3, needed=1))).state is State.DENIED


def budget(reserved: int, *, spent: int = 0, needed: int = 0, spending: int = 0) -> Held:
    return Held("key:1", reserved, 100, needed=needed, spent=spent, spending=spending)


async def test_spending_is_added_up_over_processes(join):
    one, other = join(), join()
    assert (await ask(one, budget(60, needed=60))).state is State.TAKEN
    assert (await ask(other, budget(60, needed=60))).state is State.DENIED
    other.note([budget(0)])
    one.note([budget(0, spent=10, spending=10)])
    await ask(one, rate(0))

    denied = await denied_of(other, budget(91, needed=91))
    assert denied.spent == 10
    other.note([budget(0)])
    assert (await ask(other, budget(90, needed=90))).state is State.TAKEN


async def test_what_the_database_knows_is_a_floor(join):
    one, other = join(), join()
    assert (await ask(one, budget(1, spent=70, needed=1))).state is State.TAKEN

    denied = await denied_of(other, budget(31, spent=20, needed=31))
    assert (denied.used, denied.spent) == (71, 70)


async def test_of_a_burst_over_three_processes_as_many_get_through_as_fit(join):
    processes = [join() for _ in range(3)]
    held = [0, 0, 0]

    async def request(number: int) -> bool:
        which = number % 3
        held[which] += 1
        asked = processes[which].claim([Held("acme:now", held[which], 20, needed=1), rate(limit=1000)])
        await processes[which].wait(asked, 2)
        if asked.state is not State.TAKEN:
            held[which] -= 1
            processes[which].note([Held("acme:now", held[which], 20)])
        return asked.state is State.TAKEN

    admitted = await asyncio.gather(*(request(number) for number in range(200)))

    assert 0 < sum(admitted) <= 20
    assert sum(held) == sum(admitted)


async def test_redis_away_costs_no_time_and_is_said_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "gateway.limits"), RedisServer(tmp_path) as server:
        shared = SharedLimits(server.url)
        shared.start()
        assert (await ask(shared, rate())).state is State.TAKEN
        server.stop()
        took = []
        for _ in range(100):
            began = time.perf_counter()
            asked = shared.claim([rate(limit=1000)])
            await shared.wait(asked)
            assert (asked.state, asked.denied) == (State.UNKNOWN, None)
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0)
        server.start()
        await becomes(shared, is_away=False)
        assert (await ask(shared, rate())).state is State.TAKEN
        await shared.stop()

    assert sorted(took)[98] < PATIENCE_S
    messages = [record.message for record in caplog.records]
    assert len(messages) == 2, messages
    assert "Redis is away" in messages[0]
    assert "answers again" in messages[1]


async def test_a_silent_redis_is_waited_for_five_milliseconds_each_and_soon_not_at_all(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("completions.shared_limits.ANSWER_WITHIN_S", 0.5)
    with caplog.at_level(logging.WARNING, "gateway.limits"), RedisServer(tmp_path) as server:
        shared = SharedLimits(server.url)
        shared.start()
        assert (await ask(shared, rate())).state is State.TAKEN
        server.freeze()
        took = []
        for _ in range(200):
            began = time.perf_counter()
            asked = shared.claim([rate(limit=1000)])
            await shared.wait(asked)
            assert asked.state is not State.TAKEN
            took.append(time.perf_counter() - began)
        await becomes(shared, is_away=True)
        server.thaw()
        await becomes(shared, is_away=False)
        assert (await ask(shared, rate(limit=1000))).state is State.TAKEN
        await shared.stop()

    assert statistics.median(took) < PATIENCE_S, "a busy machine may be late now and then, but nobody goes on waiting"
    assert "Redis is away" in caplog.records[0].message


async def becomes(shared: SharedLimits, *, is_away: bool) -> None:
    async with asyncio.timeout(20):
        while shared.is_away is not is_away:
            await asyncio.sleep(0.01)


async def test_a_redis_that_was_never_there_does_not_stop_anything(tmp_path):
    shared = SharedLimits(f"unix://{tmp_path}/nobody.sock")
    shared.start()
    for _ in range(20):
        asked = await ask(shared, rate())
        assert (asked.state, asked.denied) == (State.UNKNOWN, None)
    assert shared.is_away
    await shared.stop()


# --- What was heard last ----------------------------------------------------------------------------------------------


async def test_a_redis_that_does_not_answer_is_believed_to_mean_what_it_said_last(join, server):
    one, other = join(), join()
    assert (await ask(other, rate(9))).state is State.TAKEN
    assert (await ask(one, rate(1))).state is State.TAKEN
    server.freeze()
    try:
        for _ in range(3):
            asked = await ask(one, rate(1), patience_s=PATIENCE_S)
            assert asked.denied is not None
            assert asked.denied.used >= 10
        assert (await ask(one, rate(1, name="another:rpm"), patience_s=PATIENCE_S)).denied is None
    finally:
        server.thaw()


async def test_what_went_on_without_an_answer_counts_when_it_is_denied_later(join):
    one, other = join(), join()
    assert (await ask(other, rate(10))).state is State.TAKEN
    asked = one.claim([rate(1)])
    asked.leave(None)
    await asked.answer

    assert asked.state is State.TAKEN
    await ask(one, rate(0, limit=1000))
    assert (await denied_of(other, rate())).used == 11


async def test_what_was_turned_away_without_an_answer_does_not_count(join):
    one, other = join(), join()
    for limit in (5, 6):
        assert (await ask(other, rate(5, limit=limit, name=f"acme:{limit}"))).state is State.TAKEN
        asked = one.claim([rate(1, limit=limit, name=f"acme:{limit}")])
        asked.leave(Denied(0, limit, 0))
        await asked.answer
        await ask(one, rate(0, name=f"acme:{limit}"))
        assert (await denied_of(other, rate(limit=5, name=f"acme:{limit}"))).used == 5


async def test_nobody_waits_for_a_redis_that_was_slow_three_times_in_a_row_until_it_is_quick_again(join):
    one = join()
    await ask(one, rate())
    one.patience_s = 0.0  # So that every answer is too slow.
    for _ in range(SLOW_IN_A_ROW):
        await ask(one, rate(limit=1000))

    began = time.perf_counter()
    asked = one.claim([rate(limit=1000)])
    await one.wait(asked, 60)
    assert time.perf_counter() - began < 30
    await asked.answer

    one.patience_s = 60.0
    await one.claim([rate(limit=1000)]).answer
    assert (await ask(one, rate(limit=1000))).state is State.TAKEN


def test_processes_that_share_a_redis_keep_to_a_limit_at_the_patience_of_production(tmp_path):
    """Only requests that went on without its word exceed it; on a quiet machine there are none."""
    counted = limits_exactness.run(tmp_path, processes=3, limit=300, rate=120, seconds=4)
    assert counted["admitted"] - 300 <= counted["without an answer"]
    # A machine that has no time to offer more than the limit lets all of it through.
    assert 0.98 * min(300, counted["admitted"] + counted["denied"]) <= counted["admitted"] <= 1.1 * 300
