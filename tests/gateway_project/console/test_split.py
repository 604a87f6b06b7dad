"""The traffic split: what is set, what that would do, saving it without overwriting others, and going back."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.console import apportion, forecast, lately, split
from gateway_project.console.split import Split
from routingapp.models import RoutingPolicy, RoutingWeight
from tests import factories
from tests.gateway_project.console.conftest import used

RIGHTS = ("view_languagemodel", "view_routingweight", "change_routingweight", "change_routingpolicy")


def address(model, page: str = "") -> str:
    return f"/admin/console/models/{model.pk}/split/{page}"


def form(model, *shares: int, **changes: Any) -> dict[str, Any]:
    """What the page would send with these shares, in the order of the adapters."""
    present = split.read(model)
    sliders = {f"adapter-{pk}": share for pk, share in zip(present.weights, shares, strict=True)}
    return {"version": present.version, "strategy": present.strategy, "offload": present.offload} | sliders | changes


def told(response) -> list[str]:
    return [str(message) for message in response.context["messages"]]


@pytest.fixture
def model(db):
    """Two adapters, 3 to 1."""
    row = factories.language_model("acme/falcon", pricing={"prompt": "0.000001", "completion": "0.000002"})
    factories.adapter(row, factories.provider("alpha"), weight=3)
    factories.adapter(row, factories.provider("beta"), weight=1)
    return row


def answered(model, *numbers: int, minutes_ago: float = 0) -> None:
    """So many requests that each of the model's adapters has answered then."""
    for adapter, number in zip(model.adapters.order_by("pk"), numbers, strict=True):
        for _ in range(number):
            factories.request_log(adapter, timestamp=timezone.now() - timedelta(minutes=minutes_ago))


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9))
def test_percentages_sum_to_100_and_are_near_the_weights(weights):
    found = Split(dict(enumerate(weights)), "weighted", "env").percentages
    total = sum(weights)
    assert sum(found.values()) == (100 if total else 0)
    if total:
        assert all(abs(found[pk] - weight / total * 100) < 1 for pk, weight in enumerate(weights))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9).filter(any))
def test_shares_shown_side_by_side_sum_to_100_and_are_near_the_truth(weights):
    shares = {place: weight / sum(weights) for place, weight in enumerate(weights)}
    shown = apportion.tenths(shares)
    assert round(sum(shown.values()), 9) == 1
    assert all(abs(shown[place] - share) < 0.001 for place, share in shares.items())


class TestSaving:
    def test_a_split_is_saved_and_written_into_the_history(self, browser, model):
        response = browser.post(address(model, "save/"), form(model, 40, 60), follow=True)
        assert told(response) == ["The split is saved. The gateway follows within a second."]
        assert list(RoutingWeight.objects.order_by("adapter").values_list("weight", flat=True)) == [40, 60]
        entry = LogEntry.objects.get()
        assert entry.object_id == str(model.pk)
        assert entry.get_change_message() == "Changed weights for traffic split “acme/falcon”."
        kept = json.loads(entry.change_message)[0]["split"]
        assert [list(kept[side]["weights"].values()) for side in ("old", "new")] == [[3, 1], [40, 60]]
        assert not RoutingPolicy.objects.exists()

    def test_strategy_and_offload_make_a_policy_that_inherits_the_rest(self, browser, model):
        factories.routing_policy(max_attempts=7, strategy="price")
        browser.post(address(model, "save/"), form(model, 75, 25, strategy="local_first", offload="on"))
        policy = RoutingPolicy.objects.get(model=model)
        assert (policy.strategy, policy.offload, policy.max_attempts) == ("local_first", "on", 7)
        assert RoutingPolicy.objects.get(model=None).strategy == "price"

    def test_percentages_of_the_present_weights_leave_them_alone(self, browser, model):
        response = browser.post(address(model, "save/"), form(model, 75, 25), follow=True)
        assert told(response) == ["Nothing differs from the split in force."]
        assert list(RoutingWeight.objects.order_by("adapter").values_list("weight", flat=True)) == [3, 1]
        assert not LogEntry.objects.exists()

    def test_what_somebody_else_saved_meanwhile_is_not_overwritten(self, browser, model):
        mine = form(model, 40, 60)
        factories.browser().post(address(model, "save/"), form(model, 10, 90))
        response = browser.post(address(model, "save/"), mine, follow=True)
        assert "Somebody else has changed this split meanwhile" in told(response)[0]
        assert split.read(model).percentages == dict(zip(split.read(model).weights, (10, 90), strict=True))

    def test_an_edit_elsewhere_in_admin_counts_as_somebody_elses(self, browser, model):
        mine = form(model, 40, 60)
        RoutingWeight.objects.filter(weight=3).update(weight=5)
        assert "Somebody else" in told(browser.post(address(model, "save/"), mine, follow=True))[0]

    @pytest.mark.parametrize(
        ("shares", "changes", "words"),
        [
            ((40, 50), {}, "sum to 90%"),
            ((140, -40), {}, "not a share"),
            ((40, 60), {"strategy": "luck"}, "no strategy"),
            ((40, 60), {"offload": "maybe"}, "no offload mode"),
        ],
    )
    def test_what_cannot_be_is_refused_and_changes_nothing(self, browser, model, shares, changes, words):
        response = browser.post(address(model, "save/"), form(model, *shares, **changes), follow=True)
        assert words in told(response)[0]
        assert split.read(model).weights == dict(zip(split.read(model).weights, (3, 1), strict=True))


