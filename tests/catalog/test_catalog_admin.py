"""The catalogue in admin: what people see of providers, and what they are told when they mistype."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry

from catalog.forms import JsonField
from catalog.models import Adapter, LanguageModel, ModelAlias, Provider
from tests import factories
from tests.forms import errors_of, filled_in, page_of

PROVIDERS = "/admin/catalog/provider/"
MODELS = "/admin/catalog/languagemodel/"
ADAPTERS = "/admin/catalog/adapter/"


@pytest.fixture
def browser(db):
    return factories.browser()


class TestProviders:
    def test_the_list_says_which_variable_is_missing(self, browser, monkeypatch):
        monkeypatch.delenv("ACME_API_KEY", raising=False)
        factories.provider("acme", api_key="${ACME_API_KEY}")
        assert "environment variable ACME_API_KEY is not set" in browser.get(PROVIDERS).text
        monkeypatch.setenv("ACME_API_KEY", "very-secret")
        page = browser.get(PROVIDERS).text
        assert "is not set" not in page
        assert "configured" in page

    def test_no_page_shows_the_value_of_a_variable(self, browser, monkeypatch):
        monkeypatch.setenv("ACME_API_KEY", "very-secret")
        monkeypatch.setenv("ACME_URL", "https://user:hidden@acme.example/v1")
        adapter = factories.adapter(
            provider=factories.provider(
                "acme", api_key="${ACME_API_KEY}", api_keys=["${SPARE_KEY}"], base_url="${ACME_URL}"
            )
        )
        page = browser.get(page_of(adapter.provider)).text
        assert "${ACME_API_KEY}: yes, ${SPARE_KEY}: no" in page
        for url in (page_of(adapter.provider), PROVIDERS, page_of(adapter), ADAPTERS, page_of(adapter.model)):
            shown = browser.get(url).text
            assert "very-secret" not in shown
            assert "hidden@acme" not in shown

    def test_a_literal_key_is_refused_with_the_cure(self, browser):
        page = page_of(factories.provider())
        told = errors_of(browser.post(page, filled_in(browser, page, api_key="sk-very-secret")))
        assert "Write the name of an environment variable" in told["api_key"][0]

    @pytest.mark.parametrize(
        ("field", "value", "told"),
        [
            ("base_url", "https://ada:hidden@acme.example/v1", "Leave out user, password and query"),
            ("base_url", "https://acme.example/v1?key=x", "Leave out user, password and query"),
            ("base_url", "acme.example", "Start with http://"),
            ("slug", "Acme", "Write it in lower-case letters and digits, e.g. acme."),
        ],
    )
    def test_what_a_models_file_could_not_say_is_refused_here_too(self, browser, field, value, told):
        page = page_of(factories.provider("acme"))
        assert told in errors_of(browser.post(page, filled_in(browser, page, **{field: value})))[field][0]

    def test_a_slash_at_the_end_of_a_base_url_is_left_out(self, browser):
        provider = factories.provider("acme")
        page = page_of(provider)
        browser.post(page, filled_in(browser, page, base_url="${ACME_URL:-https://acme.example/v1}/"))
        provider.refresh_from_db()
        assert provider.base_url == "${ACME_URL:-https://acme.example/v1}"

    def test_json_fields_may_be_left_empty(self, browser):
        provider = factories.provider(extra_headers={"X-Team": "ml"})
        page = page_of(provider)
        assert browser.post(page, filled_in(browser, page, extra_headers="", api_keys=" ")).status_code == 302
        provider.refresh_from_db()
        assert (provider.extra_headers, provider.api_keys) == ({}, [])

    def test_bad_json_is_answered_with_the_place_of_the_mistake_and_kept_for_correction(self, browser):
        page = page_of(factories.provider())
        response = browser.post(page, filled_in(browser, page, extra_headers='{"X-Team": ml}'))
        assert "at line 1, column 12" in errors_of(response)["extra_headers"][0]
        assert "{&quot;X-Team&quot;: ml}" in response.text

    def test_switching_off_says_what_it_did_and_leaves_a_trace(self, browser):
        providers = [factories.provider() for _ in range(2)]
        chosen = {"action": "disable", "_selected_action": [row.pk for row in providers]}
        response = browser.post(PROVIDERS, chosen, follow=True)
        assert "Disabled 2 providers." in response.text
        assert not Provider.objects.filter(is_enabled=True).exists()
        assert LogEntry.objects.filter(change_message="Disabled.").count() == 2
        browser.post(PROVIDERS, chosen | {"action": "enable"})
        assert Provider.objects.filter(is_enabled=True).count() == 2

    def test_the_list_counts_adapters(self, browser):
        provider = factories.provider()
        factories.adapter(provider=provider)
        factories.adapter(provider=provider)
        assert '<td class="field-adapter_count">2</td>' in browser.get(PROVIDERS).text


class TestModels:
    def test_a_model_is_made_with_its_adapters_and_aliases_on_one_page(self, browser):
        provider = factories.provider()
        page = f"{MODELS}add/"
        form = filled_in(
            browser, page, public_id="acme/falcon", name="Falcon", owned_by="acme", pricing='{"prompt": "0.000001"}'
        )
        form |= {
            "adapters-TOTAL_FORMS": 1, "adapters-0-provider": provider.pk, "adapters-0-upstream_model": "falcon-2",
            "adapters-0-is_enabled": "on", "adapters-0-weight": "3", "aliases-TOTAL_FORMS": 1, "aliases-0-alias": "falcon",
        }  # fmt: skip
        assert browser.post(page, form).status_code == 302
        model = LanguageModel.objects.get()
        assert (model.pricing, model.input_modalities) == ({"prompt": "0.000001"}, ["text"])
        assert list(model.adapters.values_list("provider", "upstream_model")) == [(provider.pk, "falcon-2")]
        assert [alias.alias for alias in model.aliases.all()] == ["falcon"]

    @pytest.mark.parametrize(
        ("changes", "field", "told"),
        [
            ({"max_output_length": 9000}, "max_output_length", "does not fit into a context of 8192"),
            ({"context_length": 0}, "context_length", "at least 1 token"),
            ({"pricing": '{"prompt": "0.5", "brunch": "1"}'}, "pricing", "Unknown price"),
            ({"pricing": '{"prompt": "2.5"}'}, "pricing", "divide by 1000000"),
            ({"pricing": '{"prompt": NaN}'}, "pricing", "NaN is not JSON"),
            ({"public_id": "acme falcon"}, "public_id", "Use letters, digits"),
            ({"public_id": "taken"}, "public_id", "already exists"),
            ({"public_id": "alias-of-taken"}, "public_id", "already an alias of another model"),
            ({"input_modalities": []}, "input_modalities", "required"),
        ],
    )
    def test_a_mistake_is_named_at_its_field(self, browser, changes, field, told):
        factories.language_model("taken", aliases=("alias-of-taken",))
        page = page_of(factories.language_model("mine"))
        errors = errors_of(browser.post(page, filled_in(browser, page, **changes)))
        assert list(errors) == [field]
        assert told in errors[field][0]

    def test_the_same_adapter_twice_is_refused(self, browser):
        adapter = factories.adapter()
        page = page_of(adapter.model)
        form = filled_in(browser, page)
        form |= {"adapters-TOTAL_FORMS": 2, "adapters-1-provider": adapter.provider_id, "adapters-1-weight": 1}
        form |= {"adapters-1-upstream_model": adapter.upstream_model, "adapters-1-model": adapter.model_id}
        response = browser.post(page, form)
        assert response.status_code == 200
        assert "Please correct the duplicate" in response.text
        assert Adapter.objects.count() == 1

    def test_the_list_shows_prices_per_million_tokens(self, browser):
        factories.language_model(pricing={"prompt": "0.00000027", "completion": "0.0000011"})
        assert "0.27 / 1.1<" in browser.get(MODELS).text

    def test_the_list_counts_adapters_once_also_while_it_is_filtered_and_searched(self, browser):
        model = factories.language_model("acme/falcon", aliases=("falcon-a", "falcon-b"))
        adapters = [factories.adapter(model) for _ in range(3)]
        for query in ({}, {"q": "falcon"}, {"adapters__provider__id__exact": adapters[0].provider_id}):
            page = browser.get(MODELS, query)
            assert [row._adapters for row in page.context["cl"].result_list] == [3]

    def test_a_model_is_found_by_its_alias(self, browser):
        factories.language_model("acme/falcon", aliases=("kestrel",))
        factories.language_model("acme/other")
        found = browser.get(MODELS, {"q": "kestrel"}).context["cl"].result_list
        assert [row.public_id for row in found] == ["acme/falcon"]

    def test_what_the_totals_name_is_not_deleted(self, browser):
        adapter = factories.adapter()
        factories.usage_total(adapter)
        for row in (adapter.model, adapter):
            page = browser.post(page_of(row, "delete"), {"post": "yes"})
            assert page.status_code == 200
            assert "would require deleting the following protected related objects" in page.text
        form = filled_in(browser, page_of(adapter.model)) | {"adapters-0-DELETE": "on"}
        assert "protected related objects" in browser.post(page_of(adapter.model), form).text
        assert Adapter.objects.count() == LanguageModel.objects.count() == 1

    def test_an_unused_model_goes_with_its_adapters_and_aliases(self, browser):
        model = factories.language_model(aliases=("gone",))
        factories.adapter(model, weight=1)
        assert browser.post(page_of(model, "delete"), {"post": "yes"}).status_code == 302
        assert [row.objects.count() for row in (LanguageModel, Adapter, ModelAlias)] == [0, 0, 0]


class TestJsonField:
    def test_a_short_value_stays_on_one_line_and_a_long_one_is_indented(self):
        field = JsonField()
        assert field.prepare_value(["text", "image"]) == '["text", "image"]'
        assert field.prepare_value({"prompt": "0.1" * 30}).startswith('{\n  "prompt"')

    def test_nothing_is_an_empty_area_not_the_word_null(self):
        assert JsonField().prepare_value(None) == ""

    def test_an_unedited_value_counts_as_unchanged(self):
        value = {"prompt": "0.000001", "completion": "0.000002", "input_cache_read": "0.0000001"}
        field = JsonField()
        assert not field.has_changed(value, field.prepare_value(value))
        assert not JsonField(empty_value=[]).has_changed([], "")

    @pytest.mark.parametrize("typed", ["", "  ", "null", "[]", '""', "0", "false"])
    def test_an_empty_value_of_the_wrong_kind_becomes_the_default(self, typed):
        assert JsonField(empty_value={}, required=False).clean(typed) == {}

    @pytest.mark.parametrize(("typed", "meant"), [("null", None), ("[]", []), ("{}", {})])
    def test_where_nothing_is_a_value_of_its_own_an_empty_one_stays(self, typed, meant):
        assert JsonField(required=False).clean(typed) == meant
