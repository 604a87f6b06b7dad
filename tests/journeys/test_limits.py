"""Limits, key pools and budgets from the caller's side: 429, 402 and 400 with their numbers, and nothing over the limit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.catalogue import Served, seed
from tests.fakes.provider import FakeProvider
from tests.journeys import rules
from tests.journeys.asking import Asker, Streamed
from tests.live import Gateway, until
from tests.redis_server import RedisServer, needs_redis

POOL = {"api_key": "${POOL_A}", "api_keys": ["${POOL_B}", "${POOL_C}"]}
KEYS = {name: f"sk-fake-{name.lower()}-0123456789abcdef" for name in ("POOL_A", "POOL_B", "POOL_C")}
BUDGETED = "limits/priced"


MODELS: dict[str, Any] = {
    "limits/rpm": Served("ok", {"limits": {"rpm": 2}}),
    "limits/spill": (Served("ok", {"limits": {"rpm": 1}}), "ok"),
    "limits/tpm": Served("ok", {"limits": {"tpm": 300}}),
    "limits/small": Served("ok", {"limits": {"tpm": 50}}),
    "limits/failing": Served("status?code=500", {"limits": {"tpm": 300}}),
    "limits/busy": Served("ok?tokens=8&delay=0.05", {"limits": {"concurrency": 2}}),
    "limits/left": Served("ok?tokens=200&delay=0.05", {"limits": {"concurrency": 1}}),
    "limits/environment": "ok",
    "limits/open": "ok",
    "limits/slow": "ok?tokens=6&delay=0.1",
    "limits/held": "ok?tokens=6&delay=2",
    BUDGETED: "ok?tokens=10&delay=0.02",
    "limits/searching": "ok",
    "pool/even": Served("by-key", POOL),
    "pool/limited": Served("by-key?a=429", POOL),
    "pool/refused": Served("by-key?a=401&b=402", POOL),
    "pool/out": Served("by-key?a=401&b=403&c=401", POOL),
    "pool/resting": Served("by-key?a=429&b=429&c=429", POOL),
}
ENVIRONMENT = {**KEYS, "LIMITS_ENVIRONMENT_1_RPM_LIMIT": "1", "FAILED_AUTH_LIMIT": "30"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, fake: FakeProvider, migrated_database: Any) -> Iterator[Gateway]:
    """A gateway of this module's own, with limits everywhere."""
    content = seed(fake, MODELS)
    (searching,) = (model for model in content["models"] if model["id"] == "limits/searching")
    searching["pricing"]["web_search"] = "0.01"
    with Gateway(tmp_path_factory.mktemp("limits"), content, ENVIRONMENT, database=migrated_database) as running:
        yield running
        assert "Traceback" not in running.log, running.log


@pytest.fixture
def ask(gateway: Gateway, marker: str) -> Asker:
    return Asker(gateway, marker)


def key_with(gateway: Gateway, name: str, **fields: Any) -> str:
    """A new key with these columns, known to the server."""
    secret = gateway.manage(
        "shell", "-v", "0", "-c", f"from accounting import keys; print(keys.mint({name!r}, **{fields!r})[1])"
    )
    # Longer than the server needs to see an edit, so that no further refused key is counted against this address.
    time.sleep(0.8)
    return secret.strip()


def limited(response: httpx.Response) -> dict[str, Any]:
    """The error of a 429 of ours, its headers checked."""
    assert response.status_code == 429, response.text
    error = rules.is_error(response.json(), 429, "rate_limit_exceeded")
    headers = response.headers
    assert 1 <= int(headers["retry-after"]) <= 86_400
    assert int(headers["x-ratelimit-limit"]) >= 1
    assert int(headers["x-ratelimit-remaining"]) >= 0
    assert 0 <= int(headers["x-ratelimit-reset"]) / 1000 - time.time() <= 86_400
    assert error["metadata"]["headers"]["X-RateLimit-Reset"] == headers["x-ratelimit-reset"]
    rules.is_readable_by_browsers(headers)
    return error


