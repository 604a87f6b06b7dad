from decimal import Decimal

import pytest

from catalog import environment, loader
from catalog.entries import DialectName
from catalog.limits import Limits
from tests import factories

pytestmark = pytest.mark.django_db

ENVIRONMENT = {"ACME_API_KEY": "secret", "ACME_BASE_URL": "http://gpu:8000/v1/"}


def load(**variables):
    return loader.load((ENVIRONMENT | variables).get)


def only_adapter(catalogue):
    (model,) = catalogue.models
    (adapter,) = model.adapters
    return adapter


def test_an_adapter_inherits_from_its_model_what_it_does_not_say_itself():
    model = factories.language_model(
        "acme/falcon", context_length=9000, max_output_length=900, pricing={"prompt": "0.000001"}, supports_tools=True
    )
    factories.adapter(model)

    adapter = only_adapter(load())

    assert adapter.model_id == "acme/falcon"
    assert (adapter.context_length, adapter.max_output_length, adapter.quantization) == (9000, 900, None)
    assert adapter.prices.get("prompt") == Decimal("0.000001")
    assert {"tools", "max_tokens", "temperature"} <= adapter.supported_parameters


def test_an_adapter_may_differ_from_its_model():
    model = factories.language_model(
        "acme/falcon", context_length=9000, pricing={"prompt": "0.000001"}, supports_tools=True
    )
    row = factories.adapter(
        model,
        context_length=500,
        max_output_length=50,
        quantization="fp8",
        supported_parameters=["seed"],
    )
    factories.adapter_price(row, pricing={"prompt": "0.000002"})

    adapter = only_adapter(load())

    assert (adapter.context_length, adapter.max_output_length, adapter.quantization) == (500, 50, "fp8")
    assert adapter.prices.get("prompt") == Decimal("0.000002")
    assert adapter.supported_parameters == {"max_tokens", "max_completion_tokens", "seed"}


def test_a_base_url_is_resolved_and_loses_its_trailing_slash():
    factories.adapter(provider=factories.provider("vllm", base_url="${ACME_BASE_URL}"))

    adapter = only_adapter(load())

    assert adapter.provider.base_url == "http://gpu:8000/v1"
    assert adapter.unconfigured is None


def test_a_base_url_that_is_not_set_makes_the_adapter_unconfigured():
    factories.adapter(provider=factories.provider("vllm", base_url="${NOWHERE_URL}"))

    assert only_adapter(load()).unconfigured == "environment variable NOWHERE_URL is not set"


def test_a_base_url_without_a_scheme_makes_the_adapter_unconfigured():
    factories.adapter(provider=factories.provider("vllm", base_url="${ACME_BASE_URL}"))

    reason = only_adapter(load(ACME_BASE_URL="gpu:8000")).unconfigured

    assert reason is not None
    assert "${ACME_BASE_URL}" in reason
    assert "http://" in reason


def test_a_key_is_kept_as_a_reference():
    factories.adapter(provider=factories.provider("acme", api_key="${ACME_API_KEY}"))

    adapter = only_adapter(load())

    assert adapter.provider.api_keys == ("${ACME_API_KEY}",)
    assert adapter.unconfigured is None


def test_a_key_that_is_not_set_makes_the_adapter_unconfigured():
    factories.adapter(provider=factories.provider("deepseek", api_key="${DEEPSEEK_API_KEY}"))

    adapter = only_adapter(load())

    assert adapter.unconfigured == "environment variable DEEPSEEK_API_KEY is not set"
    assert adapter.provider.api_keys == ()


def test_an_empty_key_counts_as_not_set():
    factories.adapter(provider=factories.provider("deepseek", api_key="${DEEPSEEK_API_KEY}"))

    assert only_adapter(load(DEEPSEEK_API_KEY="")).unconfigured == "environment variable DEEPSEEK_API_KEY is not set"


def test_one_key_of_a_pool_is_enough():
    factories.adapter(provider=factories.provider("acme", api_key="${MISSING_KEY}", api_keys=["${ACME_API_KEY}"]))

    adapter = only_adapter(load())

    assert adapter.provider.api_keys == ("${ACME_API_KEY}",)
    assert adapter.unconfigured is None


def test_a_key_with_an_empty_default_means_that_none_is_sent():
    factories.adapter(provider=factories.provider("vllm", api_key="${VLLM_API_KEY:-}"))

    adapter = only_adapter(load())

    assert adapter.provider.api_keys == ()
    assert adapter.unconfigured is None


