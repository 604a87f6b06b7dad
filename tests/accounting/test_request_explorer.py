"""The list of requests: each filter finds what it names, says what it refuses, and never reads the whole table."""

from __future__ import annotations

import itertools
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounting.admin import explorer, paging, request_filters
from accounting.admin.requests import RequestLogAdmin
from accounting.models import RequestLog
from tests import factories

LOGS = "/admin/accounting/requestlog/"
TWO_ATTEMPTS: list[dict[str, Any]] = [{"provider": "acme"}, {"provider": "beta"}]


@pytest.fixture
def browser(db):
    return factories.browser()


def found(browser, **query: Any) -> list[RequestLog]:
    return list(browser.get(LOGS, query).context["cl"].result_list)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"outcome": "failed"}, {"status_code": 502}),
        ({"status": "429"}, {"status_code": 429}),
        ({"status": "4xx"}, {"status_code": 404}),
        ({"status": "5xx"}, {"status_code": 504}),
        ({"status": "left"}, {"is_cancelled": True}),
        ({"error_domain": "provider,gateway"}, {"error_domain": "gateway"}),
        ({"error_domain": "policy"}, {"error_domain": "policy"}),
        ({"error_type": "timeout"}, {"error_type": "timeout", "status_code": 504}),
        ({"fallback": "yes"}, {"attempts": TWO_ATTEMPTS}),
        ({"slower": "1000"}, {"latency_ms": 1001}),
        ({"costlier": "0.05"}, {"cost_usd": Decimal("0.051")}),
        ({"session": "s-1"}, {"session_id": "s-1"}),
        ({"user": "ada"}, {"user_id": "ada"}),
        ({"provider": "Acme Two"}, {"provider": "Acme Two"}),
        ({"model_id": "acme/other"}, {"model_id": "acme/other"}),
        ({"api_key": "none", "session": "s-1"}, {"session_id": "s-1"}),
        ({"from": "2026-11-20T12:30"}, {"timestamp": factories.NOON + timedelta(hours=1)}),
        ({"until": "2026-11-20T11:30"}, {"timestamp": factories.NOON - timedelta(hours=1)}),
    ],
)
def test_a_filter_finds_what_it_names(browser, query, fields):
    for _ in range(2):
        factories.request_log()
    wanted = factories.request_log(**fields)
    assert found(browser, **query) == [wanted]


def test_adapter_and_key_are_chosen_by_their_names(browser):
    adapter, key = factories.adapter(), factories.api_key("ci")
    factories.usage_total(adapter, key)
    wanted = factories.request_log(adapter, key)
    factories.request_log(factories.adapter(), factories.api_key())
    page = browser.get(LOGS).text
    assert f'<option value="{adapter.pk}">{adapter.model.public_id} at {adapter.provider.name}</option>' in page
    assert f'<option value="{key.pk}">ci (' in page
    assert found(browser, adapter=adapter.pk) == found(browser, api_key=key.pk) == [wanted]


def test_filters_add_up_and_stay_in_the_form(browser):
    wanted = factories.request_log(latency_ms=900, status_code=502)
    factories.request_log(latency_ms=900)
    factories.request_log(status_code=502)
    page = browser.get(LOGS, {"slower": "500", "outcome": "failed"})
    assert list(page.context["cl"].result_list) == [wanted]
    assert 'name="slower" value="500"' in page.text
    assert '<option value="failed" selected>' in page.text


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"from": "soon"}, "&#x27;soon&#x27; is not a time; use e.g. 15m"),
        ({"from": "999999w"}, "date value out of range"),
        ({"status": "red"}, "&#x27;red&#x27; is no status"),
        ({"outcome": "lucky"}, "&#x27;lucky&#x27; is no outcome"),
        ({"slower": "-1"}, "is no whole number"),
        ({"slower": "9" * 30}, "is no whole number"),
        ({"costlier": "much"}, "&#x27;much&#x27; is no amount"),
        ({"costlier": "nan"}, "is no amount"),
        ({"adapter": "x"}, "is no whole number"),
        ({"api_key": "²"}, "is no whole number"),
    ],
)
def test_what_means_nothing_is_told_beside_its_field_and_lists_nothing(browser, query, told):
    factories.request_log()
    page = browser.get(LOGS, query)
    assert page.status_code == 200
    assert told in page.text
    assert not list(page.context["cl"].result_list)


def test_every_field_answers_any_text(browser):
    factories.request_log()
    for field, text in itertools.product(request_filters.EVERY, ("0", "1", "'; DROP", "9" * 40, "ü", " ")):
        assert browser.get(LOGS, {field.parameter_name: text}).status_code == 200


