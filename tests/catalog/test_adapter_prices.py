"""Rows of prices: what history forbids, and what each becomes for the request path."""

import logging
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from catalog import loader, revision
from catalog.checks import unpriced_adapters
from catalog.models import Adapter, AdapterPrice
from tests import factories

pytestmark = pytest.mark.django_db

NOON = factories.NOON
ALL_SIX = "No price is known for " + ", ".join(f"falcon-{number} at acme" for number in range(5)) + " and 1 more"
CHEAP, DEAR = {"prompt": "0.000001"}, {"prompt": "0.000002"}


@pytest.fixture(autouse=True)
def _nobody_was_warned(monkeypatch):
    monkeypatch.setattr(loader, "_warned", set())


def load(now=NOON):
    catalogue = loader.load(lambda name: None, now.timestamp())
    return catalogue.models[0].adapters[0], catalogue


def prompt_price(adapter, moment):
    return adapter.prices_at(moment.timestamp()).get("prompt")


def test_a_price_comes_into_force_at_its_moment_without_an_edit():
    row = factories.adapter()
    factories.adapter_price(row, pricing=CHEAP, effective_from=NOON)
    factories.adapter_price(row, pricing=DEAR, effective_from=NOON + timedelta(hours=1))

    adapter, catalogue = load()

    assert adapter.prices.get("prompt") == Decimal("0.000001")
    assert prompt_price(adapter, NOON + timedelta(minutes=59, seconds=59)) == Decimal("0.000001")
    assert prompt_price(adapter, NOON + timedelta(hours=1)) == Decimal("0.000002")
    assert catalogue.prices_change_at == (NOON + timedelta(hours=1)).timestamp()


def test_before_its_first_price_and_after_an_empty_one_an_adapter_costs_what_its_model_does():
    row = factories.adapter(factories.language_model(pricing={"prompt": "0.000009"}))
    factories.adapter_price(row, pricing=CHEAP, effective_from=NOON)
    factories.adapter_price(row, pricing=None, effective_from=NOON + timedelta(hours=1))

    adapter, _ = load()

    assert prompt_price(adapter, NOON - timedelta(seconds=1)) == Decimal("0.000009")
    assert prompt_price(adapter, NOON) == Decimal("0.000001")
    assert prompt_price(adapter, NOON + timedelta(hours=2)) == Decimal("0.000009")


def test_the_snapshot_follows_a_change_of_prices():
    row = factories.adapter_price()
    numbers = [revision.current()]
    AdapterPrice.objects.update(note="x")
    numbers.append(revision.current())
    AdapterPrice.objects.filter(pk=row.pk)._raw_delete("default")
    numbers.append(revision.current())

    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("change", [{"pricing": DEAR}, {"pricing": None}, {"effective_from": NOON + timedelta(days=900)}])
def test_the_database_refuses_to_edit_a_price_in_force(change):
    price = factories.adapter_price(pricing=CHEAP)

    with pytest.raises(IntegrityError, match="never edited"), transaction.atomic():
        AdapterPrice.objects.filter(pk=price.pk).update(**change)

    price.note = "Still to be explained."
    price.save()
    assert AdapterPrice.objects.get().pricing == CHEAP


def test_a_price_to_come_may_be_edited_and_deleted():
    price = factories.adapter_price(effective_from=timezone.now() + timedelta(hours=1), pricing=CHEAP)

    AdapterPrice.objects.update(pricing=DEAR)
    price.delete()

    assert not AdapterPrice.objects.exists()


def test_a_price_that_has_been_in_force_is_not_deleted_but_with_its_adapter():
    price = factories.adapter_price()
    for delete in (price.delete, AdapterPrice.objects.all().delete):
        with pytest.raises(ProtectedError, match="is history"):
            delete()

    Adapter.objects.all().delete()

    assert not AdapterPrice.objects.exists()


def test_there_is_one_price_from_a_moment_on():
    price = factories.adapter_price()
    with pytest.raises(IntegrityError), transaction.atomic():
        factories.adapter_price(price.adapter)


def test_an_empty_object_is_no_price():
    with pytest.raises(ValidationError, match="for a free model"):
        AdapterPrice(adapter=factories.adapter(), pricing={}).full_clean()


class TestUnpriced:
    def test_it_is_logged_once_for_each_adapter(self, caplog, settings):
        settings.UNPRICED = "warn"
        factories.adapter(factories.language_model("acme/falcon"), factories.provider("acme"))

        with caplog.at_level(logging.WARNING, "gateway.catalog"):
            adapter, _ = load()
            load()

        assert adapter.unconfigured is None
        assert [record.message.partition(",")[0] for record in caplog.records] == ["acme/falcon at acme has no price"]

    def test_it_may_be_allowed_silently(self, caplog, settings):
        settings.UNPRICED = "allow"
        factories.adapter()

        assert load()[0].unconfigured is None
        assert not caplog.records

    def test_it_may_be_left_out_of_routing_with_the_reason(self, settings):
        settings.UNPRICED = "block"
        factories.adapter()

        assert "UNPRICED is block" in load()[0].unconfigured

    @pytest.mark.parametrize("pricing", [{"prompt": "0"}, {"request": "0.01"}])
    def test_zeros_are_a_price(self, settings, pricing):
        settings.UNPRICED = "block"
        factories.adapter(factories.language_model(pricing=pricing))

        assert load()[0].unconfigured is None

    @pytest.mark.parametrize(
        ("policy", "hint"), [("warn", "counted as free"), ("block", "take no traffic"), ("allow", None)]
    )
    def test_the_system_check_names_it(self, settings, policy, hint):
        settings.UNPRICED = policy
        provider = factories.provider("acme")
        for number in range(6):
            factories.adapter(factories.language_model(f"falcon-{number}"), provider)
        factories.adapter(factories.language_model(pricing={"prompt": "0"}))

        found = unpriced_adapters(None, databases=["default"])

        assert [warning.msg for warning in found] == ([ALL_SIX] if hint else [])
        assert all(hint in (warning.hint or "") for warning in found)
        assert unpriced_adapters(None) == []

    def test_a_local_engine_needs_no_price(self, settings):
        settings.UNPRICED = "block"
        factories.adapter(provider=factories.provider(is_local=True))

        assert load()[0].unconfigured is None