def test_limits_of_the_environment_win_over_those_of_the_row():
    provider = factories.provider("acme-eu", rpm_limit=5, tpm_limit=100, max_concurrency=3)
    factories.adapter(provider=provider, tpd_limit=7)

    adapter = only_adapter(load(ACME_EU_TPM_LIMIT="2000", ACME_EU_RPM_LIMIT="", ACME_EU_TPD_LIMIT="9000"))

    assert adapter.provider.limits == Limits(rpm=5, tpm=2000, tpd=9000, concurrency=3)
    assert adapter.limits == Limits(tpd=7)


def test_a_provider_without_any_key_is_configured():
    factories.adapter(provider=factories.provider("vllm"))

    assert only_adapter(load()).unconfigured is None


def test_a_key_file_that_cannot_be_read_is_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("ACME_API_KEY_FILE", str(tmp_path / "missing"))
    factories.adapter(provider=factories.provider("acme", api_key="${ACME_API_KEY}"))

    reason = only_adapter(loader.load(environment.lookup)).unconfigured

    assert reason == f"ACME_API_KEY_FILE names {tmp_path / 'missing'}, which cannot be read: No such file or directory"


def test_disabled_models_are_left_out():
    factories.language_model("acme/falcon", is_enabled=False)

    assert load().models == ()


@pytest.mark.parametrize("what", ["adapter", "provider"])
def test_disabled_adapters_and_providers_stay_as_entries_that_say_so(what):
    provider = factories.provider("acme", is_enabled=what != "provider")
    factories.adapter(provider=provider, is_enabled=what != "adapter")

    assert only_adapter(load()).is_enabled is False


def test_a_model_is_found_by_id_alias_and_canonical_slug():
    factories.language_model("falcon", aliases=("acme/falcon", "bird"), canonical_slug="acme/falcon-20261101")
    catalogue = load()

    found = [catalogue.find(name) for name in ("falcon", "acme/falcon", "bird", "acme/falcon-20261101")]

    assert all(model is catalogue.models[0] for model in found)
    assert catalogue.models[0].aliases == ("acme/falcon", "bird")
    assert catalogue.models[0].card["id"] == "falcon"


def test_a_native_dialect_and_quirks_are_carried_over():
    provider = factories.provider(
        "gemini", dialect="gemini", max_tokens_field="max_completion_tokens", extra_headers={"x-a": "b"}
    )
    factories.adapter(provider=provider)

    entry = only_adapter(load()).provider

    assert entry.dialect is DialectName.GEMINI
    assert entry.quirks.max_tokens_field == "max_completion_tokens"
    assert entry.extra_headers == {"x-a": "b"}


@pytest.mark.parametrize("pricing", [["0.1"], {"prompt": "cheap"}, {"prompt": "NaN"}, {"prompt": "-1"}])
def test_prices_that_cannot_be_read_are_not_served_free(pricing):
    factories.adapter_price(pricing=pricing)

    assert "pricing" in (only_adapter(load()).unconfigured or "")


def test_the_number_of_queries_does_not_grow(django_assert_num_queries):
    for _ in range(3):
        factories.adapter(factories.language_model(aliases=(f"alias-{_}",)))

    with django_assert_num_queries(5):
        assert len(load().models) == 3


def test_a_provider_of_a_dialect_that_is_gone_is_unconfigured_and_takes_nobody_with_it():
    factories.adapter(factories.language_model(public_id="acme/old"), factories.provider(dialect="telex"))
    factories.adapter(factories.language_model(public_id="acme/new"))
    old, new = (loader.load(lambda name: None).find(name) for name in ("acme/old", "acme/new"))
    assert old is not None
    assert new is not None
    assert old.adapters[0].unconfigured == "there is no dialect 'telex'; known: openai, gemini, anthropic"
    assert new.adapters[0].unconfigured is None


def test_one_adapter_alone_is_switched_on_with_its_model_and_provider_whatever_their_rows_say():
    model = factories.language_model("acme/falcon", is_enabled=False, aliases=("falcon",))
    row = factories.adapter(
        model, factories.provider("acme", is_enabled=False, api_key="${ACME_API_KEY}"), is_enabled=False
    )
    factories.adapter(model)
    factories.adapter_price(row, pricing={"prompt": "0.000007"})

    adapter = only_adapter(loader.alone(row.pk, ENVIRONMENT.get))

    assert (adapter.id, adapter.is_enabled, adapter.unconfigured) == (row.pk, True, None)
    assert adapter.prices.get("prompt") == Decimal("0.000007")
    assert "ACME_API_KEY is not set" in only_adapter(loader.alone(row.pk, lambda name: None)).unconfigured
    row.refresh_from_db()
    assert not row.is_enabled


def test_of_an_adapter_that_is_gone_nothing_is_alone():
    assert loader.alone(4711, ENVIRONMENT.get).models == ()
