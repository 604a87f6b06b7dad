"""The account endpoints through Django's own handler: shapes, money, windows, and who may see what."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from openrouter import components, operations

from accounting import account, keys, ledger, loader, spending, store
from accounting.ledger import Ledger
from accounting.lines import encode
from accounting.models import ApiKey, HourlyUsage, RequestLog
from accounting.record import Attempt, Record
from accounting.rows import read
from catalog.models import Adapter
from completions import snapshot
from gateway_project.errors import Unauthenticated
from tests import factories

pytestmark = pytest.mark.django_db

THURSDAY = datetime(2026, 11, 19, 15, 30, tzinfo=UTC)


@pytest.fixture
def adapter() -> Adapter:
    model = factories.language_model("acme/falcon", canonical_slug="acme/falcon-20261001")
    return factories.adapter(model, factories.provider("acme", name="Acme Inc."))


@pytest.fixture(autouse=True)
def running_ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ledger:
    """The process's ledger without its writer: what is settled stays in the journal."""
    running = Ledger(tmp_path / "journal")
    monkeypatch.setattr(ledger, "_ledger", running)
    return running


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`call("GET", "/v1/key", secret)`: the response, with keys as they are in the database."""
    monkeypatch.setattr(snapshot, "current", lambda: snapshot.Snapshot(None, None, loader.load()))  # type: ignore[arg-type]

    def ask(method: str, path: str, secret: str | None = None, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        sent = "" if body is None else json.dumps(body)
        return Client().generic(method, path, sent, "application/json", headers=headers)

    return ask


@pytest.fixture
def manager() -> str:
    """The secret of a management key."""
    return keys.mint("manager", is_management=True)[1]


def request(adapter: Adapter, key: ApiKey | None, at: datetime = THURSDAY, **fields: Any) -> Record:
    """A finished request."""
    served: dict[str, Any] = {
        "request_id": f"gen-{at.timestamp():.0f}-{fields.pop('nth', 0):020}",
        "timestamp": at.timestamp(),
        "model_id": adapter.model.public_id,
        "provider": adapter.provider.slug,
        "adapter_id": adapter.pk,
        "api_key_id": key.pk if key else None,
        "status_code": 200,
        "latency_ms": 1310,
        "ttft_ms": 420,
        "stream": True,
        "prompt_tokens": 42,
        "completion_tokens": 17,
        "reasoning_tokens": 5,
        "total_tokens": 59,
        "cost_usd": "0.0000437",
        "finish_reason": "stop",
        "upstream_id": "up-1",
        "attempts": [Attempt(adapter.pk, "acme", "falcon", latency_ms=1300, ttft_ms=400, status=200, upstream_id="up-1")],
    }
    return Record(**served | fields)


def stored(*records: Record) -> None:
    """As the ledger's writer does."""
    store.add([read(encode(record)) for record in records], "default")


def problem(response: Any, status: int) -> str:
    """The message of an error, after checking its envelope."""
    assert response.status_code == status, response.content
    error = response.json()["error"]
    assert error["code"] == status
    assert error["metadata"]["error_type"]
    return error["message"]


