"""A route's price in the models file: another one is one more row of history."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from catalog.models import AdapterPrice
from routingapp import seed
from tests import factories

pytestmark = pytest.mark.django_db

CHEAP, DEAR = {"prompt": "0.000001"}, {"prompt": "0.000002"}


@pytest.fixture
def load(settings, tmp_path):
    settings.ROUTING_CONFIG = tmp_path / "absent.yaml"
    path = tmp_path / "models.yaml"

    def load(pricing, **options):
        route = {"kind": "acme", "base_url": "https://acme.example/v1"} | ({"pricing": pricing} if pricing else {})
        path.write_text(json.dumps({"models": [{"id": "falcon", "name": "Falcon", "route": [route]}]}))
        return seed.load(path, **options)

    return load


def prices():
    return list(AdapterPrice.objects.order_by("effective_from").values_list("pricing", flat=True))


def test_a_changed_price_adds_a_row_that_is_in_force_from_now_on(load):
    load(CHEAP)
    before = timezone.now()
    report = load(DEAR)

    assert prices() == [CHEAP, DEAR]
    assert before <= AdapterPrice.objects.latest("effective_from").effective_from <= timezone.now()
    assert any('pricing: {"prompt": "0.000001"} -> {"prompt": "0.000002"}' in line for line in report.lines())


def test_loading_again_adds_nothing(load):
    load(CHEAP)
    report = load(CHEAP)

    assert prices() == [CHEAP]
    assert report.changes == []


def test_a_dry_run_shows_the_price_and_adds_nothing(load):
    load(CHEAP)
    report = load(DEAR, dry_run=True)

    assert prices() == [CHEAP]
    assert any("pricing:" in line for line in report.lines())


def test_a_price_that_leaves_the_file_gives_way_to_the_models_price(load):
    load(CHEAP)
    load(None)

    assert prices() == [CHEAP, None]


def test_without_a_price_of_its_own_a_route_has_no_row(load):
    load(None)

    assert prices() == []


def test_a_price_added_in_admin_is_kept_unless_forced(load):
    load(CHEAP)
    own = {"prompt": "0.000005"}
    factories.adapter_price(AdapterPrice.objects.get().adapter, pricing=own, effective_from=timezone.now())

    report = load(DEAR)
    assert prices() == [CHEAP, own]
    assert "= adapter falcon at acme  (kept as edited in admin; --force overwrites it)" in report.lines()

    load(DEAR, force=True)
    assert prices() == [CHEAP, own, DEAR]


def test_a_price_to_come_is_not_an_edit(load):
    load(CHEAP)
    adapter = AdapterPrice.objects.get().adapter
    factories.adapter_price(adapter, pricing=DEAR, effective_from=timezone.now() + timedelta(days=1))

    assert load(CHEAP).changes == []


def test_overrides_may_be_written_without_quotes(load):
    load({"prompt": 0.0005, "overrides": [{"min_prompt_tokens": 200000, "prompt": 0.001}]})

    assert prices() == [{"prompt": "0.0005", "overrides": [{"min_prompt_tokens": 200000, "prompt": "0.001"}]}]