class TestGoingBack:
    def test_one_click_brings_the_earlier_split_back(self, browser, model):
        browser.post(address(model, "save/"), form(model, 40, 60, strategy="price"))
        entry = LogEntry.objects.get()
        version = {"version": split.read(model).version}
        browser.post(address(model, f"restore/{entry.pk}/"), version)
        assert list(split.read(model).weights.values()) == [3, 1]
        assert split.read(model).strategy == "weighted"
        assert LogEntry.objects.count() == 2, "going back is a change, too"

    def test_an_adapter_added_since_then_stands_by(self, browser, model):
        browser.post(address(model, "save/"), form(model, 40, 60))
        factories.adapter(model, factories.provider("gamma"), weight=5)
        entry = LogEntry.objects.get()
        browser.post(address(model, f"restore/{entry.pk}/"), {"version": split.read(model).version})
        assert list(split.read(model).weights.values()) == [3, 1, 0]

    def test_another_models_change_is_not_taken(self, browser, model):
        other = factories.adapter(weight=1).model
        browser.post(address(other, "save/"), form(other, 100, strategy="price"))
        response = browser.post(
            address(model, f"restore/{LogEntry.objects.get().pk}/"), {"version": split.read(model).version}, follow=True
        )
        assert "no longer in the model's history" in told(response)[-1]


class TestPreview:
    def test_it_says_where_the_latest_requests_would_go_and_what_they_would_cost(self, browser, model):
        alpha = model.adapters.first()
        for _ in range(4):
            factories.request_log(alpha, prompt_tokens=1000, completion_tokens=500)
        page = browser.post(address(model, "preview/"), form(model, 0, 100))
        shares = [(one.now.share, one.then.share) for one in page.context["compared"]]
        assert [tuple(round(share, 6) for share in pair) for pair in shares] == [(0.75, 0), (0.25, 1)]
        assert float(page.context["then"].cost_usd) == pytest.approx(4 * (1000 * 1e-6 + 500 * 2e-6))
        assert split.read(model).percentages != {}, "a preview saves nothing"
        assert list(split.read(model).weights.values()) == [3, 1]

    def test_it_says_who_is_left_out_and_why(self, browser, model):
        model.adapters.filter(provider__slug="beta").update(context_length=100)
        factories.request_log(model.adapters.first(), prompt_tokens=1000)
        page = browser.post(address(model, "preview/"), form(model, 50, 50)).text
        assert "1 × " in page
        assert "100" in page

    def test_hard_offload_takes_local_engines_out(self, browser, model):
        local = factories.adapter(model, factories.provider("engine", is_local=True), weight=4)
        factories.request_log(local)
        page = browser.post(address(model, "preview/"), form(model, 38, 12, 50, offload="on"))
        by_slug = {one.adapter.provider.slug: one.then for one in page.context["compared"]}
        assert by_slug["engine"].share == 0
        assert "hard offload" in by_slug["engine"].reasons[0][0]

    def test_nobody_left_is_told_as_the_caller_would_be_told(self, browser, model):
        model.adapters.update(is_enabled=False)
        assert "would be refused" in browser.post(address(model, "preview/"), form(model, 50, 50)).text

    def test_a_model_that_nobody_asked_is_shown_with_a_plain_request(self, browser, model):
        assert "Nobody has asked this model yet" in browser.post(address(model, "preview/"), form(model, 50, 50)).text

    def test_a_bad_split_is_explained_in_place(self, browser, model):
        page = browser.post(address(model, "preview/"), form(model, 50, 40))
        assert (page.status_code, "sum to 90%" in page.text) == (422, True)

    def test_its_queries_do_not_depend_on_the_requests(self, browser, model):
        def queries() -> int:
            with CaptureQueriesContext(connection) as found:
                browser.post(address(model, "preview/"), sent)
            return len(found)

        sent = form(model, 50, 50)
        queries()
        none = queries()
        for _ in range(50):
            factories.request_log(model.adapters.first(), factories.api_key())
        assert queries() == none <= 40
        assert len(forecast.past_requests(model.public_id, limit=20)) == 20