class TestGeneration:
    def test_it_is_there_before_the_database_knows_of_it(self, call, adapter, running_ledger):
        key, secret = keys.mint("ci")
        running_ledger.settle(request(adapter, key))
        assert not RequestLog.objects.exists()
        response = call("GET", f"/v1/generation?id={request(adapter, key).request_id}", secret)
        data = response.json()["data"]
        assert data["total_cost"] == data["usage"] == 0.0000437
        assert (data["provider_name"], data["model"], data["streamed"]) == ("Acme Inc.", "acme/falcon", True)

    def test_another_process_has_settled_it(self, call, adapter, running_ledger, tmp_path):
        key, secret = keys.mint("ci")
        Ledger(tmp_path / "journal").settle(request(adapter, key))
        assert call("GET", f"/v1/generation?id={request(adapter, key).request_id}", secret).status_code == 200

    def test_the_journal_and_the_database_tell_the_same(self, call, adapter, running_ledger, monkeypatch, tmp_path):
        key, secret = keys.mint("ci")
        record = request(adapter, key, prices={"prompt": "0.000001"}, metadata={"a": "b"}, session_id="conv-1")
        running_ledger.settle(record)
        url = f"/v1/generation?id={record.request_id}"
        early = call("GET", url, secret).json()
        stored(record)
        monkeypatch.setattr(ledger, "_ledger", Ledger(tmp_path / "empty"))
        assert call("GET", url, secret).json() == early

    def test_every_field_has_the_sdks_type(self, call, adapter):
        key, secret = keys.mint("ci")
        record = request(adapter, key)
        stored(record)
        body = call("GET", f"/api/v1/generation?id={record.request_id}", secret).json()
        parsed = components.GenerationResponse.model_validate(body).data
        assert set(components.GenerationResponseData.model_fields) - set(body["data"]) == set()
        assert parsed.created_at == "2026-11-19T15:30:00.000Z"
        assert (parsed.latency, parsed.generation_time) == (420, 1300)
        assert (parsed.tokens_prompt, parsed.native_tokens_completion, parsed.native_tokens_reasoning) == (42, 17, 5)
        assert body["data"]["provider_responses"] == [
            {
                "status": 200, "provider_name": "Acme Inc.", "latency": 400, "is_byok": False, "id": "up-1",
                "model_permaslug": "acme/falcon-20261001", "endpoint_id": str(adapter.pk),
            }
        ]  # fmt: skip

    def test_what_a_cache_saved_is_told_at_the_prices_of_the_request(self, call, adapter):
        key, secret = keys.mint("ci")
        prices = {"prompt": "0.000002", "input_cache_read": "0.0000005", "input_cache_write": "0.0000025"}
        record = request(adapter, key, prices=prices, cache_read_tokens=1000, cache_write_tokens=100)
        stored(record)
        data = call("GET", f"/v1/generation?id={record.request_id}", secret).json()["data"]
        assert data["cache_discount"] == 0.00145
        assert data["native_tokens_cached"] == 1000

    def test_fallbacks_are_listed_without_nulls_that_clients_refuse(self, call, adapter):
        key, secret = keys.mint("ci")
        failed = Attempt(adapter.pk, "acme", "falcon", latency_ms=30, status=None, error_type="timeout", error="too slow")
        record = request(adapter, key, attempts=[failed, *request(adapter, key).attempts])
        stored(record)
        first, second = call("GET", f"/v1/generation?id={record.request_id}", secret).json()["data"]["provider_responses"]
        assert first["status"] is None
        assert None not in [value for name, value in first.items() if name != "status"]
        assert second["status"] == 200

    def test_each_sees_its_own_and_management_keys_all(self, call, adapter, manager):
        ada, ada_secret = keys.mint("ada")
        _, bob_secret = keys.mint("bob")
        hers, nobodys = request(adapter, ada, nth=1), request(adapter, None, nth=2)
        stored(hers, nobodys)
        may_see = {
            (name, record.request_id): call("GET", f"/v1/generation?id={record.request_id}", secret).status_code
            for name, secret in (("ada", ada_secret), ("bob", bob_secret), ("manager", manager), ("nobody", None))
            for record in (hers, nobodys)
        }
        allowed = {pair for pair, status in may_see.items() if status == 200}
        assert allowed == {
            ("ada", hers.request_id),
            ("manager", hers.request_id),
            ("manager", nobodys.request_id),
            ("nobody", nobodys.request_id),
        }
        assert set(may_see.values()) == {200, 404}

    def test_an_unknown_id_is_404_and_a_missing_one_400(self, call):
        _, secret = keys.mint("ci")
        assert "gen-0-x" in problem(call("GET", "/v1/generation?id=gen-0-x", secret), 404)
        assert problem(call("GET", "/v1/generation", secret), 400).startswith("id: ")