def test_requests_over_a_providers_limit_are_told_when_to_return(ask, fake, marker):
    assert [ask.chat("limits/rpm").status_code for _ in range(2)] == [200, 200]

    response = ask.chat("limits/rpm")

    error = limited(response)
    assert response.headers["x-ratelimit-limit"] == "2"
    assert response.headers["x-ratelimit-remaining"] == "0"
    assert error["metadata"]["limit_source"] == "openrouter_admission_control"
    assert "2 requests per minute" in error["message"]
    assert len(fake.calls_with(marker)) == 2
    assert limited(ask.chat("limits/rpm", stream=True))


def test_what_is_over_its_limit_is_left_out_and_another_serves(ask, gateway, marker):
    answers = [ask.chat("limits/spill").json()["provider"] for _ in range(3)]

    assert answers == ["Spill 1", "Spill 2", "Spill 2"]
    until(lambda: len(gateway.sql("SELECT 1 FROM api_logs WHERE user_id = ?", marker)) == 3, "three rows")
    plans = gateway.sql("SELECT plan FROM api_logs WHERE user_id = ? ORDER BY id DESC", marker)
    assert '"code":"limit"' in plans[0]["plan"].replace(" ", "")


def test_tokens_are_reserved_and_settled_to_what_was_used(ask):
    # 12 + 3 tokens are used each time, of the 203 reserved: were they not given back, the second would not fit.
    assert [ask.chat("limits/tpm", max_tokens=200).status_code for _ in range(4)] == [200] * 4

    error = limited(ask.chat("limits/tpm", max_tokens=250))
    assert "300 tokens per minute" in error["message"]
    assert error["metadata"]["used"] == 60


def test_a_request_larger_than_the_limit_is_told_so_and_not_to_wait(ask):
    response = ask.chat("limits/small", max_tokens=500)

    error = rules.is_error(response.json(), 400, "token_limit_exceeded")
    assert "retry-after" not in response.headers
    assert "50 tokens per minute" in error["message"]
    assert "max_tokens" in error["message"]
    assert ask.chat("limits/small", max_tokens=10).status_code == 200


def test_a_call_that_failed_has_used_no_tokens(ask):
    assert [ask.chat("limits/failing", max_tokens=290).status_code for _ in range(2)] == [502, 502]


def test_a_stream_counts_until_it_ends(ask):
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ask.chat("limits/busy", stream=True), range(6)))

    assert Counter(answer.status_code for answer in answers) == {200: 2, 429: 4}
    assert "at once" in limited(next(answer for answer in answers if answer.status_code == 429))["message"]
    for answer in answers:
        if answer.status_code == 200:
            assert Streamed.parse(200, answer.headers, answer.text).is_done
    assert ask.chat("limits/busy").status_code == 200


def test_a_client_that_leaves_frees_its_place(ask, gateway):
    with gateway.client.stream("POST", "/v1/chat/completions", json=ask.body("limits/left", stream=True)) as response:
        parts = response.iter_bytes()
        next(parts)
        assert ask.chat("limits/left").status_code == 429

    def is_free() -> bool:
        with gateway.client.stream("POST", "/v1/chat/completions", json=ask.body("limits/left", stream=True)) as again:
            return again.status_code == 200

    until(is_free, "the place is free")


def test_a_limit_may_come_from_the_environment(ask):
    assert ask.chat("limits/environment").status_code == 200
    assert "1 requests per minute" in limited(ask.chat("limits/environment"))["message"]


def test_a_keys_own_limits_hold_for_it_alone(gateway, marker):
    mine = Asker(gateway, marker, key=key_with(gateway, "two a minute", rpm_limit=2))
    assert [mine.chat("limits/open").status_code for _ in range(2)] == [200, 200]

    error = limited(mine.chat("limits/open"))

    assert error["metadata"]["limit_source"] == "openrouter_key_limit"
    assert "two a minute" in error["message"]
    assert Asker(gateway, marker).chat("limits/open").status_code == 200


def test_a_keys_streams_are_counted_until_they_end(gateway, marker):
    mine = Asker(gateway, marker, key=key_with(gateway, "three at once", max_concurrency=3))

    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda _: mine.chat("limits/slow", stream=True).status_code, range(9)))

    assert Counter(answers) == {200: 3, 429: 6}
    assert mine.chat("limits/slow").status_code == 200


