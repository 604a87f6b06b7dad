"""The pages of keys: what each has used, how much of its budget that is, and revoking it with one click."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounting import keys, loader, rollups, slots
from accounting.admin import key_usage
from accounting.models import ApiKey
from gateway_project.errors import Unauthenticated
from tests import factories
from tests.accounting.test_slots import line
from tests.forms import page_of

KEYS = "/admin/accounting/apikey/"
NOW = datetime(2026, 11, 19, 12, tzinfo=UTC)
"""A Thursday."""


@pytest.fixture
def browser(db):
    return factories.browser()


def used(key: ApiKey, at: datetime, times: int = 1, **fields: Any) -> None:
    adapter = factories.adapter()
    lines = [line(adapter, at.timestamp(), key, **fields) for _ in range(times)]
    slots.add(lines, *rollups.add(lines, connection), connection)


def revoke(client: Client, key: ApiKey) -> int:
    return client.post(f"{KEYS}{key.pk}/revoke/").status_code


@pytest.mark.django_db
class TestUsage:
    def test_each_stretch_of_time_counts_what_was_in_it(self):
        key, other = factories.api_key(), factories.api_key()
        for days in (0, 1, 10, 40):
            used(key, NOW - timedelta(days=days))
        found = key_usage.of_keys([key.pk, other.pk], NOW)
        assert [(words, of.requests, of.tokens, of.usd) for words, of in found[key.pk].named] == [
            ("today", 1, 150, Decimal("0.01")),
            ("this week", 2, 300, Decimal("0.02")),
            ("this month", 3, 450, Decimal("0.03")),
            ("ever", 4, 600, Decimal("0.04")),
        ]
        assert found[key.pk].last_used_at == NOW
        assert found[other.pk] == key_usage.KeyUsage()

    @pytest.mark.parametrize(("reset", "spent"), [("daily", "0.01"), ("monthly", "0.02"), ("", "0.03")])
    def test_a_budget_counts_the_period_of_its_limit(self, reset, spent):
        key = factories.api_key(limit_usd=1, limit_reset=reset)
        for days in (0, 10, 40):
            used(key, NOW - timedelta(days=days))
        found = key_usage.budget(key, key_usage.of_keys([key.pk], NOW)[key.pk], NOW)
        assert found is not None
        assert found.spent == Decimal(spent)
        assert (found.resets_at is None) == (not reset)

    @pytest.mark.parametrize(
        ("limit", "state", "share"), [(1, "", 0.5), ("0.6", "near", 5 / 6), ("0.3", "bad", 1), (0, "bad", 1)]
    )
    def test_a_budget_says_when_it_is_nearly_spent(self, limit, state, share):
        found = key_usage.Budget(Decimal("0.5"), Decimal(limit), None)
        assert found.state == state
        assert found.share == pytest.approx(share)

    def test_a_key_without_a_limit_has_no_budget(self):
        assert key_usage.budget(factories.api_key(), key_usage.KeyUsage(), NOW) is None


class TestList:
    def test_it_shows_budget_and_use_of_the_period(self, browser):
        used(factories.api_key("spender", limit_usd=Decimal("0.04"), limit_reset="daily"), timezone.now(), times=3)
        page = browser.get(KEYS).text
        assert "$0.03 of $0.04" in page
        assert "width: 75%" in page
        assert "$0.03 in 3 requests" in page
        assert "450 tokens today" in page

    def test_its_queries_do_not_depend_on_the_keys(self, browser):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert browser.get(KEYS).status_code == 200
            return len(captured)

        used(factories.api_key(limit_usd=1), timezone.now())
        queries()
        few = queries()
        for _ in range(15):
            used(factories.api_key(limit_usd=1), timezone.now())
        assert queries() == few


class TestPage:
    def test_it_shows_what_was_used_before_the_settings(self, browser):
        key = factories.api_key("spender", limit_usd=5)
        used(key, timezone.now(), times=2)
        page = browser.get(page_of(key)).text
        assert page.index("Spent this month") < page.index('name="limit_usd"')
        assert page.count("<figure") == 2
        assert f"?api_key={key.pk}" in page

    def test_a_key_that_was_never_used_says_so(self, browser):
        page = browser.get(page_of(factories.api_key())).text
        assert "Never used." in page
        assert "<figure" not in page

    def test_the_page_of_a_key_that_is_gone_leads_back(self, browser):
        assert browser.get(f"{KEYS}999/change/", follow=True).status_code == 200


class TestRevoking:
    def test_one_click_shuts_the_key_out_and_is_in_the_history(self, browser):
        key, secret = keys.mint("ci")
        assert revoke(browser, key) == 302
        with pytest.raises(Unauthenticated, match="is disabled"):
            loader.load().authenticate(secret, time.time())
        assert LogEntry.objects.get().change_message == "Revoked."

    def test_its_button_is_where_the_key_is_valid(self, browser):
        key = factories.api_key("ci")
        address = f"{KEYS}{key.pk}/revoke/"
        assert f'formaction="{address}" aria-label="Revoke ci now"' in browser.get(KEYS).text
        assert f'action="{address}"' in browser.get(page_of(key)).text
        revoke(browser, key)
        assert address not in browser.get(KEYS).text
        page = browser.get(page_of(key)).text
        assert address not in page
        assert "This key is disabled: who sends it is answered 401." in page

    def test_it_is_not_done_by_following_a_link(self, browser):
        key = factories.api_key()
        assert browser.get(f"{KEYS}{key.pk}/revoke/").status_code == 405

    def test_who_may_only_look_has_no_button_and_may_not(self, db):
        viewer, client, key = User.objects.create_user("vera", is_staff=True), Client(), factories.api_key()
        viewer.user_permissions.set(Permission.objects.filter(codename="view_apikey"))
        client.force_login(viewer)
        assert "/revoke/" not in client.get(KEYS).text + client.get(page_of(key)).text
        assert revoke(client, key) == 403
        assert not ApiKey.objects.get().is_disabled

    def test_a_form_of_another_site_is_refused(self, db):
        client = Client(enforce_csrf_checks=True)
        client.force_login(factories.superuser())
        assert revoke(client, factories.api_key()) == 403
