"""Keys and requests in admin: a secret that is seen once, keys that can be taken back, and a log that stays fast."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounting import keys, loader
from accounting.admin import exhibits, paging
from accounting.models import ApiKey, RequestLog, UsageTotal
from gateway_project.errors import Unauthenticated
from tests import factories
from tests.forms import errors_of, filled_in, page_of

KEYS = "/admin/accounting/apikey/"
LOGS = "/admin/accounting/requestlog/"
SECRET = re.compile(r"sk-or-v1-[0-9a-f]{64}")


@pytest.fixture
def browser(db):
    return factories.browser()


def rows_on(browser, url: str, **query) -> list:
    return list(browser.get(url, query).context["cl"].result_list)


class TestNewKeys:
    def make(self, browser, **fields):
        page = f"{KEYS}add/"
        return browser.post(page, filled_in(browser, page, name="ci", **fields))

    def test_the_answer_to_the_form_shows_a_working_secret_and_may_not_be_cached(self, browser):
        response = self.make(browser)
        (secret,) = set(SECRET.findall(response.text))
        assert loader.load().authenticate(secret, time.time()).name == "ci"
        assert "no-store" in response.headers["Cache-Control"]

    def test_the_secret_is_nowhere_afterwards(self, browser):
        (secret,) = set(SECRET.findall(self.make(browser).text))
        key = ApiKey.objects.get()
        kept = [
            ApiKey.objects.values().get(),
            list(LogEntry.objects.values()),
            [row.get_decoded() for row in Session.objects.all()],
        ]
        assert secret not in str(kept)
        assert secret not in browser.cookies.output()
        for url in (KEYS, page_of(key), page_of(key, "history"), "/admin/"):
            assert secret not in browser.get(url).text

    def test_it_keeps_what_was_chosen(self, browser):
        factories.language_model("acme/falcon")
        factories.provider("acme")
        self.make(browser, allowed_models=["acme/falcon"], allowed_providers=["acme"], limit_usd="5", limit_reset="daily")
        key = ApiKey.objects.get()
        assert (key.allowed_models, key.allowed_providers, key.limit_usd) == (["acme/falcon"], ["acme"], Decimal(5))

    @pytest.mark.parametrize(
        ("fields", "field", "told"),
        [
            ({"name": ""}, "name", "required"),
            ({"limit_usd": "-1"}, "limit_usd", "greater than or equal to 0"),
            ({"limit_reset": "daily"}, "limit_reset", "no limit to reset"),
            ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "expires_at", "in the past"),
            ({"allowed_models": ["acme/unknown"]}, "allowed_models", "not one of the available choices"),
        ],
    )
    def test_a_mistake_is_named_at_its_field_and_makes_no_key(self, browser, fields, field, told):
        page = f"{KEYS}add/"
        errors = errors_of(browser.post(page, filled_in(browser, page) | {"name": "ci"} | fields))
        assert list(errors) == [field]
        assert told in errors[field][0]
        assert not ApiKey.objects.exists()

    def test_it_cannot_be_made_without_the_permission(self, browser, client, django_user_model):
        client.force_login(django_user_model.objects.create_user("bob", is_staff=True))
        assert client.post(f"{KEYS}add/", {"name": "ci"}).status_code == 403
        assert not ApiKey.objects.exists()


class TestKeys:
    def test_hash_and_label_are_shown_but_not_edited(self, browser):
        key = factories.api_key()
        page = page_of(key)
        assert key.hash in browser.get(page).text
        assert browser.post(page, filled_in(browser, page, name="new", hash="0" * 64, label="x")).status_code == 302
        after = ApiKey.objects.get()
        assert (after.name, after.hash, after.label) == ("new", key.hash, key.label)

    def test_names_given_through_the_api_survive_an_edit(self, browser):
        key = factories.api_key(allowed_models=["acme/still-to-come"])
        page = page_of(key)
        browser.post(page, filled_in(browser, page, name="new"))
        assert ApiKey.objects.get().allowed_models == ["acme/still-to-come"]

    def test_an_expired_key_can_still_be_edited(self, browser):
        page = page_of(factories.api_key(expires_at=factories.NOON - timedelta(days=900)))
        assert browser.post(page, filled_in(browser, page, name="old")).status_code == 302
        assert ApiKey.objects.get().name == "old"

    def test_revoking_shuts_the_chosen_keys_out_and_enabling_lets_them_in(self, browser):
        (row, secret), (_, other) = keys.mint("ci"), keys.mint("other")
        chosen = {"action": "revoke", "_selected_action": [row.pk]}
        assert "Revoked 1 API key." in browser.post(KEYS, chosen, follow=True).text
        ring = loader.load()
        with pytest.raises(Unauthenticated, match="is disabled"):
            ring.authenticate(secret, time.time())
        assert ring.authenticate(other, time.time()).name == "other"
        browser.post(KEYS, chosen | {"action": "enable"})
        assert loader.load().authenticate(secret, time.time()).name == "ci"
        assert [entry.change_message for entry in LogEntry.objects.order_by("pk")] == ["Revoked.", "Enabled."]

    def test_the_list_tells_valid_disabled_and_expired_apart(self, browser):
        factories.api_key("valid", expires_at=timezone.now() + timedelta(days=1))
        factories.api_key("disabled", is_disabled=True)
        factories.api_key("expired", expires_at=timezone.now() - timedelta(days=1))
        for state in ("valid", "disabled", "expired"):
            assert [key.name for key in rows_on(browser, KEYS, state=state)] == [state]
        assert browser.get(KEYS).text.count('<td class="field-state">expired</td>') == 1

    def test_a_key_that_the_totals_name_is_not_deleted(self, browser):
        key = factories.api_key()
        factories.usage_total(api_key=key)
        assert "protected related objects" in browser.post(page_of(key, "delete"), {"post": "yes"}).text
        everything = {"action": "delete_selected", "_selected_action": [key.pk], "post": "yes"}
        assert "protected related objects" in browser.post(KEYS, everything).text
        assert ApiKey.objects.filter(pk=key.pk).exists()

    def test_an_unused_key_is_deleted_though_requests_of_another_are_logged(self, browser):
        key = factories.api_key()
        factories.request_log(api_key=factories.api_key())
        assert browser.post(page_of(key, "delete"), {"post": "yes"}).status_code == 302
        assert not ApiKey.objects.filter(pk=key.pk).exists()


class TestRequests:
    def test_the_list_is_read_page_by_page_without_counting(self, browser):
        for second in range(120):
            factories.request_log(timestamp=factories.NOON + timedelta(seconds=second))
        with CaptureQueriesContext(connection) as queries:
            pages = [rows_on(browser, LOGS, p=page) for page in (1, 2, 3)]
        assert [len(page) for page in pages] == [50, 50, 20]
        stamps = [log.timestamp for page in pages for log in page]
        assert stamps == sorted(stamps, reverse=True)
        logged = [query["sql"] for query in queries if "api_logs" in query["sql"]]
        assert logged
        assert not [sql for sql in logged if "COUNT(" in sql or "DISTINCT" in sql or "LIMIT" not in sql]
        assert not [sql for sql in logged if '"response"' in sql or '"plan"' in sql]

    def test_every_way_into_the_list_is_answered_by_an_index(self, browser):
        log = factories.request_log(factories.adapter(), key := factories.api_key())
        factories.usage_total(log.adapter, key)
        for query in (
            {}, {"q": log.request_id}, {"outcome": "failed"}, {"model_id": log.model_id}, {"api_key": key.pk},
            {"from": "2026-11-01", "until": "2026-12-01"},
        ):  # fmt: skip
            with CaptureQueriesContext(connection) as queries:
                assert browser.get(LOGS, query).status_code == 200
            (listed,) = {query["sql"] for query in queries if 'FROM "api_logs"' in query["sql"]}
            plan = explain(listed)
            assert re.search(r"USING INDEX|Index Scan( Backward)? using api_logs", plan), f"{query}: {plan}"
            # Rows of the very same instant may be put in order afterwards, never the whole answer.
            assert not re.search(r"USE TEMP B-TREE FOR ORDER BY|(?<!Incremental )Sort  ", plan), f"{query}: {plan}"

    @pytest.mark.parametrize("query", [{"p": "99"}, {"p": "9" * 40}, {"p": "-3"}, {"p": "x"}, {"api_key": "x"}, {"o": "3"}])
    def test_a_nonsense_address_is_no_server_error(self, browser, query):
        factories.request_log()
        assert browser.get(LOGS, query, follow=True).status_code == 200

    def test_a_request_is_found_by_its_id(self, browser):
        logs = [factories.request_log() for _ in range(3)]
        assert rows_on(browser, LOGS, q=f" {logs[1].request_id} ") == [logs[1]]

    def test_the_page_of_a_request_tells_its_story(self, browser):
        attempts = [
            {
                "adapter_id": 1,
                "provider": "Acme",
                "upstream_model": "falcon-2",
                "status": 503,
                "latency_ms": 40,
                "error": "<busy>",
            },
            {
                "adapter_id": 2,
                "provider": "Beta",
                "upstream_model": "falcon",
                "status": 200,
                "latency_ms": 80,
                "cost_usd": "0.1",
            },
        ]
        plan = [{"rank": 1, "provider": "Acme", "share": 0.75, "reason": "drawn by weight"}, {"provider": "Old"}]
        log = factories.request_log(
            attempts=attempts, plan=plan, prices={"prompt": "0.00000027"}, cost_usd=Decimal("0.000012"),
            parameters={"stop": ["a"]}, prompt='[{"role": "user", "content": "naïve <b>"}]', response="two\nlines",
        )  # fmt: skip
        page = browser.get(page_of(log)).text
        for told in ("&lt;busy&gt;", "<td>falcon-2</td>", "drawn by weight", "prompt: 0.27", "0.000012", "two\nlines"):
            assert told in page
        assert "naïve &lt;b&gt;" in page
        assert "<busy>" not in page

    def test_the_page_answers_when_key_and_adapter_are_gone(self, browser):
        log = factories.request_log()
        RequestLog.objects.update(api_key_id=999, adapter_id=999)
        assert browser.get(page_of(log)).status_code == 200
        assert browser.get(LOGS).status_code == 200

    @pytest.mark.parametrize("make", [factories.request_log, factories.usage_total])
    def test_nothing_that_the_ledger_wrote_can_be_changed(self, browser, make):
        row = make()
        add = re.sub(r"\d+/change/$", "add/", page_of(row))
        assert browser.get(add).status_code == 403
        assert browser.post(page_of(row), {"model_id": "forged", "requests": 0}).status_code == 403
        assert browser.post(page_of(row, "delete"), {"post": "yes"}).status_code == 403
        chosen = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
        browser.post(re.sub(r"\d+/change/$", "", page_of(row)), chosen)
        row.refresh_from_db()
        assert (RequestLog.objects.count() + UsageTotal.objects.count()) == 1
        assert "forged" not in str(row.__dict__)


def explain(sql: str) -> str:
    """How the database would answer; PostgreSQL as if the table were large."""
    explaining = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            for cheap_while_small in ("seqscan", "bitmapscan", "sort"):
                cursor.execute(f"SET LOCAL enable_{cheap_while_small} = off")
        cursor.execute(f"{explaining} {sql}".replace("%", "%%"))
        return "; ".join(row[-1] for row in cursor.fetchall())


class TestPaging:
    def test_it_knows_only_of_the_page_after_the_wanted_one(self, db):
        for _ in range(25):
            factories.request_log()
        rows = RequestLog.objects.all()
        assert [paging.UncountedPaginator(rows, 10, wanted=page).num_pages for page in (1, 2, 3)] == [2, 3, 3]

    def test_it_goes_no_further_back_than_its_limit(self, db):
        assert paging.UncountedPaginator(RequestLog.objects.all(), 10, wanted=10**30).wanted == paging.MAX_PAGE


class TestExhibits:
    @pytest.mark.parametrize("odd", [None, [], {}, "text", 7, [None, 3]])
    def test_what_is_no_list_of_objects_is_no_table(self, odd):
        assert exhibits.table(odd, exhibits.PLAN) == exhibits.NOTHING

    def test_empty_columns_are_left_out(self):
        shown = exhibits.table([{"rank": 1, "provider": "Acme", "reason": None}], exhibits.PLAN)
        assert shown == (
            "<table><thead><tr><th>rank</th><th>provider</th></tr></thead><tbody><tr><td>1</td><td>Acme</td></tr></tbody></table>"
        )

    @pytest.mark.parametrize("odd", [None, {}, [], "0.1"])
    def test_prices_that_are_none_are_nothing(self, odd):
        assert exhibits.prices(odd) == exhibits.NOTHING

    def test_a_price_that_is_no_number_is_shown_as_it_is(self):
        assert exhibits.prices({"prompt": "<free>"}) == "prompt: &lt;free&gt;"

    def test_text_that_only_begins_like_json_is_shown_as_it_is(self):
        assert ">[not json</pre>" in exhibits.text("[not json")
