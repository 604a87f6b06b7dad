"""A route's price in the models file: another one is one more row of history."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from catalog.models import AdapterPrice
from catalog.seed.problems import SeedRefused
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


@pytest.fixture
def load_dated(settings, tmp_path):
    """Loads a route with these dated prices: (moment, pricing) each."""
    settings.ROUTING_CONFIG = tmp_path / "absent.yaml"
    path = tmp_path / "models.yaml"

    def load(*dated, **options):
        written = "".join(f"          - {{from: {moment}, pricing: {json.dumps(pricing)}}}\n" for moment, pricing in dated)
        route = "      - kind: acme\n        base_url: https://acme.example/v1\n        prices:\n"
        path.write_text(f"models:\n  - id: falcon\n    name: Falcon\n    route:\n{route}{written}")
        return seed.load(path, **options)

    return load


def test_dated_prices_are_rows_of_their_dates(load_dated):
    report = load_dated(("2026-11-01", CHEAP), ("2031-01-01", DEAR))

    assert [f"{price.effective_from:%Y-%m-%d}" for price in AdapterPrice.objects.order_by("pk")] == [
        "2026-11-01",
        "2031-01-01",
    ]
    assert prices() == [CHEAP, DEAR]
    assert report.repriced == ["falcon at acme"]
    again = load_dated(("2026-11-01", CHEAP), ("2031-01-01", DEAR))
    assert (again.changes, again.repriced) == ([], [])


def test_a_price_to_come_may_change_and_one_that_left_the_file_stays(load_dated):
    load_dated(("2026-11-01", CHEAP), ("2031-01-01", DEAR))
    report = load_dated(("2031-01-01", CHEAP))

    assert prices() == [CHEAP, CHEAP]
    assert "~ price falcon at acme from 2031-01-01T00:00:00+00:00" in report.lines()
    assert report.repriced == ["falcon at acme"]


def test_a_price_that_has_been_in_force_is_not_written_anew(load_dated):
    load_dated(("2026-11-01", CHEAP))
    with pytest.raises(SeedRefused, match=r"models\.yaml:8: .*prices\[0\]: has been in force and stays as it is"):
        load_dated(("2026-11-01", DEAR))

    assert prices() == [CHEAP]


def test_a_price_added_in_admin_is_left_alone_by_dated_ones(load_dated):
    load_dated(("2026-11-01", CHEAP))
    factories.adapter_price(AdapterPrice.objects.get().adapter, pricing=DEAR, effective_from=timezone.now())

    assert load_dated(("2026-11-01", CHEAP)).changes == []
    assert prices() == [CHEAP, DEAR]