class TestFarBack:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        monkeypatch.setattr(explorer, "LOOKED_THROUGH", 10)
        monkeypatch.setattr(explorer, "LOOKED_UP", 6)

    def made(self, number: int, **fields: Any) -> list[RequestLog]:
        return [factories.request_log(timestamp=factories.NOON - timedelta(minutes=n), **fields) for n in range(number)]

    def test_what_no_index_answers_is_looked_for_among_the_latest_and_then_further_back(self, browser):
        logs = self.made(25)
        RequestLog.objects.filter(pk=logs[-1].pk).update(session_id="rare")
        page = browser.get(LOGS, {"session": "rare"})
        assert not list(page.context["cl"].result_list)
        assert "Looked through the latest requests back to 2026-11-20 11:50:00 UTC" in page.text
        for _ in range(2):
            page = browser.get(LOGS + page.context["cl"].further_back)
        assert list(page.context["cl"].result_list) == [logs[-1]]

    def test_nothing_falls_between_two_looks(self, browser):
        logs = self.made(25, session_id="often")
        seen, address = [], f"{LOGS}?session=often"
        while address:
            cl = browser.get(address).context["cl"]
            seen += list(cl.result_list)
            address = LOGS + cl.further_back if cl.looked_back_to else ""
        assert {log.pk for log in seen} == {log.pk for log in logs}

    @pytest.mark.parametrize(
        "query", [{}, {"model_id": "acme/model"}, {"outcome": "failed"}, {"from": "2020-01-01"}, {"q": "x"}]
    )
    def test_what_an_index_answers_is_looked_for_everywhere(self, browser, query):
        self.made(25)
        assert browser.get(LOGS, query).context["cl"].looked_back_to is None

    def test_a_model_is_looked_through_further_back_than_all_together(self, browser):
        self.made(25)
        rare = self.made(3, model_id="acme/rare", latency_ms=5000)
        assert len(found(browser, model_id="acme/rare", slower="1000")) == len(rare)

    def test_the_rows_of_an_index_lie_apart_and_so_fewer_are_looked_through(self, browser):
        self.made(25)
        cl = browser.get(LOGS, {"model_id": "acme/model", "slower": "100000"}).context["cl"]
        assert cl.looked_back_to == factories.NOON - timedelta(minutes=6)

    def test_of_several_indexes_the_one_that_reaches_furthest_back_is_used_alone(self, browser):
        key = factories.api_key("rare")
        self.made(25)
        rare = factories.request_log(api_key=key, timestamp=factories.NOON - timedelta(hours=1))
        with CaptureQueriesContext(connection) as queries:
            cl = browser.get(LOGS, {"api_key": key.pk, "model_id": "acme/model"}).context["cl"]
        assert list(cl.result_list) == [rare]
        assert cl.looked_back_to is None
        listing = [query["sql"] for query in queries if "api_logs" in query["sql"]][-1]
        assert '"api_key_id" = ' in listing
        assert re.search(r"COALESCE\(\(?\"api_logs\"\.\"model_id\" = ", listing), listing

    def test_sqlite_reads_the_failures_alone_for_what_is_looked_for_among_them(self, browser):
        if connection.vendor != "sqlite":
            pytest.skip("the others keep sizes of their own by which they choose")
        self.made(25, status_code=502)
        with CaptureQueriesContext(connection) as queries:
            browser.get(LOGS, {"outcome": "failed", "status": "404"})
        listing = [query["sql"] for query in queries if "api_logs" in query["sql"]][-1]
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {listing}")
            plan = "; ".join(row[-1] for row in cursor.fetchall())
        assert "api_logs_errors" in plan
        assert "api_logs_time" not in plan

    def test_the_rows_read_have_a_bound_and_none_are_counted(self, browser):
        self.made(25)
        with CaptureQueriesContext(connection) as queries:
            browser.get(LOGS, {"session": "no such"})
        logged = [query["sql"] for query in queries if "api_logs" in query["sql"]]
        assert len(logged) == 2
        assert not [sql for sql in logged if "COUNT(" in sql]
        assert "LIMIT 1 OFFSET 10" in logged[0]
        assert '"timestamp" >=' in logged[1]


def test_the_last_page_leads_to_no_other_and_says_how_to_go_on(browser, monkeypatch):
    monkeypatch.setattr(paging, "MAX_PAGE", 2)
    monkeypatch.setattr(RequestLogAdmin, "list_per_page", 5)
    for minute in range(11):
        factories.request_log(timestamp=factories.NOON - timedelta(minutes=minute))
    assert "This is the last page" not in browser.get(LOGS).text
    page = browser.get(LOGS, {"p": 2})
    assert len(page.context["cl"].result_list) == 5
    assert page.context["cl"].paginator.num_pages == 2
    assert "This is the last page. For older requests fill in “until”." in page.text


def test_relative_times_are_read_when_the_page_is(browser):
    factories.request_log(timestamp=timezone.now() - timedelta(hours=2))
    recent = factories.request_log(timestamp=timezone.now() - timedelta(minutes=5))
    assert found(browser, **{"from": "1h"}) == [recent]
