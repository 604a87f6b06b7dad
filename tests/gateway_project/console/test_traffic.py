"""All models at a glance, and the bar that leads there."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from gateway_project.console import traffic
from gateway_project.console.navigation import _PLACES
from tests import factories
from tests.gateway_project.console.conftest import used

ADDRESS = "/admin/console/traffic/"
RIGHTS = ("view_languagemodel", "view_routingweight")


def test_what_is_set_and_what_was_stand_one_above_the_other(browser):
    model = factories.language_model("acme/falcon")
    alpha = factories.adapter(model, factories.provider("alpha", is_local=True), weight=3)
    beta = factories.adapter(model, factories.provider("beta"), weight=1)
    used(alpha, times=1)
    used(beta, times=3)
    used(beta, status_code=502, error_type="timeout")
    (row,) = browser.get(ADDRESS).context["rows"]
    assert [(part.percentage, part.actual) for part in row.parts] == [(75, 0.2), (25, 0.8)]
    assert (row.requests, row.error_rate) == (5, 0.2)


def test_the_busiest_model_comes_first_and_what_is_switched_off_is_left_out(browser):
    quiet, busy, off = (factories.adapter(weight=1) for _ in range(3))
    used(busy)
    type(off.model).objects.filter(pk=off.model_id).update(is_enabled=False)
    assert [row.model for row in traffic.rows(timezone.now())] == [busy.model, quiet.model]


def test_a_model_that_is_not_set_up_names_the_variable_instead_of_a_bar(browser, monkeypatch):
    monkeypatch.delenv("ACME_API_KEY", raising=False)
    factories.adapter(factories.language_model("acme/claude"), factories.provider("acme", api_key="${ACME_API_KEY}"))
    page = browser.get(ADDRESS)
    (row,) = page.context["rows"]
    assert not row.is_answered
    assert "Cannot answer" in page.text
    assert "not set up: environment variable ACME_API_KEY is not set" in page.text
    assert 'class="stack"' not in page.text


def test_single_adapters_that_take_no_traffic_are_marked(browser, monkeypatch):
    monkeypatch.delenv("ACME_API_KEY", raising=False)
    model = factories.language_model("acme/falcon")
    factories.adapter(model, factories.provider("good"), weight=1)
    factories.adapter(model, factories.provider("keyless", api_key="${ACME_API_KEY}"), weight=1)
    factories.adapter(model, factories.provider("resting"), is_enabled=False)
    factories.adapter(model, factories.provider("closed", is_enabled=False))
    page = browser.get(ADDRESS)
    (row,) = page.context["rows"]
    assert [part.standing.word for part in row.parts] == [
        "configured", "not set up", "switched off", "the provider is switched off",
    ]  # fmt: skip
    assert page.text.count(" idle") == 2 * 3, "a piece of the bar and a key of the legend each"
    assert "environment variable ACME_API_KEY is not set" in page.text


def test_what_cannot_answer_comes_last(db):
    off, on = factories.language_model("acme/a"), factories.language_model("acme/b")
    factories.adapter(off, is_enabled=False)
    factories.adapter(on)
    assert [row.model for row in traffic.rows(timezone.now())] == [on, off]


def test_a_strategy_is_the_models_own_or_the_default(db):
    own, other = factories.adapter(), factories.adapter()
    factories.routing_policy(strategy="price")
    factories.routing_policy(own.model, strategy="latency")
    assert {row.model: row.strategy for row in traffic.rows(timezone.now())} == {own.model: "latency", other.model: "price"}


def test_without_a_model_it_says_what_to_do(browser):
    assert "loadmodels" in browser.get(ADDRESS).text


def test_the_queries_do_not_depend_on_the_models(browser):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(ADDRESS).status_code == 200
        return len(captured)

    used(factories.adapter(weight=1))
    queries()
    few = queries()
    for _ in range(12):
        used(factories.adapter(weight=2), factories.api_key())
    assert queries() == few <= 16


def test_only_who_may_see_weights_sees_it(staff, client):
    assert staff(*RIGHTS).get(ADDRESS).status_code == 200
    assert staff().get(ADDRESS).status_code == 403
    assert client.get(ADDRESS).status_code == 302


class TestBar:
    def test_every_place_answers_and_is_marked_where_one_is(self, browser):
        for label, name, _ in _PLACES:
            page = browser.get(reverse(name))
            assert page.status_code == 200
            assert f'aria-current="page">{label}</a>' in page.text

    def test_it_leads_nowhere_one_may_not_go(self, staff):
        page = staff("view_requestlog").get("/admin/accounting/requestlog/").text
        assert ">Requests</a>" in page
        assert not [label for label, *_ in _PLACES if label != "Requests" and f">{label}</a>" in page]

    @pytest.mark.parametrize("address", ["/admin/login/", "/admin/accounting/apikey/?_popup=1"])
    def test_it_is_not_where_it_would_lead_astray(self, client, browser, address):
        page = (client if "login" in address else browser).get(address)
        assert 'aria-label="Console"' not in page.text
