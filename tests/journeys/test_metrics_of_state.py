"""Metrics of what a server is like, and not of single requests: breakers, keys, engines, limits, the journal, the snapshot."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from routingapp import health
from tests.fakes.call import Reply
from tests.fakes.catalogue import Served, provider_slug, seed
from tests.fakes.faults import send_error
from tests.fakes.provider import FakeProvider
from tests.fakes.scenarios import ok, scenario
from tests.journeys.scraping import TOKEN, Scrape
from tests.live import Gateway, until
from tests.redis_server import RedisServer, needs_redis

KEYS = {"FIRST_KEY": "sk-fake-first-0123456789abcdef", "SECOND_KEY": "sk-fake-second-0123456789abcdef"}
POOL = {"api_key": "${FIRST_KEY}", "api_keys": ["${SECOND_KEY}"]}
MODELS: dict[str, str | Served | Sequence[str | Served]] = {
    "s/ok": "ok?tokens=5",
    "s/limited": Served("first-key-limited", POOL),
    "s/rpm": Served("ok", {"limits": {"rpm": 1}}),
    "s/limping": "down-for?seconds=3",
    "s/hedged": (
        "slow-start?tokens=5",
        "ok?tokens=5",
    ),  # another count than elsewhere: the fake remembers starts by scenario
}


@scenario("first-key-limited")
async def first_key_limited(reply: Reply) -> None:
    """429 to the first key of the pool, a good answer to the other."""
    if "first" in reply.call.headers.get("authorization", ""):
        await send_error(reply, 429, "not with this key", "rate_limited", **{"retry-after": "30"})
    else:
        await ok(reply)


@pytest.fixture(scope="module")
def watched(tmp_path_factory, fake, migrated_database) -> Iterator[Gateway]:
    environment = {"METRICS_TOKEN": TOKEN, **KEYS}
    directory = tmp_path_factory.mktemp("state")
    with Gateway(directory, seed(fake, MODELS), environment, database=migrated_database) as running:
        yield running
        assert "Traceback" not in running.log, running.log


@pytest.fixture
def scrape(watched) -> Scrape:
    return Scrape(watched)


def ask(gateway: Gateway, model: str, key: str = "", **more) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "one two three"}], **more}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return gateway.client.post("/v1/chat/completions", json=body, headers=headers).status_code


def operate(gateway: Gateway, code: str) -> str:
    """What an operator does in admin, by the same models. Gives what was printed."""
    imports = (
        "from accounting import keys; from catalog.models import LanguageModel; from routingapp.models import RoutingPolicy"
    )
    return gateway.manage("shell", "-v", "0", "-c", f"{imports}; {code}").strip()


# --- Adapters, keys and engines ---------------------------------------------------------------------------------------


def test_a_breaker_whose_pause_is_over_is_half_open_until_a_call_succeeds(watched, scrape):
    """`Retry-After: 1` of this provider makes the pause a second long. Open ones: `test_an_open_breaker_is_seen`."""
    assert ask(watched, "s/limping") == 429
    until(lambda: scrape.value("gateway_breaker_state", model="s/limping") == 1, "the pause is over, and a call may try")
    until(lambda: ask(watched, "s/limping") == 200, "the provider is back", 10)
    assert scrape.value("gateway_breaker_state", model="s/limping") == 0
    assert scrape.value("gateway_breaker_state", model="s/ok") == 0


def test_a_key_that_rests_is_seen(watched, scrape):
    assert ask(watched, "s/limited") == 200
    provider = provider_slug("s/limited")
    assert scrape.value("gateway_provider_keys_out", provider=provider, reason="rate_limited") == 1
    assert scrape.value("gateway_provider_keys_out", provider=provider, reason="refused") == 0


def test_a_hedge_is_counted_as_such(watched, scrape):
    hedging = "RoutingPolicy.objects.create(model=LanguageModel.objects.get(public_id='s/hedged'), hedges=True)"
    wanted = int(operate(watched, f"{hedging}; from catalog import revision; print(revision.current())"))
    until(lambda: scrape.value("gateway_snapshot_revision") >= wanted, "the policy is live")
    # The first start is quick and tells what is usual, once it is measured anew; the second is slow.
    assert ask(watched, "s/hedged", stream=True) == 200
    time.sleep(health.FRESH_S)
    assert ask(watched, "s/hedged", stream=True) == 200
    assert scrape.change("gateway_reattempts_total", kind="hedge", model="s/hedged") == 1
    assert scrape.change("gateway_upstream_attempts_total", provider=provider_slug("s/hedged", 1), outcome="abandoned") == 1
    assert scrape.change("gateway_errors_total") == 0


def test_an_engine_is_up_until_it_does_not_answer(start_gateway, fake):
    with FakeProvider() as engine:
        ours = Served("ok", {"local": True}, base_url=engine.base_url("engine"))
        gateway = start_gateway(seed(fake, {"our/model": ours}), METRICS_TOKEN=TOKEN)
        gateway.routing_path.write_text('{"health_check": {"interval": 1, "timeout": 0.5}}')
        gateway.manage("loadmodels")
        scrape = Scrape(gateway)
        provider = provider_slug("our/model")
        until(lambda: scrape.value("gateway_engine_up", provider=provider) == 1, "it has answered its probe")
        engine.stop()
        until(lambda: scrape.value("gateway_engine_up", provider=provider) == 0, "it does not answer")


# --- Limits -----------------------------------------------------------------------------------------------------------


def test_refusals_by_limits_of_ours_are_counted_by_kind(watched, scrape):
    poor = operate(watched, "print(keys.mint('poor', limit_usd='0.000001')[1])")
    until(lambda: ask(watched, "s/ok", poor, max_tokens=1000) == 402, "the new key is known")
    before = scrape.change("gateway_limit_rejections_total", limit="budget")
    assert ask(watched, "s/ok", poor, max_tokens=1000) == 402
    assert scrape.change("gateway_limit_rejections_total", limit="budget") == before + 1
    assert scrape.change("gateway_limit_rejections_total", limit="rate") == 0
    assert [ask(watched, "s/rpm") for _ in range(3)] == [200, 429, 429]
    assert scrape.change("gateway_limit_rejections_total", limit="rate") == 2
    assert scrape.change("gateway_errors_total", domain="policy", error_type="rate_limit_exceeded") == 2


@needs_redis
def test_limits_that_are_no_longer_shared_are_seen(start_gateway, fake, tmp_path):
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as redis:
        limited = Served("ok", {"limits": {"rpm": 1000}})
        gateway = start_gateway(seed(fake, {"shared/ok": limited}), REDIS_URL=redis.url, METRICS_TOKEN=TOKEN)
        scrape = Scrape(gateway)
        shared = "gateway_shared_limits_up"
        until(lambda: ask(gateway, "shared/ok") == 200 and scrape.value(shared) == 1, "Redis answers")
        redis.stop()
        until(lambda: ask(gateway, "shared/ok") == 200 and scrape.value(shared) == 0, "Redis is missed")
        redis.start()
        until(lambda: ask(gateway, "shared/ok") == 200 and scrape.value(shared) == 1, "Redis is back")


@needs_redis
def test_hints_that_processes_give_each_other_are_counted(start_gateway, fake, tmp_path):
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as redis:
        content = seed(fake, {"hint/broken": "status?code=500"})
        first, second = (start_gateway(content, REDIS_URL=redis.url, METRICS_TOKEN=TOKEN) for _ in range(2))
        telling, hearing = Scrape(first), Scrape(second)
        until(lambda: ask(first, "hint/broken") and telling.value("gateway_hints_total", way="told") > 0, "a fault is told")
        until(lambda: hearing.value("gateway_hints_total", way="heard") > 0, "it is heard")
        for scrape in (telling, hearing):
            assert scrape.value("gateway_hints_total", way="dropped") == 0
            assert scrape.value("gateway_hints_total", way="unreadable") == 0


# --- Journal and snapshot ---------------------------------------------------------------------------------------------


def test_the_snapshot_tells_its_revision_and_ages(watched, scrape):
    assert scrape.value("gateway_models") == len(MODELS)
    assert scrape.value("gateway_snapshot_check_age_seconds") < 2
    before = scrape.value("gateway_snapshot_revision")
    edited_at = time.time()
    operate(watched, "LanguageModel.objects.first().save()")
    until(lambda: scrape.value("gateway_snapshot_revision") > before, "the edit is live")
    assert 0 < scrape.value("gateway_snapshot_age_seconds") < time.time() - edited_at


def test_an_outage_of_the_database_is_seen_and_what_it_left_behind_is_counted(start_gateway, fake):
    """Four answers while the table is away, kill -9, a line that broke off and one that no database takes."""
    gateway = start_gateway(seed(fake, {"j/ok": "ok"}), METRICS_TOKEN=TOKEN)
    scrape = Scrape(gateway)
    assert ask(gateway, "j/ok") == 200
    until(lambda: scrape.value("gateway_ledger_last_commit_timestamp_seconds") > 0, "a record was written")
    until(lambda: scrape.value("gateway_journal_backlog_records") == 0, "all are")
    assert scrape.value("gateway_ledger_database_up") == 1

    gateway.database.change("ALTER TABLE api_logs RENAME TO away")
    assert [ask(gateway, "j/ok") for _ in range(4)] == [200] * 4
    until(lambda: scrape.value("gateway_ledger_database_up") == 0, "the writer has tried")
    assert scrape.value("gateway_journal_backlog_records") == 4
    segment = segment_of(gateway)
    assert scrape.value("gateway_journal_backlog_bytes") == waiting_bytes(segment)
    until(lambda: scrape.value("gateway_journal_oldest_age_seconds") > 0.5, "its age grows")

    gateway.kill9()
    line = segment.read_bytes().splitlines(keepends=True)[-1]
    unacceptable = line.replace(b'"status_code":200', b'"status_code":null').replace(b"gen-", b"gen-x")
    assert unacceptable != line
    with segment.open("ab") as file:
        file.write(unacceptable + line[: len(line) // 2])
    gateway.database.change("ALTER TABLE away RENAME TO api_logs")
    gateway.start()
    until(lambda: scrape.value("gateway_journal_torn_lines_total") == 1, "the half line is counted")
    assert scrape.value("gateway_journal_adopted_records_total") == 6, "all whole lines of its segment"
    assert scrape.value("gateway_journal_lost_records_total") == 1
    assert scrape.value("gateway_journal_backlog_records") == 0
    assert scrape.value("gateway_journal_oldest_age_seconds") == 0
    assert len(gateway.sql("SELECT 1 FROM api_logs")) == 5


def segment_of(gateway: Gateway) -> Path:
    (segment,) = (gateway.directory / "journal").glob("[0-9]*.ndjson")
    return segment


def waiting_bytes(segment: Path) -> int:
    """The last four lines: what was there before them is in the database."""
    return sum(map(len, segment.read_bytes().splitlines(keepends=True)[-4:]))