def test_wrong_keys_are_slowed_down_and_good_ones_let_in(gateway, marker):
    good = key_with(gateway, "good")
    wrong = Asker(gateway, marker, key="sk-or-v1-" + "0" * 64)

    answers = [wrong.chat("limits/open") for _ in range(33)]

    assert Counter(answer.status_code for answer in answers) == {401: 30, 429: 3}
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert Asker(gateway, marker, key=good).chat("limits/open").status_code == 200
    assert Asker(gateway, marker).chat("limits/open").status_code == 200


# --- pools of keys ----------------------------------------------------------------------------------------------------


def keys_sent(fake: FakeProvider, marker: str) -> list[str]:
    return [call.headers["authorization"].partition("pool_")[2][:1] for call in fake.calls_with(marker)]


def test_all_keys_of_a_pool_are_used_alike(ask, fake, marker):
    assert [ask.chat("pool/even").status_code for _ in range(6)] == [200] * 6
    assert Counter(keys_sent(fake, marker)) == {"a": 2, "b": 2, "c": 2}


def test_a_rate_limited_key_is_followed_by_the_next_and_rests(ask, fake, marker):
    assert [ask.chat("pool/limited", stream=bool(number % 2)).status_code for number in range(5)] == [200] * 5
    assert Counter(keys_sent(fake, marker))["a"] == 1


def test_refused_keys_are_left_alone(ask, fake, marker, gateway):
    assert [ask.chat("pool/refused").status_code for _ in range(4)] == [200] * 4
    assert Counter(keys_sent(fake, marker)) == {"a": 1, "b": 1, "c": 4}
    assert not any(secret in gateway.log for secret in KEYS.values())


def test_with_every_key_out_the_adapter_is_left_out_by_name(ask, fake, marker):
    assert ask.chat("pool/out").status_code == 502
    response = ask.chat("pool/out")

    error = rules.is_error(response.json(), 503, "provider_unavailable")
    assert [exclusion["code"] for exclusion in error["metadata"]["exclusions"]] == ["keys_exhausted"]
    assert "key 1 of 3 was refused" in error["message"]
    assert int(response.headers["retry-after"]) > 1
    assert not any(secret in response.text for secret in KEYS.values())
    assert len(fake.calls_with(marker)) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_while_every_key_rests_the_caller_is_rate_limited_and_told_when_to_return(ask, fake, marker, stream):
    ask.chat("pool/resting")
    calls = len(fake.calls_with(marker))
    response = ask.chat("pool/resting", stream=stream)

    error = rules.is_error(response.json(), 429, "rate_limit_exceeded")
    assert [exclusion["code"] for exclusion in error["metadata"]["exclusions"]] == ["keys_exhausted"]
    assert "key 1 of 3 was rate limited" in error["message"]
    assert 1 <= int(response.headers["retry-after"]) <= 30
    assert not any(secret in response.text for secret in KEYS.values())
    assert len(fake.calls_with(marker)) == calls, "no key was tried while all rest"


# --- budgets ----------------------------------------------------------------------------------------------------------

WORST = 3 * 0.000001 + 100 * 0.000002
"""What a request of three prompt tokens and at most 100 more may cost at the catalogue's prices."""
USED = 12 * 0.000001 + 10 * 0.000002


def test_a_budget_admits_no_more_than_it_could_pay_for(gateway, marker):
    mine = Asker(gateway, marker, key=key_with(gateway, "twenty", limit_usd=f"{20.5 * WORST:.6f}"))

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: mine.chat(BUDGETED, max_tokens=100), range(200)))

    codes = Counter(answer.status_code for answer in answers)
    assert set(codes) == {200, 402}
    refused = [answer for answer in answers if answer.status_code == 402]
    error = rules.is_error(refused[0].json(), 402, "payment_required")
    assert "requires more credits, or fewer max_tokens. You requested up to 100 tokens" in error["message"]
    metadata = error["metadata"]
    assert metadata["limit_source"] == "openrouter_key_limit"
    assert metadata["needed"] == pytest.approx(WORST, rel=0.01)
    assert metadata["spent"] + metadata["reserved"] + metadata["needed"] > metadata["limit"]
    assert metadata["resets_at"] is None
    # All that was let in together could be paid for: what is spent stays within the limit.
    until(lambda: len(gateway.sql("SELECT 1 FROM api_logs WHERE user_id = ?", marker)) == 200, "all rows")
    (row,) = gateway.sql("SELECT SUM(cost_usd) AS spent FROM api_logs WHERE user_id = ?", marker)
    assert row["spent"] <= 20.5 * WORST


