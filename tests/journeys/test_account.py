"""The account endpoints of a live gateway, through OpenRouter's own SDK."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from openrouter import OpenRouter
from openrouter import errors as openrouter_errors

from tests.fakes.catalogue import PRICING, seed
from tests.live import Gateway, until

LIVE_WITHIN_S = 1.0
"""How soon a change of a key is known to every worker."""


@pytest.fixture(scope="module")
def manager_secret(gateway: Gateway) -> str:
    """A management key of the shared gateway."""
    return gateway.create_key("manager", "--management")


@pytest.fixture
def manager(gateway: Gateway, manager_secret: str) -> Iterator[OpenRouter]:
    with client(gateway, manager_secret) as opened:
        yield opened


def client(gateway: Gateway, secret: str) -> OpenRouter:
    return OpenRouter(api_key=secret, server_url=f"{gateway.url}/api/v1", timeout_ms=10_000, retry_config=None)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def chat(gateway: Gateway, secret: str | None, model: str = "fake/ok", **more) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "one two three"}], **more}
    return gateway.client.post("/v1/chat/completions", json=body, headers=bearer(secret) if secret else {})


# --- Generations ---


@pytest.mark.parametrize("stream", [False, True])
def test_a_generation_is_there_as_soon_as_its_answer_has_ended(gateway, key, stream):
    answer = chat(gateway, key, "fake/priced", stream=stream)
    with client(gateway, key) as mine:
        data = mine.generations.get_generation(id=answer.headers["X-Generation-Id"]).data
    assert (data.model, data.streamed, data.cancelled, data.finish_reason) == ("fake/priced", stream, False, "stop")
    assert (data.native_tokens_cached, data.native_tokens_reasoning) == (5, 3)
    expected = sum(
        count * float(PRICING[price])
        for count, price in (
            (data.tokens_prompt - 5, "prompt"),
            (5, "input_cache_read"),
            (data.tokens_completion, "completion"),
        )
    )
    assert data.total_cost == data.usage == pytest.approx(expected)
    assert data.cache_discount == pytest.approx(5 * (float(PRICING["prompt"]) - float(PRICING["input_cache_read"])))
    assert data.provider_responses[0].status == 200
    if not stream:
        assert answer.json()["usage"]["cost"] == pytest.approx(data.total_cost)


def test_a_generation_of_another_key_is_404(gateway, key, manager):
    request_id = chat(gateway, None).headers["X-Generation-Id"]
    with client(gateway, key) as mine, pytest.raises(openrouter_errors.NotFoundResponseError):
        mine.generations.get_generation(id=request_id)
    assert manager.generations.get_generation(id=request_id).data.id == request_id
    assert gateway.client.get(f"/v1/generation?id={request_id}").status_code == 200


def test_a_failed_request_is_a_generation_too(gateway, key):
    answer = chat(gateway, key, "log/only-500")
    with client(gateway, key) as mine:
        data = mine.generations.get_generation(id=answer.headers["X-Generation-Id"]).data
    assert answer.status_code >= 500
    assert (data.provider_responses[0].status, data.finish_reason) == (500, None)


def test_contents_are_shown_where_they_are_stored(gateway, key, strict_gateway, strict_key):
    answer = chat(strict_gateway, strict_key)
    with client(strict_gateway, strict_key) as mine:
        content = mine.generations.list_generation_content(id=answer.headers["X-Generation-Id"]).data
    assert content.input.messages == [{"role": "user", "content": "one two three"}]
    assert content.output.completion == "one two three"
    elsewhere = chat(gateway, key).headers["X-Generation-Id"]
    with client(gateway, key) as mine, pytest.raises(openrouter_errors.NotFoundResponseError, match="LOG_CONTENT"):
        mine.generations.list_generation_content(id=elsewhere)


def test_every_worker_knows_a_generation_at_once(start_gateway, fake):
    gateway = start_gateway(seed(fake, {"fake/ok": "ok"}), options=("--workers", "2"))
    answered_by = set()
    for _ in range(20):
        # A connection of its own for each request, so that either worker may get it.
        with httpx.Client(base_url=gateway.url) as fresh:
            answer = fresh.post(
                "/v1/chat/completions", json={"model": "fake/ok", "messages": [{"role": "user", "content": "x"}]}
            )
        with httpx.Client(base_url=gateway.url) as fresh:
            found = fresh.get("/api/v1/generation", params={"id": answer.headers["X-Generation-Id"]})
        assert found.status_code == 200, found.text
        answered_by.add(found.json()["data"]["id"])
    assert len(answered_by) == 20


# --- Keys ---


def test_a_key_lives_from_its_making_to_its_deletion(gateway, manager):
    tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    made = manager.api_keys.create(name="ci", limit=10, limit_reset="monthly", expires_at=tomorrow)
    assert (made.data.name, made.data.limit_remaining, made.data.expires_at) == ("ci", 10, tomorrow)
    started = time.monotonic()
    until(lambda: chat(gateway, made.key).status_code == 200, "the new key works", LIVE_WITHIN_S)
    assert time.monotonic() - started < LIVE_WITHIN_S
    gateway.row(api_key_id=gateway.sql("SELECT id FROM accounting_apikey WHERE hash = ?", made.data.hash)[0]["id"])

    with client(gateway, made.key) as mine:
        own = mine.api_keys.get_current_key_metadata().data
    seen = manager.api_keys.get(hash=made.data.hash).data
    assert own.usage == own.usage_daily == own.usage_weekly == own.usage_monthly == seen.usage > 0
    assert own.limit_remaining == seen.limit_remaining == pytest.approx(10 - own.usage)
    assert seen.last_used_at is not None
    assert made.data.hash in {key.hash for key in manager.api_keys.list().data}

    assert manager.api_keys.update(hash=made.data.hash, name="ci 2", limit=None).data.limit is None
    assert manager.api_keys.get(hash=made.data.hash).data.name == "ci 2"

    assert manager.api_keys.delete(hash=made.data.hash).DELETED is True
    until(lambda: chat(gateway, made.key).status_code == 401, "the deleted key is refused", LIVE_WITHIN_S)
    with pytest.raises(openrouter_errors.NotFoundResponseError):
        manager.api_keys.get(hash=made.data.hash)
    assert made.data.hash not in {key.hash for key in manager.api_keys.list(include_disabled=True).data}


def test_a_disabled_key_is_refused_within_a_second(gateway, manager):
    made = manager.api_keys.create(name="to be disabled")
    until(lambda: chat(gateway, made.key).status_code == 200, "the new key works", LIVE_WITHIN_S)
    manager.api_keys.update(hash=made.data.hash, disabled=True)
    until(lambda: chat(gateway, made.key).status_code == 401, "the disabled key is refused", LIVE_WITHIN_S)
    assert made.data.hash not in {key.hash for key in manager.api_keys.list().data}
    assert made.data.hash in {key.hash for key in manager.api_keys.list(include_disabled=True).data}


def test_an_ordinary_key_manages_nothing(gateway, key):
    with client(gateway, key) as mine:
        for call in (mine.api_keys.list, mine.credits.get_credits, mine.analytics.get_user_activity):
            with pytest.raises(openrouter_errors.OpenRouterError) as caught:
                call()
            assert caught.value.status_code == 403
        with pytest.raises(openrouter_errors.OpenRouterError) as caught:
            mine.api_keys.create(name="ci")
        assert caught.value.status_code == 403


def test_a_refused_account_request_is_in_no_request_log(gateway, manager_secret, marker):
    before = gateway.sql("SELECT MAX(id) AS id FROM api_logs")[0]["id"]
    refused = gateway.client.post("/v1/keys", json={"name": ""}, headers={**bearer(manager_secret), "User-Agent": marker})
    assert refused.status_code == 422
    chat(gateway, None, user=marker)
    gateway.row(user_id=marker)
    assert not gateway.sql("SELECT id FROM api_logs WHERE id > ? AND user_agent = ?", before or 0, marker)


# --- Money and statistics ---


def test_credits_and_activity_are_the_sdks(gateway, manager):
    credits = manager.credits.get_credits().data
    assert credits.total_credits >= credits.total_usage >= 0
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert manager.analytics.get_user_activity(request={"date_": f"{yesterday:%Y-%m-%d}"}).data == []


def test_statistics_count_what_was_asked(gateway, manager, manager_secret):
    made = manager.api_keys.create(name="counted")
    until(lambda: chat(gateway, made.key).status_code == 200, "the new key works", LIVE_WITHIN_S)
    for model in ("fake/ok", "fake/priced", "books/only-500"):
        chat(gateway, made.key, model)

    def counted() -> dict[str, Any]:
        # Two hours, because the one in which this began may be over.
        params = {"hours": 2, "key": made.data.hash, "group_by": "model"}
        found = gateway.client.get("/v1/stats", params=params, headers=bearer(manager_secret)).json()["data"]
        return found if found["total"]["requests"] == 4 else {}

    found = until(counted, "four requests are counted")
    assert (found["total"]["successes"], found["total"]["errors"]) == (3, 1)
    assert {group["model"]: group["requests"] for group in found["groups"]} == {
        "fake/ok": 2, "fake/priced": 1, "books/only-500": 1,
    }  # fmt: skip
    assert found["total"]["cost_usd"] == pytest.approx(manager.api_keys.get(hash=made.data.hash).data.usage)
    latency = found["total"]["latency_ms"]  # of answers that may have taken less than a millisecond
    assert 0 <= latency["p50"] <= latency["p95"] <= latency["p99"] < 5000