class TestContent:
    def test_it_is_what_was_asked_and_answered(self, call, adapter):
        key, secret = keys.mint("ci")
        messages = [{"role": "user", "content": "one"}]
        record = request(adapter, key, prompt=json.dumps(messages), response="two")
        stored(record)
        body = call("GET", f"/v1/generation/content?id={record.request_id}", secret).json()
        assert components.GenerationContentResponse.model_validate(body)
        assert body["data"] == {
            "input": {"messages": messages},
            "output": {"completion": "two", "reasoning": None},
            "error": None,
        }

    def test_a_failure_comes_with_all_its_errors(self, call, adapter):
        key, secret = keys.mint("ci")
        attempts = [
            Attempt(adapter.pk, "acme", "falcon", status=status, error=f"said {status}", error_type="server")
            for status in (500, 503)
        ]
        record = request(
            adapter, key, prompt="[not messages", status_code=503, error="Provider returned error", attempts=attempts
        )
        stored(record)
        body = call("GET", f"/v1/generation/content?id={record.request_id}", secret).json()
        assert components.GenerationContentResponse.model_validate(body)
        assert body["data"]["input"] == {"prompt": "[not messages"}
        error = body["data"]["error"]
        assert (error["status"], error["provider_name"]) == (503, "Acme Inc.")
        assert [(failed["code"], failed["message"]) for failed in error["previous_errors"]] == [(500, "said 500")]

    def test_what_is_not_stored_says_how_it_would_be(self, call, adapter):
        key, secret = keys.mint("ci")
        record = request(adapter, key)
        stored(record)
        assert "LOG_CONTENT" in problem(call("GET", f"/v1/generation/content?id={record.request_id}", secret), 404)


class TestOwnKey:
    def test_every_field_has_the_sdks_type(self, call):
        _, secret = keys.mint("ci", limit_usd=Decimal(10), limit_reset="monthly")
        for path in ("/v1/key", "/api/v1/key", "/v1/auth/key", "/api/v1/auth/key"):
            body = call("GET", path, secret).json()
            assert set(operations.GetCurrentKeyData.model_fields) - set(body["data"]) == set()
            parsed = operations.GetCurrentKeyResponse.model_validate(body).data
            assert body["data"]["effective_budget"]["scope"] == "key_limit"
            assert (parsed.limit, parsed.limit_remaining, parsed.limit_reset) == (10, 10, "monthly")
            assert parsed.is_management_key is False

    def test_without_a_key_there_is_nothing_to_tell(self, call):
        assert "Authorization: Bearer" in problem(call("GET", "/v1/key"), 401)

    def test_usage_is_summed_by_utc_day_week_and_month(self, adapter):
        key, _ = keys.mint("ci", limit_usd=Decimal("0.2"), limit_reset="weekly")
        costs = {
            datetime(2026, 11, 19, tzinfo=UTC): "0.1",  # today's first moment
            datetime(2026, 11, 16, tzinfo=UTC): "0.01",  # Monday's first
            datetime(2026, 11, 15, 23, 59, 59, tzinfo=UTC): "0.001",  # Sunday's last
            datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC): "0.0001",  # October's last
        }
        stored(*(request(adapter, key, at, cost_usd=cost) for at, cost in costs.items()))
        spent = spending.of_keys([key.pk], THURSDAY)[key.pk]
        assert spent == spending.Spending(
            daily=Decimal("0.1"),
            weekly=Decimal("0.11"),
            monthly=Decimal("0.111"),
            total=Decimal("0.1111"),
            last_used_at=datetime(2026, 11, 19, tzinfo=UTC),
        )
        assert spending.remaining(key, spent) == Decimal("0.09")
        key.limit_reset = ""
        assert spending.remaining(key, spent) == Decimal("0.0889")
        key.limit_usd = Decimal("0.1")
        assert spending.remaining(key, spent) == 0

    def test_answers_of_today_that_cost_nothing_are_counted_against_no_quota(self, call, adapter):
        key, secret = keys.mint("ci")
        gratis = factories.adapter(model=factories.language_model("acme/gratis"))
        now = timezone.now()
        stored(
            *(request(gratis, key, now, request_id=f"gen-{number}", cost_usd="0") for number in range(3)),
            request(gratis, key, now, request_id="gen-failed", cost_usd="0", status_code=502),
            request(gratis, key, now - timedelta(days=1), request_id="gen-old", cost_usd="0"),
            request(adapter, key, now, request_id="gen-paid", cost_usd="0.1"),
        )
        told = call("GET", "/v1/key", secret).json()["data"]["free_model_daily_requests"]
        assert (told["used"], told["limit"] - told["remaining"]) == (3, 3)
        assert told["remaining"] > 1_000_000_000

    @pytest.mark.parametrize(
        ("reset", "now", "end"),
        [
            ("daily", "2026-11-19T23:59", "2026-11-20"),
            ("weekly", "2026-11-22T23:59", "2026-11-23"),
            ("weekly", "2026-11-23T00:00", "2026-11-30"),
            ("monthly", "2026-12-31T12:00", "2027-01-01"),
        ],
    )
    def test_limits_are_reset_at_midnight_utc(self, reset, now, end):
        key = factories.api_key(limit_reset=reset)
        expected = datetime.fromisoformat(end).replace(tzinfo=UTC)
        assert spending.resets_at(key, datetime.fromisoformat(now).replace(tzinfo=UTC)) == expected

    def test_other_limits_are_never_reset(self):
        assert spending.resets_at(factories.api_key(), THURSDAY) is None


