"""Routing in admin: weights on the model page, what they come to, and the switch that takes traffic off local engines."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission

from routingapp.models import RoutingPolicy, RoutingWeight
from tests import factories
from tests.forms import errors_of, filled_in, page_of

POLICIES = "/admin/routingapp/routingpolicy/"
WEIGHTS = "/admin/routingapp/routingweight/"


@pytest.fixture
def browser(db):
    return factories.browser()


def shares_on(browser, model) -> list[str]:
    """The column "share" of a model's page, adapter by adapter."""
    inline = browser.get(page_of(model)).context["inline_admin_formsets"][0]
    return [inline.opts.share(form.instance) for form in inline.formset.initial_forms]


class TestWeights:
    def test_the_model_page_saves_a_changed_weight(self, browser):
        adapter = factories.adapter(weight=1)
        page = page_of(adapter.model)
        assert browser.post(page, filled_in(browser, page) | {"adapters-0-weight": "2.5"}).status_code == 302
        assert RoutingWeight.objects.get(adapter=adapter).weight == 2.5

    def test_an_adapter_without_a_weight_shows_and_counts_1(self, browser):
        page = page_of(factories.adapter().model)
        assert filled_in(browser, page)["adapters-0-weight"] == 1

    def test_a_new_adapter_gets_its_weight_with_its_row(self, browser):
        model, provider = factories.language_model(), factories.provider()
        page = page_of(model)
        new = {"adapters-TOTAL_FORMS": 1, "adapters-0-provider": provider.pk, "adapters-0-upstream_model": "up"}
        browser.post(page, filled_in(browser, page) | new | {"adapters-0-model": model.pk, "adapters-0-weight": "4"})
        assert [weight.weight for weight in RoutingWeight.objects.filter(adapter__model=model)] == [4]

    def test_an_unchanged_page_writes_no_weight(self, browser):
        page = page_of(factories.adapter().model)
        assert browser.post(page, filled_in(browser, page)).status_code == 302
        assert not RoutingWeight.objects.exists()

    @pytest.mark.parametrize("wrong", ["-1", "", "much", "nan", "inf"])
    def test_a_weight_that_is_none_is_refused_at_its_field(self, browser, wrong):
        page = page_of(factories.adapter(weight=1).model)
        errors = errors_of(browser.post(page, filled_in(browser, page) | {"adapters-0-weight": wrong}))
        assert list(errors) == ["adapters-0-weight"]
        assert RoutingWeight.objects.get().weight == 1

    def test_the_list_of_weights_is_edited_in_place(self, browser):
        weight = factories.adapter(weight=1).routing_weight
        form = {
            "form-TOTAL_FORMS": 1,
            "form-INITIAL_FORMS": 1,
            "form-0-id": weight.pk,
            "form-0-weight": "7",
            "_save": "Save",
        }
        assert browser.post(WEIGHTS, form).status_code == 302
        assert RoutingWeight.objects.get().weight == 7

    @pytest.mark.django_db
    def test_somebody_who_may_only_look_sees_the_weight(self, client, django_user_model):
        viewer = django_user_model.objects.create_user("vera", is_staff=True)
        viewer.user_permissions.set(Permission.objects.filter(codename__in=["view_languagemodel", "view_adapter"]))
        client.force_login(viewer)
        page = client.get(page_of(factories.adapter(weight=2.5).model))
        assert '<td class="field-weight">' in page.text
        assert "<p>2.5</p>" in page.text


class TestShares:
    def test_weights_are_shown_as_the_percentage_they_come_to(self, browser):
        model = factories.language_model()
        for weight in (3, 1, 0):
            factories.adapter(model, weight=weight)
        assert shares_on(browser, model) == ["75.0%", "25.0%", "stands by"]

    def test_what_cannot_be_used_has_no_share_and_says_why(self, browser, monkeypatch):
        monkeypatch.delenv("ACME_API_KEY", raising=False)
        model = factories.language_model()
        factories.adapter(model, factories.provider(api_key="${ACME_API_KEY}"), weight=1)
        factories.adapter(model, weight=1)
        factories.adapter(model, weight=1, is_enabled=False)
        assert shares_on(browser, model) == ["none", "100.0%", "none"]
        assert "environment variable ACME_API_KEY is not set" in browser.get(page_of(model)).text

    def test_local_fraction_and_hard_offload_are_worked_in(self, browser):
        model = factories.language_model()
        factories.adapter(model, factories.provider(is_local=True), weight=1)
        factories.adapter(model, weight=1)
        policy = factories.routing_policy(model, local_fraction=0.9)
        assert shares_on(browser, model) == ["90.0%", "10.0%"]
        RoutingPolicy.objects.filter(pk=policy.pk).update(offload="on")
        assert shares_on(browser, model) == ["none", "100.0%"]

    @pytest.mark.parametrize("fields", [{"is_enabled": False}, {"output_modalities": ["embeddings"]}])
    def test_the_page_answers_for_models_that_plain_requests_do_not_reach(self, browser, fields):
        model = factories.language_model(**fields)
        factories.adapter(model, weight=1)
        assert shares_on(browser, model) == ["none" if "is_enabled" in fields else "100.0%"]


class TestPolicies:
    def test_the_default_policy_cannot_be_made_twice(self, browser):
        page = f"{POLICIES}add/"
        assert browser.post(page, filled_in(browser, page)).status_code == 302
        errors = errors_of(browser.post(page, filled_in(browser, page)))
        assert "The default policy exists already" in errors["model"][0]
        assert RoutingPolicy.objects.count() == 1

    def test_the_default_policy_can_be_edited(self, browser):
        page = page_of(factories.routing_policy())
        assert browser.post(page, filled_in(browser, page, max_attempts=5)).status_code == 302
        assert RoutingPolicy.objects.get().max_attempts == 5

    def test_a_second_policy_for_one_model_is_refused_in_words(self, browser):
        policy = factories.routing_policy(factories.language_model("acme/falcon"))
        page = f"{POLICIES}add/"
        errors = errors_of(browser.post(page, filled_in(browser, page, model=policy.model_id)))
        assert errors == {"model": ["acme/falcon has a policy already; edit that one, or choose another model."]}

    def test_a_fraction_beyond_1_is_refused_at_its_field(self, browser):
        page = page_of(factories.routing_policy())
        assert list(errors_of(browser.post(page, filled_in(browser, page, local_fraction=1.5)))) == ["local_fraction"]

    def test_hard_offload_is_switched_in_the_list(self, browser):
        policy = factories.routing_policy()
        form = {
            "form-TOTAL_FORMS": 1,
            "form-INITIAL_FORMS": 1,
            "form-0-id": policy.pk,
            "form-0-offload": "on",
            "_save": "Save",
        }
        assert browser.post(POLICIES, form).status_code == 302
        assert RoutingPolicy.objects.get().offload == "on"

    @pytest.mark.parametrize(
        ("action", "then"), [("offload_on", "on"), ("offload_off", "off"), ("offload_as_environment", "env")]
    )
    def test_hard_offload_is_switched_for_chosen_policies(self, browser, action, then):
        policy = factories.routing_policy(offload="off" if then == "on" else "on")
        browser.post(POLICIES, {"action": action, "_selected_action": [policy.pk]})
        policy.refresh_from_db()
        assert policy.offload == then
