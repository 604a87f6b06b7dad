"""The dashboard: what it says of traffic, of none, and at what cost."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gateway_project.console import dashboard, process
from tests import factories
from tests.gateway_project.console.conftest import used

QUERIES = 45
FAILURES = "Failures of providers and gateway"


def figures(page) -> dict[str, str]:
    return {card.title: card.figure for card in page.context["cards"]}


def queries_of(browser, address: str) -> int:
    browser.get(address)
    with CaptureQueriesContext(connection) as queries:
        assert browser.get(address).status_code == 200
    return len(queries)


class TestFigures:
    def test_day_one_says_what_to_do_and_shows_no_chart(self, browser):
        factories.adapter(factories.language_model("acme/falcon"), weight=1)
        page = browser.get("/admin/")
        assert "1 model can be asked" in page.text
        assert '"model": "acme/falcon"' in page.text
        assert "<figure" not in page.text
        assert not [chart for chart in page.context["charts"] if "<rect" in chart]
        assert figures(page)["Requests"] == "0"

    def test_without_a_model_it_says_how_to_get_one(self, browser):
        assert "loadmodels" in browser.get("/admin/").text

    def test_requests_money_tokens_and_speed_are_those_of_the_period(self, browser):
        adapter = factories.adapter()
        used(adapter, times=3)
        used(adapter, status_code=502, error_type="provider_unavailable", ttft_ms=None, total_tokens=0, cost_usd="0")
        used(adapter, hours_ago=200, times=5)
        found = figures(browser.get("/admin/?period=24h"))
        assert found["Requests"] == "4"
        assert found[FAILURES] == "25%"
        assert found["Spend"] == "$0.03"
        assert found["Tokens"] == "450"
        assert float(found["First token, p95"].removesuffix(" ms")) == pytest.approx(200, rel=0.03)
        assert figures(browser.get("/admin/?period=30d"))["Requests"] == "9"

    @pytest.mark.parametrize("period", [period.name for period in dashboard.PERIODS])
    def test_what_was_refused_is_no_outage(self, browser, period):
        adapter = factories.adapter()
        used(adapter, times=3)
        used(adapter, status_code=429, error_type="rate_limit_exceeded", error_domain="provider")
        nobody: dict[str, Any] = {"adapter_id": None, "provider": ""}
        used(adapter, **nobody, model_id="no/such", status_code=404, error_type="not_found", error_domain="caller", times=5)
        used(adapter, **nobody, status_code=503, error_type="provider_overloaded", error_domain="policy")
        page = browser.get("/admin/", {"period": period})
        (card,) = (card for card in page.context["cards"] if card.title == FAILURES)
        assert card.figure == "25%", (
            "a provider's limit is a failure, an unknown model is not, nor is an offload that is full"
        )
        assert card.note == "1 failed; 6 refused, not counted"
        assert [(row["failed"], row["refused"]) for row in page.context["ranking"]] == [("–", "5"), ("25%", "1")]
        assert "<b>25%</b>" in page.context["charts"][-1]

    def test_what_most_failures_were_is_said_of_failures_alone(self, browser):
        adapter = factories.adapter()
        outcomes: list[dict[str, Any]] = [
            {"status_code": 429, "error_type": "rate_limit_exceeded", "error_domain": "policy"}
        ] * 3
        outcomes += [{"status_code": 499, "is_cancelled": True}] * 3
        outcomes += [{"status_code": 504, "error_type": "timeout", "error_domain": "provider"}] * 2
        for fields in outcomes:
            factories.request_log(adapter, timestamp=timezone.now(), **fields)
            used(adapter, **fields)
        page = browser.get("/admin/")
        (card,) = (card for card in page.context["cards"] if card.title == FAILURES)
        assert card.note == "2 failed, mostly timeout; 3 refused, not counted"
        assert [log.status_code for log in browser.get(card.address).context["cl"].result_list] == [504, 504]

    def test_a_model_that_nobody_can_serve_is_a_failure_of_its_providers(self, browser):
        nobody: dict[str, Any] = {"adapter_id": None, "provider": ""}
        used(factories.adapter(), **nobody, status_code=503, error_type="provider_unavailable", error_domain="provider")
        assert figures(browser.get("/admin/"))[FAILURES] == "100%"

    def test_local_serving_saves_what_the_hosted_price_would_have_been(self, browser):
        model = factories.language_model(pricing={"prompt": "0.001", "completion": "0"})
        local = factories.adapter(model, factories.provider(is_local=True), weight=1)
        factories.adapter_price(local, pricing={"prompt": "0"})
        factories.adapter(model, weight=1)
        used(local, cost_usd="0")
        assert figures(browser.get("/admin/"))["Saved by local serving"] == "$0.10"

    @pytest.mark.parametrize("period", [period.name for period in dashboard.PERIODS])
    @pytest.mark.parametrize("by", ["model", "adapter", "key", "nonsense"])
    def test_every_choice_answers(self, browser, period, by):
        used(factories.adapter(), factories.api_key("ci"))
        used(factories.adapter())
        page = browser.get("/admin/", {"period": period, "by": by})
        assert page.status_code == 200
        assert len(page.context["charts"]) == 5
        assert figures(page)["Requests"] == "2"

    def test_requests_without_a_key_and_of_unknown_models_have_a_name(self, browser):
        adapter = factories.adapter()
        used(adapter, model_id="no/such", adapter_id=None, provider="")
        labels = {
            by: browser.get("/admin/", {"by": by}).context["ranking"][0]["label"] for by in ("model", "adapter", "key")
        }
        assert labels == {"model": "unknown model", "adapter": "no adapter", "key": "without a key"}

    def test_past_five_groups_the_rest_are_summed_and_nothing_is_lost(self, browser):
        for number in range(8):
            used(factories.adapter(), times=number + 1)
        chart = browser.get("/admin/").context["charts"][0]
        assert "3 more" in chart
        assert "<b>36</b>" in chart

    def test_an_unconfigured_provider_names_the_variable_and_no_value(self, browser, monkeypatch):
        monkeypatch.delenv("ACME_API_KEY", raising=False)
        monkeypatch.setenv("ZETA_API_KEY", "sk-very-secret")
        factories.adapter(provider=factories.provider("acme", api_key="${ACME_API_KEY}"))
        factories.adapter(provider=factories.provider("zeta", api_key="${ZETA_API_KEY}"))
        page = browser.get("/admin/").text
        assert "environment variable ACME_API_KEY is not set" in page
        assert "sk-very-secret" not in page


class TestCost:
    @pytest.mark.parametrize("by", ["model", "adapter", "key"])
    def test_the_queries_do_not_depend_on_the_rows(self, browser, by):
        address = f"/admin/?period=30d&by={by}"
        used(factories.adapter(), factories.api_key())
        few = queries_of(browser, address)
        for number in range(12):
            used(factories.adapter(), factories.api_key(), hours_ago=number * 30, times=2)
        assert queries_of(browser, address) == few <= QUERIES

    def test_an_empty_gateway_needs_no_more(self, browser):
        assert queries_of(browser, "/admin/") <= QUERIES


class TestAccess:
    def test_a_stranger_is_sent_to_the_login(self, client, db):
        assert client.get("/admin/").headers["Location"].startswith("/admin/login/")

    def test_staff_without_the_right_to_see_usage_see_no_figures(self, staff):
        used(factories.adapter())
        page = staff("view_languagemodel").get("/admin/")
        assert page.status_code == 200
        assert "cards" not in page.context
        assert staff("view_usagetotal").get("/admin/").context["cards"]


def test_a_process_that_does_not_serve_says_so():
    assert process.look() is None