class TestPage:
    def test_what_is_set_and_what_is_the_case_stand_side_by_side(self, browser, model):
        answered(model, 1, 4)
        page = browser.get(address(model))
        assert [(line.percentage, line.actual) for line in page.context["lines"]] == [(75, 0.2), (25, 0.8)]
        assert "where the 5 requests in the last hour were answered" in page.text

    def test_the_first_token_is_that_of_the_last_hour(self, browser, model):
        alpha, beta = model.adapters.all()
        used(alpha, times=3)
        used(beta, hours_ago=1.1, times=7)
        of_alpha, of_beta = browser.get(address(model)).context["lines"]
        assert of_alpha.first_token_ms == pytest.approx(200, rel=0.08)
        assert of_beta.first_token_ms is None

    def test_errors_are_of_the_requests_that_the_actual_share_is_of(self, browser, model):
        answered(model, 3, 1)
        alpha, beta = model.adapters.all()
        now = timezone.now()
        factories.request_log(alpha, timestamp=now, status_code=502, error_type="timeout")
        factories.request_log(alpha, timestamp=now, status_code=200, error_type="provider_unavailable")
        factories.request_log(beta, timestamp=now, status_code=200, is_cancelled=True)
        page = browser.get(address(model))
        assert [line.failed for line in page.context["lines"]] == ["2 of 5", "0 of 2"]
        assert "where the 7 requests in the last hour were answered" in page.text

    def test_shares_that_are_shown_sum_to_100(self, browser, model):
        answered(model, 7, 1)
        assert [line.live["actual"] for line in browser.get(address(model)).context["lines"]] == ["87.5%", "12.5%"]

    def test_each_look_brings_everything_of_its_moment(self, browser, model):
        answered(model, 1, 0)
        used(model.adapters.first())
        model.adapters.filter(provider__slug="beta").update(is_enabled=False)
        of_alpha, of_beta = browser.get(address(model, "live/")).json()["adapters"].values()
        assert of_alpha.pop("first_token").endswith(" ms")
        assert of_alpha == {"actual": "100%", "errors": "0 of 1", "state": "good", "told": "configured", "headroom": []}
        assert (of_beta["actual"], of_beta["errors"], of_beta["told"]) == ("0%", "0 of 0", "switched off")

    def test_after_a_change_only_what_came_since_counts(self, browser, model):
        answered(model, 6, 2, minutes_ago=5)
        browser.post(address(model, "save/"), form(model, 40, 60))
        live = browser.get(address(model, "live/")).json()
        assert [one["actual"] for one in live["adapters"].values()] == ["–", "–"]
        assert "no request since this split was saved" in live["of"]
        LogEntry.objects.update(action_time=timezone.now() - timedelta(seconds=30))
        answered(model, 1, 1)
        live = browser.get(address(model, "live/")).json()
        assert "2 requests since this split was saved" in live["of"]
        assert [one["actual"] for one in live["adapters"].values()] == ["50%", "50%"]

    def test_what_is_live_is_read_by_index_and_bounded(self, browser, model):
        answered(model, 2, 2)
        with CaptureQueriesContext(connection) as queries:
            browser.get(address(model, "live/"))
        (counted,) = [query["sql"] for query in queries if "api_logs" in query["sql"]]
        assert f"LIMIT {lately.COUNTED}" in counted

    def test_a_model_without_adapters_says_so(self, browser):
        assert "no adapter yet" in browser.get(address(factories.language_model())).text

    def test_the_models_page_leads_here(self, browser, model):
        assert address(model) in browser.get(f"/admin/catalog/languagemodel/{model.pk}/change/").text

    def test_a_switched_off_model_can_be_split(self, browser, model):
        type(model).objects.update(is_enabled=False)
        assert "the model is switched off" in browser.get(address(model)).text


class TestAccess:
    def test_somebody_who_may_only_look_changes_nothing(self, staff, model):
        viewer = staff(*RIGHTS[:2])
        page = viewer.get(address(model))
        assert page.status_code == 200
        assert "Save the split" not in page.text
        assert viewer.post(address(model, "save/"), form(model, 1, 99)).status_code == 403
        assert viewer.post(address(model, "restore/1/"), {}).status_code == 403
        assert split.read(model).weights == dict(zip(split.read(model).weights, (3, 1), strict=True))

    def test_who_may_change_weights_and_policies_may_save(self, staff, model):
        assert staff(*RIGHTS).post(address(model, "save/"), form(model, 1, 99)).status_code == 302
        assert list(split.read(model).weights.values()) == [1, 99]

    def test_others_see_nothing(self, staff, client, model):
        assert staff().get(address(model)).status_code == 403
        assert staff().get(address(model, "live/")).status_code == 403
        assert client.get(address(model)).status_code == 302

    def test_a_form_of_another_site_is_refused(self, model):
        from django.test import Client

        client = Client(enforce_csrf_checks=True)
        client.force_login(factories.superuser())
        assert client.post(address(model, "save/"), form(model, 1, 99)).status_code == 403

    @pytest.mark.parametrize("page", ["save/", "preview/", "restore/1/"])
    def test_nothing_is_done_by_following_a_link(self, browser, model, page):
        assert browser.get(address(model, page)).status_code == 405