def test_at_once_exactly_as_many_run_as_could_be_paid_for(gateway, marker, fake):
    mine = Asker(gateway, marker, key=key_with(gateway, "five", limit_usd=f"{5.5 * WORST:.6f}", limit_reset="daily"))

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: mine.chat("limits/held", max_tokens=100), range(20)))

    assert Counter(answer.status_code for answer in answers) == {200: 5, 402: 15}
    error = next(answer for answer in answers if answer.status_code == 402)
    assert error.headers["retry-after"] == "1"
    assert error.json()["error"]["metadata"]["resets_at"].endswith("T00:00:00+00:00")


def test_searches_that_are_asked_for_are_reserved(gateway, marker):
    mine = Asker(gateway, marker, key=key_with(gateway, "searching", limit_usd=f"{2 * WORST:.6f}"))
    response = mine.chat("limits/searching", max_tokens=100, plugins=[{"id": "web"}])
    assert response.status_code == 402
    assert response.json()["error"]["metadata"]["needed"] == pytest.approx(WORST + 10 * 0.01, rel=0.01)
    assert mine.chat("limits/searching", max_tokens=100).status_code == 200


def test_what_was_spent_is_known_after_a_restart(start_gateway, fake, marker):
    gateway = start_gateway(seed(fake, {"money/one": "ok?tokens=10"}))
    key = key_with(gateway, "restarted", limit_usd=f"{WORST + USED / 2:.6f}")
    mine = Asker(gateway, marker, key=key)
    assert mine.chat("money/one", max_tokens=100).status_code == 200
    gateway.row(user_id=marker)

    gateway.restart()

    response = mine.chat("money/one", max_tokens=100)
    assert response.status_code == 402
    assert response.json()["error"]["metadata"]["spent"] == pytest.approx(USED)
    assert "retry-after" not in response.headers


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    directory = tmp_path / "redis"
    directory.mkdir()
    with RedisServer(directory) as running:
        yield running


@needs_redis
def test_over_several_processes_limits_and_budgets_hold_with_redis(start_gateway, fake, marker, redis):
    models: dict[str, Any] = {"shared/rpm": Served("ok", {"limits": {"rpm": 20}}), "shared/slow": "ok?tokens=6&delay=2"}
    # More patience than in production, so that a busy machine does not decide the test.
    environment = {"REDIS_URL": redis.url, "REDIS_PATIENCE_MS": "2000"}
    first = start_gateway(seed(fake, models), **environment)
    key = key_with(first, "shared", limit_usd=f"{5.5 * WORST:.6f}")
    # A second process on the same database: what `--workers 2` is, but with an address of its own.
    second = Gateway(first.directory, seed(fake, models), {**first.database.environment, **environment})
    second.start()
    try:
        askers = [Asker(gateway, marker, key=key) for gateway in (first, second)]
        with ThreadPoolExecutor(20) as pool:
            paid = list(pool.map(lambda n: askers[n % 2].chat("shared/slow", max_tokens=100).status_code, range(20)))
            open_to_all = [Asker(gateway, marker) for gateway in (first, second)]
            rates = list(pool.map(lambda n: open_to_all[n % 2].chat("shared/rpm").status_code, range(60)))
    finally:
        second.terminate()
        second.client.close()

    assert 1 <= Counter(paid)[200] <= 5, Counter(paid)
    assert set(paid) == {200, 402}
    assert Counter(rates) == {200: 20, 429: 40}


@needs_redis
def test_without_its_redis_the_gateway_serves_on(start_gateway, fake, marker, redis):
    gateway = start_gateway(seed(fake, {"shared/ok": Served("ok", {"limits": {"rpm": 1000}})}), REDIS_URL=redis.url)
    ask = Asker(gateway, marker)
    assert ask.chat("shared/ok").status_code == 200

    redis.stop()
    assert [ask.chat("shared/ok").status_code for _ in range(20)] == [200] * 20
    redis.start()

    until(lambda: "Redis answers again" in gateway.log, "it is back")
    assert gateway.log.count("Redis is away") == 1
    assert ask.chat("shared/ok").status_code == 200