class TestManagement:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/keys"),
            ("POST", "/v1/keys"),
            ("GET", "/v1/keys/abc"),
            ("PATCH", "/v1/keys/abc"),
            ("DELETE", "/v1/keys/abc"),
            ("GET", "/v1/credits"),
            ("GET", "/v1/activity"),
            ("GET", "/v1/stats"),
        ],
    )
    def test_it_needs_a_management_key(self, call, method, path):
        _, secret = keys.mint("ci")
        problem(call(method, path), 401)
        problem(call(method, path, f"{secret[:-4]}0000"), 401)
        assert "not a management key" in problem(call(method, path, secret), 403)

    def test_a_key_is_made_and_its_secret_shown_once(self, call, manager):
        body = {"name": "ci", "limit": 12.5, "limit_reset": "weekly", "expires_at": "2036-01-31T00:00:00Z"}
        response = call("POST", "/v1/keys", manager, body)
        assert response.status_code == 201
        assert response.headers["Cache-Control"] == "no-store"
        answer = response.json()
        assert operations.CreateKeysResponse.model_validate(answer).data.expires_at == datetime(2036, 1, 31, tzinfo=UTC)
        row = ApiKey.objects.get(hash=answer["data"]["hash"])
        assert (row.name, row.limit_usd, row.limit_reset, row.is_management) == ("ci", Decimal("12.5"), "weekly", False)
        assert loader.load().authenticate(answer["key"], THURSDAY.timestamp()).id == row.pk
        assert answer["key"] not in call("GET", "/v1/keys", manager).content.decode()

    @pytest.mark.parametrize(
        ("body", "status", "says"),
        [
            ({}, 400, "name"),
            ({"name": ""}, 422, "name"),
            ({"name": "ci", "limit": -1}, 422, "limit"),
            ({"name": "ci", "limit": 0.0000001}, 400, "limit"),
            ({"name": "ci", "limit": "much"}, 400, "limit"),
            ({"name": "ci", "limit": "1e9999999"}, 400, "limit"),
            ({"name": "ci", "limit": "1e-9999999"}, 400, "limit"),
            ({"name": "ci", "limit_reset": "yearly"}, 400, "limit_reset"),
            ({"name": "ci", "expires_at": "2020-01-01T00:00:00Z"}, 400, "in the past"),
            ({"name": "ci", "workspace_id": "other"}, 400, "only one workspace"),
            ({"name": "ci", "external": {"user": "u"}}, 400, "Partners"),
        ],
    )
    def test_a_wrong_wish_makes_no_key_and_no_request_log(self, call, manager, running_ledger, body, status, says):
        assert says in problem(call("POST", "/v1/keys", manager, body), status)
        assert ApiKey.objects.count() == 1
        assert running_ledger.status().backlog_lines == 0

    def test_a_key_is_changed_field_by_field(self, call, manager):
        row, secret = keys.mint("ci", limit_usd=Decimal(1), limit_reset="daily")
        body = call("PATCH", f"/v1/keys/{row.hash}", manager, {"limit": 2}).json()
        assert operations.UpdateKeysResponse.model_validate(body).data.limit == 2
        assert body["data"]["limit_reset"] == "daily"
        body = call("PATCH", f"/v1/keys/{row.hash}", manager, {"limit": None, "limit_reset": None, "name": "new"}).json()
        assert (body["data"]["limit"], body["data"]["limit_reset"], body["data"]["name"]) == (None, None, "new")
        body = call("PATCH", f"/v1/keys/{row.hash}", manager, {"disabled": True}).json()
        assert (body["data"]["disabled"], body["data"]["name"]) == (True, "new")
        problem(call("GET", "/v1/key", secret), 401)

    def test_a_change_that_breaks_a_rule_changes_nothing(self, call, manager):
        row, _ = keys.mint("ci")
        assert problem(call("PATCH", f"/v1/keys/{row.hash}", manager, {"name": "new", "limit": -1}), 422)
        row.refresh_from_db()
        assert row.name == "ci"

    def test_keys_are_listed_newest_first_and_the_useless_only_on_demand(self, call, manager):
        now = timezone.now()
        for age, name in enumerate(["newest", "disabled", "expired", "oldest"]):
            row, _ = keys.mint(name, is_disabled=name == "disabled")
            expires_at = now - timedelta(days=1) if name == "expired" else None
            ApiKey.objects.filter(pk=row.pk).update(created_at=now - timedelta(hours=age), expires_at=expires_at)

        def listed(query: str = "") -> list[str]:
            body = call("GET", f"/v1/keys{query}", manager).json()
            operations.ListResponse.model_validate(body)
            return [key["name"] for key in body["data"]]

        assert listed() == ["newest", "oldest"]
        assert listed("?include_disabled=true") == ["newest", "disabled", "oldest"]
        assert listed("?include_disabled=true&include_expired=true&offset=2") == ["expired", "oldest"]

    def test_a_page_costs_the_same_however_many_keys_it_has(self, adapter, django_assert_num_queries):
        for number in range(5):
            stored(request(adapter, keys.mint(f"key {number}")[0], nth=number))
        with django_assert_num_queries(3):
            page = account.page(offset=0, include_disabled=False, include_expired=False)
        assert [key["usage"] for key in page] == [0.0000437] * 5

    def test_a_key_without_history_is_deleted(self, call, manager):
        row, secret = keys.mint("ci")
        assert call("DELETE", f"/v1/keys/{row.hash}", manager).json() == {"deleted": True}
        assert not ApiKey.objects.filter(pk=row.pk).exists()
        problem(call("GET", "/v1/key", secret), 401)
        problem(call("DELETE", f"/v1/keys/{row.hash}", manager), 404)

    def test_a_key_that_logs_name_is_hidden_and_refused_for_good(self, call, manager, adapter):
        row, secret = keys.mint("ci")
        record = request(adapter, row)
        stored(record)
        assert call("DELETE", f"/v1/keys/{row.hash}", manager).json() == {"deleted": True}
        ApiKey.objects.filter(pk=row.pk).update(is_disabled=False)
        with pytest.raises(Unauthenticated, match="deleted"):
            loader.load().authenticate(secret, THURSDAY.timestamp())
        for method in ("GET", "PATCH", "DELETE"):
            problem(call(method, f"/v1/keys/{row.hash}", manager, {"disabled": False} if method == "PATCH" else None), 404)
        assert call("GET", "/v1/keys?include_disabled=true", manager).json() == {"data": []}
        assert RequestLog.objects.get(request_id=record.request_id).api_key == row

    def test_admin_shows_a_deleted_key_as_such_and_does_not_enable_it(self, adapter):
        row, _ = keys.mint("ci")
        stored(request(adapter, row))
        account.delete(row)
        browser = factories.browser()
        chosen = {"action": "enable", "_selected_action": [row.pk]}
        page = browser.post("/admin/accounting/apikey/", chosen, follow=True).content.decode()
        assert '<td class="field-state">deleted</td>' in page
        row.refresh_from_db()
        assert row.is_disabled

    def test_management_keys_are_not_managed_here(self, call, manager):
        other, _ = keys.mint("other manager", is_management=True)
        assert call("GET", "/v1/keys", manager).json() == {"data": []}
        problem(call("DELETE", f"/v1/keys/{other.hash}", manager), 404)

    def test_credits_are_what_was_spent_and_what_limits_allow(self, call, manager, adapter):
        limited, _ = keys.mint("limited", limit_usd=Decimal(5))
        keys.mint("spent and disabled", limit_usd=Decimal(50), is_disabled=True)
        keys.mint("without a limit")
        stored(request(adapter, limited, cost_usd="2", nth=1), request(adapter, None, cost_usd="1.5", nth=2))
        body = call("GET", "/v1/credits", manager).json()
        assert operations.GetCreditsResponse.model_validate(body)
        assert body == {"data": {"total_credits": 6.5, "total_usage": 3.5}}

    def test_a_large_body_is_refused_as_such(self, call, manager):
        assert "DATA_UPLOAD" in problem(call("POST", "/v1/keys", manager, {"name": "x" * 3_000_000}), 413)


