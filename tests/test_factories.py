"""The factories make rows that the models' own rules accept."""

from __future__ import annotations

import pytest

from tests import factories


def _usage_total_of_a_key():
    return factories.usage_total(api_key=factories.api_key())


FACTORIES = [
    factories.provider,
    factories.language_model,
    factories.adapter,
    factories.routing_policy,
    factories.api_key,
    _usage_total_of_a_key,
]


@pytest.mark.django_db
@pytest.mark.parametrize("make", FACTORIES, ids=lambda make: make.__name__)
def test_it_makes_a_row_that_passes_full_clean(make):
    make().full_clean()


@pytest.mark.django_db
def test_it_gives_an_adapter_its_weight():
    assert factories.adapter(weight=3).routing_weight.weight == 3
