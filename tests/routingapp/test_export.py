"""Export: what is written loads back to the same rows, over itself it changes nothing, and it never holds a secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.db import transaction
from django.forms.models import model_to_dict
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from catalog.limited import COLUMNS as LIMITS
from catalog.models import Adapter, AdapterPrice, LanguageModel, ModelAlias, Provider, SeededRow
from catalog.prices import PRICE_KEYS
from catalog.seed import fields, stanzas
from catalog.seed.document import Document
from catalog.validators import MODALITIES, QUANTIZATIONS
from routingapp import export, seed
from routingapp.models import RoutingPolicy, RoutingWeight
from routingapp.routing_file import unsaid
from tests import factories

pytestmark = pytest.mark.django_db


def rows() -> dict[str, Any]:
    """Every row by what people know it by, without its number and who wrote it when."""

    def told(row: Any, *but: str) -> dict[str, Any]:
        return {
            field.name: getattr(row, field.attname) for field in row._meta.concrete_fields if field.name not in ("id", *but)
        }

    adapters = {
        row.pk: f"{row.model} at {row.provider.slug} as {row.upstream_model} {row.quantization}"
        for row in Adapter.objects.select_related("model", "provider")
    }
    weights = dict(RoutingWeight.objects.values_list("adapter_id", "weight"))
    return {
        "providers": {row.slug: told(row) for row in Provider.objects.all()},
        "models": {row.public_id: told(row) for row in LanguageModel.objects.all()},
        "aliases": {row.alias: str(row.model) for row in ModelAlias.objects.select_related("model")},
        "adapters": {
            adapters[row.pk]: told(row, "model", "provider") | {"weight": weights.get(row.pk, 1)}
            for row in Adapter.objects.all()
        },
        "prices": {
            (adapters[row.adapter_id], row.effective_from): (row.pricing, row.note) for row in AdapterPrice.objects.all()
        },
        "policy": [told(row, *unsaid(row)) for row in RoutingPolicy.objects.filter(model=None)],
    }


def load(exported: export.Exported, **options: Any) -> Any:
    routing = Document("routing.yaml", exported.routing) if exported.routing else None
    return seed.load_documents(Document("models.yaml", exported.models), routing, **options)


def clear() -> None:
    for row in (RoutingPolicy, Adapter, LanguageModel, Provider, SeededRow):
        row.objects.all().delete()


def assert_it_comes_back() -> None:
    before, exported = rows(), export.write()
    assert load(exported).changes == [], "over itself it changes nothing"
    assert rows() == before
    clear()
    load(exported)
    assert rows() == before
    assert export.write().models.splitlines()[2:] == exported.models.splitlines()[2:]


def test_the_shipped_catalogue_comes_back():
    seed.load(Path(settings.BASE_DIR) / "catalog" / "models.yaml")
    assert Adapter.objects.count() > 10
    assert_it_comes_back()


def test_every_shipped_kind_of_provider_comes_back():
    kinds = "".join(f"  - {{id: m-{kind}, name: M, provider: {kind}}}\n" for kind in stanzas.shipped())
    seed.load_documents(Document("models.yaml", f"models:\n{kinds}"), None)
    assert Provider.objects.count() == len(stanzas.shipped())
    assert_it_comes_back()


def test_a_shipped_kind_comes_back_as_it_was_edited():
    seed.load_documents(Document("models.yaml", "models: [{id: falcon, name: Falcon, provider: deepseek}]"), None)
    plain = Provider(slug="deepseek", name="Ours", base_url="http://gpu:8000/v1")
    Provider.objects.update(**model_to_dict(plain, exclude=["id"]))
    assert_it_comes_back()
    assert Provider.objects.get().api_key == ""


def test_what_has_no_route_no_weight_and_no_model_comes_back():
    factories.language_model("acme/unserved", aliases=("unserved",))
    factories.provider("idle", is_enabled=False)
    factories.adapter(factories.language_model("acme/served"), weight=None)
    assert_it_comes_back()


def test_prices_keep_their_dates():
    adapter = factories.adapter(weight=0)
    factories.adapter_price(adapter, note="The announcement of November.")
    factories.adapter_price(adapter, effective_from=datetime(2031, 1, 1, tzinfo=UTC), pricing=None)
    factories.adapter_price(adapter, effective_from=timezone.now() - timedelta(seconds=3), pricing={"prompt": "0"})
    assert "from: 2031-01-01" in export.write().models
    assert_it_comes_back()


def test_references_are_written_as_references_and_values_never(monkeypatch):
    monkeypatch.setenv("ACME_API_KEY", "sk-live-0123456789abcdefghij")
    monkeypatch.setenv("ACME_URL", "https://inside.example/v1")
    provider = factories.provider("acme", api_key="${ACME_API_KEY}", api_keys=["${SPARE:-}"], base_url="${ACME_URL}")
    factories.adapter(provider=provider)
    text = export.write().models
    (stanza,) = yaml.safe_load(text)["providers"]
    assert (stanza["api_key"], stanza["api_keys"], stanza["base_url"]) == ("${ACME_API_KEY}", ["${SPARE:-}"], "${ACME_URL}")
    assert "sk-live" not in text
    assert "inside.example" not in text


@pytest.mark.parametrize(
    "leaky",
    [
        {"base_url": "https://ada:hidden@acme.example/v1"},
        {"api_key": "${ACME_API_KEY:-sk-live-0123456789abcdefghij}"},
        {"extra_body": {"token": {"deep": ["sk-live-0123456789abcdefghij"]}}},
        {"extra_headers": {"X-Team": "Bearer sk-live-0123456789abcdefghij"}},
    ],
)
def test_a_row_with_a_secret_is_refused_by_name_and_the_secret_not_repeated(leaky):
    factories.provider("acme", **leaky)
    name = next(iter(leaky)).replace("extra_headers", "headers")
    with pytest.raises(export.ExportRefused, match=f"provider acme: {name}") as refusal:
        export.write()
    assert "0123456789" not in str(refusal.value)
    assert "hidden" not in str(refusal.value)


def test_what_the_file_cannot_say_is_refused_by_row_and_field():
    factories.provider("acme", base_url="https://acme.example/v1/")
    factories.provider("Heron")
    with pytest.raises(export.ExportRefused, match="provider Heron: kind: must be a short lower-case name"):
        export.write()
    Provider.objects.filter(slug="Heron").delete()
    with pytest.raises(export.ExportRefused, match="provider acme: base_url: the file cannot say it as it is"):
        export.write()


def test_policies_that_no_file_can_hold_are_told():
    factories.routing_policy(offload="on", hedges=True, deadline_s=30, local_fraction=0.25)
    factories.routing_policy(factories.language_model("acme/falcon"), strategy="price")
    exported = export.write()
    assert yaml.safe_load(exported.routing or "")["routing_parameter"]["local_fraction"] == 0.25
    assert any("offload, hedges" in told for told in exported.left_out)
    assert any("acme/falcon" in told for told in exported.left_out)


def test_without_a_default_policy_there_is_no_routing_file():
    assert export.write().routing is None


# What rows may hold, as far as admin and the file agree on it.
_words = st.lists(st.sampled_from(["temperature", "top_p", "null", "1", "yes"]), unique=True, max_size=3)
_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
_name = _text.filter(lambda text: text != "")
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9).map(lambda f: round(f, 6)) | _text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_text, inner, max_size=2),
    max_leaves=4,
)
_object = st.dictionaries(_text, _json, max_size=3)
_reference = st.sampled_from(["${ACME_API_KEY}", "${ACME_API_KEY:-}", "${LOCAL_KEY:-none}"])
_seconds = st.integers(1, 1000).map(float) | st.floats(0.1, 1000)
_limit = st.none() | st.integers(1, 10**12)
_limits = dict.fromkeys(LIMITS.values(), _limit)
_moment = st.datetimes(datetime(2001, 1, 1), datetime(2034, 1, 1), timezones=st.just(UTC))
_pricing = st.dictionaries(
    st.sampled_from(PRICE_KEYS), st.decimals(0, "0.9", places=12).map(lambda price: f"{price:f}"), max_size=3
)
_choices = {
    name: st.sampled_from([value for value, _ in fields.column(Provider, name).flatchoices])
    for name in ("dialect", "max_tokens_field", "reasoning_input", "reasoning_echo", "continuation")
}
_switches = {
    field.name: st.booleans() for field in Provider._meta.concrete_fields if field.get_internal_type() == "BooleanField"
}
_providers = st.fixed_dictionaries(
    {
        "slug": st.sampled_from([*stanzas.shipped(), "acme", "acme-2", "a_b", "true", "1"]),
        "name": _name,
        "base_url": st.sampled_from(["https://acme.example/v1", "${LOCAL_BASE_URL}", "${URL:-http://[::1]:8000}"]),
        "api_key": st.just("") | _reference,
        "api_keys": st.lists(_reference, max_size=2),
        "extra_headers": st.dictionaries(st.sampled_from(["X-Team", "Accept"]), _text, max_size=2),
        "auth_header": st.sampled_from(["Authorization", "api-key"]),
        "api_version": st.sampled_from(["", "2025-08-01", "1.0"]),
        "field_names": st.dictionaries(st.sampled_from(["seed", "user"]), st.none() | _name, max_size=2),
        "extra_body": _object,
        "reasoning_efforts": _words,
        "tool_call_id_length": st.integers(0, 64),
        "headquarters": st.sampled_from(["", "US", "NO"]),
        "status_page_url": st.sampled_from(["", "https://status.acme.example/"]),
        "connect_timeout_s": _seconds,
        "total_timeout_s": _seconds,
    }
    | _choices
    | _switches
    | _limits
)
_modalities = st.lists(st.sampled_from(MODALITIES), unique=True, min_size=1, max_size=3)
_models = st.fixed_dictionaries(
    {
        "name": _name,
        "owned_by": _name,
        "description": _text,
        "is_enabled": st.booleans(),
        "context_length": st.integers(1000, 2_000_000),
        "max_output_length": st.integers(1, 1000),
        "input_modalities": _modalities,
        "output_modalities": _modalities,
        "supports_tools": st.booleans(),
        "supported_parameters": _words,
        "default_parameters": _object,
        "reasoning": st.none() | _object,
        "pricing": _pricing,
        "tokenizer": st.sampled_from(["", "GPT", "null"]),
        "knowledge_cutoff": st.none() | st.dates(datetime(2001, 1, 1).date()),
        "created": _moment,
    }
)
_adapters = st.fixed_dictionaries(
    {
        "upstream_model": _name,
        "is_enabled": st.booleans(),
        "context_length": st.none() | st.integers(1000, 10**6),
        "max_output_length": st.none() | st.integers(1, 1000),
        "quantization": st.sampled_from(["", *QUANTIZATIONS]),
        "supported_parameters": st.none() | _words,
    }
    | _limits
)
_weight = st.none() | st.integers(0, 10).map(float) | st.floats(0, 10)
_prices = st.lists(
    st.tuples(_moment, _pricing.filter(bool) | st.none(), _text), max_size=2, unique_by=lambda price: price[0]
)
_catalogues = st.tuples(
    st.lists(_providers, max_size=3, unique_by=lambda columns: columns["slug"]),
    st.lists(_models, max_size=2),
    st.lists(st.tuples(_adapters, _weight, _prices), max_size=6),
)


# Not shrunk: an example is a dozen loads, and what is refused is named by row and field anyway.
@hypothesis_settings(
    max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
)
@given(_catalogues)
def test_every_catalogue_comes_back(catalogue):
    providers, models, adapters = catalogue
    with transaction.atomic():
        places = list(
            product(
                [
                    factories.language_model(f"acme/m-{number}", aliases=(f"m-{number}",), **columns)
                    for number, columns in enumerate(models)
                ],
                [Provider.objects.create(**columns) for columns in providers],
            )
        )
        for (model, provider), (columns, weight, prices) in zip(places, adapters, strict=False):
            adapter = factories.adapter(model, provider, weight=weight, **columns)
            for moment, pricing, note in prices:
                factories.adapter_price(adapter, effective_from=moment, pricing=pricing, note=note)
        assert_it_comes_back()
        transaction.set_rollback(True)