class TestActivity:
    def test_it_sums_each_complete_day_by_model_and_endpoint(self, call, manager, adapter, monkeypatch):
        key, _ = keys.mint("ci")
        midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
        yesterday = midnight - timedelta(days=1)
        stored(
            request(adapter, key, midnight, nth=1),
            request(adapter, key, midnight - timedelta(seconds=1), nth=2, cache_read_tokens=7),
            request(adapter, None, yesterday, nth=3),
            request(adapter, key, midnight - timedelta(days=30), nth=4),
            request(adapter, key, midnight - timedelta(days=30, seconds=1), nth=5),
        )
        body = call("GET", "/v1/activity", manager).json()
        parsed = components.ActivityResponse.model_validate(body).data
        assert [(item.date_, item.requests) for item in parsed] == [
            (f"{yesterday:%Y-%m-%d}", 2),
            (f"{midnight - timedelta(days=30):%Y-%m-%d}", 1),
        ]
        assert body["data"][0] | {"date": ""} == {
            "date": "", "model": "acme/falcon", "model_permaslug": "acme/falcon-20261001", "endpoint_id": str(adapter.pk),
            "provider_name": "Acme Inc.", "usage": 0.0000874, "byok_usage_inference": 0, "requests": 2,
            "prompt_tokens": 84, "completion_tokens": 34, "reasoning_tokens": 10, "cached_tokens": 7,
        }  # fmt: skip
        one = call("GET", f"/v1/activity?date={yesterday:%Y-%m-%d}&api_key_hash={key.hash}", manager).json()["data"]
        assert [item["requests"] for item in one] == [1]
        split = call("GET", "/v1/activity?group_by=workspace", manager).json()["data"]
        assert {item["workspace_id"] for item in split} == {account.WORKSPACE_ID}

    @pytest.mark.parametrize("date", ["yesterday", "2020-01-01", f"{timezone.now():%Y-%m-%d}"])
    def test_another_date_is_refused(self, call, manager, date):
        assert problem(call("GET", f"/v1/activity?date={date}", manager), 400).startswith("date: ")

    def test_an_unknown_key_is_404(self, call, manager):
        problem(call("GET", f"/v1/activity?api_key_hash={'0' * 64}", manager), 404)


