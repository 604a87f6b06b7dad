"""What a provider offers, from its page in admin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry

from catalog.models import Adapter, AdapterPrice, LanguageModel, Provider
from tests import factories
from tests.fakes import lists
from tests.fakes.catalogue import REFUSING_URL
from tests.fakes.lists import ListServer

FALCON: dict[str, Any] = {
    "id": "acme/falcon",
    "name": "<b>Falcon</b>",
    "context_length": 200_000,
    "pricing": {"prompt": "0.0000005", "completion": "0.000002"},
}
STEERING = (
    "view_provider", "change_provider", "view_languagemodel", "add_languagemodel", "add_adapter", "add_routingweight",
)  # fmt: skip


@pytest.fixture
def server() -> Iterator[ListServer]:
    with ListServer() as running:
        running.answer = lists.document({"data": [FALCON, {"id": "heron"}, {"id": "whisper", "active": False}]})
        yield running


@pytest.fixture
def acme(db, server) -> Provider:
    return factories.provider("acme", name="Acme", base_url=server.base_url)


def page_of(provider: Provider) -> str:
    return f"/admin/console/providers/{provider.pk}/models/"


def told(response) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def test_the_button_is_on_the_providers_page(browser, staff, acme):
    address = f"/admin/catalog/provider/{acme.pk}/change/"
    assert page_of(acme) in browser.get(address).text
    assert page_of(acme) not in staff("view_provider").get(address).text


def test_it_lists_what_is_offered_and_marks_what_is_there(browser, acme):
    factories.adapter(factories.language_model("birds/heron"), acme, upstream_model="heron")
    page = browser.post(page_of(acme)).text
    assert "Acme lists 2 models, of which 1 is in the catalogue; 1 more cannot be asked by this gateway" in " ".join(
        page.split()
    )
    assert "as birds/heron" in page
    assert "200,000" in page
    assert "0.5 / 2" in page
    assert "&lt;b&gt;Falcon&lt;/b&gt;" in page
    assert not LanguageModel.objects.filter(public_id="acme/falcon").exists()


def test_a_reload_leads_back_to_the_provider_and_asks_nobody(browser, acme, server):
    for address in (page_of(acme), f"{page_of(acme)}add/"):
        assert browser.get(address).headers["Location"] == f"/admin/catalog/provider/{acme.pk}/change/"
    assert server.seen == []


def test_what_is_ticked_is_added_switched_off_and_recorded(browser, acme):
    form = {"add": ["acme/falcon", "heron"], "as:acme/falcon": "acme/falcon", "as:heron": "birds/heron"}
    response = browser.post(f"{page_of(acme)}add/", form, follow=True)
    assert "Added 2 models, switched off." in told(response)
    assert response.context["cl"].result_count == 2
    assert set(LanguageModel.objects.values_list("public_id", "is_enabled")) == {
        ("acme/falcon", False),
        ("birds/heron", False),
    }
    entries = LogEntry.objects.values_list("content_type__model", "object_repr", "change_message")
    history = {(kind, name): message for kind, name, message in entries}
    assert history["languagemodel", "acme/falcon"] == "Added from what Acme offers."
    assert history["adapter", "birds/heron at Acme"] == "Added from what Acme offers."
    assert history["provider", "Acme"] == "Discovered: Added 2 models, switched off."


def test_a_known_name_gets_an_adapter_and_its_price_the_name_of_who_set_it(browser, acme):
    factories.language_model("birds/falcon")
    browser.post(f"{page_of(acme)}add/", {"add": "acme/falcon", "as:acme/falcon": "birds/falcon"})
    adapter = Adapter.objects.get()
    assert (adapter.model.public_id, adapter.is_enabled, adapter.routing_weight.weight) == ("birds/falcon", False, 0)
    assert AdapterPrice.objects.get().created_by is not None


def test_who_may_not_set_prices_hears_that_one_was_left_out(staff, acme):
    factories.language_model("birds/falcon")
    operator = staff(*STEERING)
    response = operator.post(f"{page_of(acme)}add/", {"add": "acme/falcon", "as:acme/falcon": "birds/falcon"}, follow=True)
    assert "The price that Acme gives was left out for birds/falcon at Acme" in told(response)
    assert not AdapterPrice.objects.exists()


def test_a_bad_name_is_told_and_what_was_typed_is_kept(browser, acme):
    form = {"add": ["acme/falcon", "heron"], "as:acme/falcon": "not an id", "as:heron": "birds/heron"}
    page = browser.post(f"{page_of(acme)}add/", form)
    assert "Nothing was added." in page.text
    assert "Use letters, digits" in page.text
    assert [(row["is_chosen"], row["name"]) for row in page.context["rows"]] == [(True, "not an id"), (True, "birds/heron")]
    assert not LanguageModel.objects.exists()


def test_with_nothing_ticked_it_says_so(browser, acme):
    assert "tick the models to add" in browser.post(f"{page_of(acme)}add/").text


def test_what_is_no_longer_offered_is_named(browser, acme):
    assert "dodo: Acme does not offer it any more" in browser.post(f"{page_of(acme)}add/", {"add": "dodo"}).text


def test_a_provider_that_cannot_be_asked_says_why_and_can_be_asked_again(browser, db, monkeypatch):
    unset = factories.provider("unset", api_key="${MISSING_KEY}")
    monkeypatch.delenv("MISSING_KEY", raising=False)
    page = browser.post(page_of(unset)).text
    assert "environment variable MISSING_KEY is not set" in page
    assert "Ask again" in page
    away = factories.provider("away", base_url=REFUSING_URL)
    assert "cannot be reached" in browser.post(f"{page_of(away)}add/", {"add": "x"}).text


def test_an_empty_list_is_told(browser, acme, server):
    server.answer = lists.document({"data": []})
    assert "Acme offers no model" in browser.post(page_of(acme)).text


def test_asking_takes_the_right_to_change_providers_and_adding_that_to_add(staff, acme, server):
    assert staff("view_provider", "add_languagemodel").post(page_of(acme)).status_code == 403
    assert server.seen == []
    looking = staff("view_provider", "change_provider")
    page = looking.post(page_of(acme)).text
    assert "Add what is ticked" not in page
    assert "takes the rights to add models" in page
    assert looking.post(f"{page_of(acme)}add/", {"add": "heron"}).status_code == 403
    assert not LanguageModel.objects.exists()


def test_an_unknown_provider_is_not_found(browser):
    assert browser.post("/admin/console/providers/4711/models/").status_code == 404
