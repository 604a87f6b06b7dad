"""Prices as people see and add them in admin."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from catalog.models import AdapterPrice
from catalog.price_admin import per_million
from tests import factories
from tests.forms import filled_in, page_of

pytestmark = pytest.mark.django_db

TOMORROW = timezone.now() + timedelta(days=1)


@pytest.fixture
def browser():
    return factories.browser()


@pytest.mark.parametrize(
    ("pricing", "text"),
    [
        ({"prompt": "0.0000003", "completion": "0.0000012"}, "0.3 / 1.2"),
        ({"prompt": "0"}, "0 / 0"),
        ({"prompt": "0.000001", "overrides": [{"min_prompt_tokens": 5, "prompt": "0.1"}]}, "1 / 0 and more"),
        ({}, "unknown"),
        ({"prompt": "cheap"}, "unreadable"),
    ],
)
def test_prices_are_shown_per_million(pricing, text):
    assert per_million(pricing) == text


def test_the_list_of_adapters_shows_the_price_in_force_and_what_has_none(browser):
    priced = factories.adapter_price(pricing={"prompt": "0.000007"}).adapter
    factories.adapter_price(priced, pricing={"prompt": "0.000009"}, effective_from=TOMORROW)
    factories.adapter(factories.language_model(pricing={"prompt": "0.000005"}))
    factories.adapter()
    factories.adapter(provider=factories.provider(is_local=True))

    text = browser.get(reverse("admin:catalog_adapter_changelist")).content.decode()

    shown = [word for word in ("7 / 0", "5 / 0", "9 / 0", "<b>unknown</b>", ">free<") if word in text]
    assert shown == ["7 / 0", "5 / 0", "<b>unknown</b>", ">free<"]


def test_a_price_is_added_on_the_adapters_page_and_signed(browser):
    adapter = factories.adapter()
    form = filled_in(browser, page_of(adapter))
    form |= {
        "prices-TOTAL_FORMS": "1",
        "prices-0-effective_from_0": "2026-12-01",
        "prices-0-effective_from_1": "00:00",
        "prices-0-pricing": '{"prompt": "0.000002"}',
        "prices-0-note": "announced",
        "prices-0-adapter": str(adapter.pk),
        "prices-0-id": "",
    }

    assert browser.post(page_of(adapter), form).status_code == 302

    price = AdapterPrice.objects.get()
    assert (price.pricing, price.note, price.created_by) == ({"prompt": "0.000002"}, "announced", User.objects.get())


def test_history_cannot_be_typed_into_nor_deleted(browser):
    price = factories.adapter_price(pricing={"prompt": "0.000001"})
    form = filled_in(browser, page_of(price.adapter))
    browser.post(page_of(price.adapter), form | {"prices-0-pricing": '{"prompt": "0"}', "prices-0-DELETE": "on"})

    assert AdapterPrice.objects.get().pricing == {"prompt": "0.000001"}


def test_the_note_of_a_price_in_force_can_be_written_later(browser):
    # What a load writes has microseconds, which must survive.
    price = factories.adapter_price(effective_from=timezone.now().replace(microsecond=123456) - timedelta(seconds=5))
    form = filled_in(browser, page_of(price.adapter)) | {"prices-0-note": "as announced"}

    assert browser.post(page_of(price.adapter), form).status_code == 302

    assert AdapterPrice.objects.get().note == "as announced"
    assert AdapterPrice.objects.get().effective_from == price.effective_from


def test_the_history_of_an_adapter_reads_as_text_and_says_which_price_holds(browser):
    old = factories.adapter_price(pricing={"prompt": "0.000007"})
    factories.adapter_price(old.adapter, pricing=None, effective_from=timezone.now() - timedelta(seconds=5))
    factories.adapter_price(old.adapter, pricing={"prompt": "0.000009"}, effective_from=TOMORROW)

    text = browser.get(page_of(old.adapter)).text

    assert text.count("<b>in force</b>") == 1
    assert "the model&#x27;s published price" in text
    assert text.index("<b>in force</b>") < text.index("7 / 0 USD per million tokens, in / out")
    assert "9 / 0 USD" not in text


def test_the_list_of_prices_says_which_holds(browser):
    old = factories.adapter_price(pricing={"prompt": "0.000007"})
    factories.adapter_price(old.adapter, effective_from=timezone.now() - timedelta(seconds=5))
    factories.adapter_price(old.adapter, effective_from=TOMORROW)

    page = browser.get(reverse("admin:catalog_adapterprice_changelist")).text

    cells = [f'<td class="field-standing">{word}</td>' for word in ("later", "now", "no more")]
    assert [page.count(cell) for cell in cells] == [1, 1, 1]
    assert sorted(cells, key=page.index) == cells


def test_a_price_to_come_can_be_changed(browser):
    price = factories.adapter_price(effective_from=TOMORROW)
    form = filled_in(browser, page_of(price.adapter))

    browser.post(page_of(price.adapter), form | {"prices-0-pricing": '{"prompt": "0.000004"}'})

    assert AdapterPrice.objects.get().pricing == {"prompt": "0.000004"}


@pytest.mark.parametrize(("days", "is_kept"), [(-1, True), (1, False)])
def test_deleting_from_the_list_is_refused_for_history(browser, days, is_kept):
    price = factories.adapter_price(effective_from=timezone.now() + timedelta(days=days))
    address = reverse("admin:catalog_adapterprice_changelist")

    browser.post(address, {"action": "delete_selected", "_selected_action": [price.pk], "post": "yes"})

    assert AdapterPrice.objects.exists() is is_kept


def test_the_page_of_a_price_in_force_is_for_reading(browser):
    price = factories.adapter_price()
    page = page_of(price)

    assert browser.get(page).status_code == 200
    assert browser.post(page, {"note": "x"}).status_code == 403