class TestStatistics:
    def test_the_staff_may_read_them_without_a_key(self, call, django_user_model):
        client = factories.browser()
        assert client.get("/v1/stats").status_code == 200
        problem(client.post("/v1/stats"), 405)
        ordinary = Client()
        ordinary.force_login(django_user_model.objects.create_user("ordinary"))
        problem(ordinary.get("/v1/stats"), 401)
        assert client.get("/v1/keys").status_code == 401

    def test_they_are_published_in_numbers(self, call, manager, adapter):
        key, _ = keys.mint("ci")
        now = timezone.now()
        failed = {
            "status_code": 502,
            "error_type": "provider_unavailable",
            "error_domain": "provider",
            "finish_reason": None,
        }
        refused = {"status_code": 429, "error_type": "rate_limit_exceeded", "error_domain": "policy"}
        stored(
            request(adapter, key, now, nth=1),
            request(adapter, None, now, nth=2, **failed),
            request(adapter, key, now, nth=3, total_tokens=0, cost_usd="0", **refused),
        )
        body = call("GET", "/v1/stats?hours=1&group_by=key", manager).json()["data"]
        total = body["total"]
        assert (total["requests"], total["successes"], total["errors"], total["refusals"]) == (3, 1, 2, 1)
        assert (total["success_rate"], total["failure_rate"]) == (0.333333, 0.5)
        assert total["errors_by_type"] == {"provider_unavailable": 1, "rate_limit_exceeded": 1}
        assert total["tokens"]["total"] == 118
        assert total["cost_usd"] == 0.0000874
        assert total["latency_ms"]["p50"] == pytest.approx(1310, rel=0.02)
        assert total["ttft_ms"]["p99"] == pytest.approx(420, rel=0.02)
        assert {group["key"]: group["requests"] for group in body["groups"]} == {key.hash: 2, None: 1}
        hours = call("GET", "/v1/stats?hours=3&group_by=hour", manager).json()["data"]["groups"]
        assert [hour["hour"] for hour in hours] == [f"{now:%Y-%m-%dT%H}:00:00Z"]

    @pytest.mark.parametrize("query", ["hours=0", "hours=x", "group_by=colour"])
    def test_a_wrong_question_is_refused(self, call, manager, query):
        response = call("GET", f"/v1/stats?{query}", manager)
        assert response.status_code in (400, 422)
        assert response.json()["error"]["message"].startswith(query.partition("=")[0])


class TestBrowsers:
    def test_they_may_ask_and_read_whatever_page_it_is(self, call):
        _, secret = keys.mint("ci")
        asked = {
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "authorization, x-stainless-os",
        }
        allowed = Client().options("/api/v1/keys/abc", headers=asked)
        assert (allowed.status_code, allowed.headers["Access-Control-Allow-Headers"]) == (
            204,
            "authorization, x-stainless-os",
        )
        assert "PATCH" in allowed.headers["Access-Control-Allow-Methods"]
        for path in ("/v1/key", "/v1/keys", "/v1/keys/a/b"):
            response = call("GET", path, secret)
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert "Access-Control-Allow-Credentials" not in response.headers
        assert "Access-Control-Allow-Origin" not in Client().get("/admin/login/").headers

    @pytest.mark.parametrize(
        "path", ["/v1/generation?id=a%00b", "/v1/keys/a%00b", "/v1/stats?model=%00", "/v1/activity?api_key_hash=%00"]
    )
    def test_a_nul_which_no_database_takes_is_the_callers_fault(self, call, manager, path):
        assert "NUL" in problem(call("GET", path, manager), 400)

    def test_a_name_with_a_nul_is_refused(self, call, manager):
        response = call("POST", "/v1/keys", manager, {"name": "a\x00b"})
        assert 400 <= response.status_code < 500
        assert "NUL" in response.json()["error"]["message"]

    def test_pages_and_methods_that_do_not_exist_are_told_in_the_envelope(self, call, manager):
        assert "/v1/keys/a/b" in problem(call("GET", "/v1/keys/a/b", manager), 404)
        response = call("PUT", "/v1/keys", manager, {})
        assert "GET, POST" in problem(response, 405)
        assert set(response.headers["Allow"].split(", ")) == {"GET", "POST"}


def test_a_lost_database_is_503_and_not_a_bug(call, manager, monkeypatch):
    def lost(*_: Any, **__: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(account, "credits", lost)
    response = call("GET", "/v1/credits", manager)
    assert "does not answer" in problem(response, 503)
    assert response.headers["Retry-After"] == "5"


def test_nothing_is_asked_of_the_request_logs(call, manager, adapter, django_assert_max_num_queries):
    key, _ = keys.mint("ci")
    stored(request(adapter, key))
    with django_assert_max_num_queries(12) as asked:
        for path in ("/v1/stats?group_by=key", "/v1/credits", "/v1/activity"):
            assert call("GET", path, manager).status_code == 200
    assert HourlyUsage._meta.db_table in str(asked.captured_queries)
    assert RequestLog._meta.db_table not in str(asked.captured_queries)
