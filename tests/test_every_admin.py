"""What holds for every page of admin: it answers, its queries do not grow with the rows, and its class says what it means.

Django's checks do not see a misspelt attribute or a hook that nothing calls; these tests do.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.options import BaseModelAdmin
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounting.models import ApiKey, PriceCorrection, RequestLog, UsageTotal
from catalog.models import Adapter, AdapterPrice, LanguageModel, ModelAlias, Provider
from routingapp.models import RoutingPolicy, RoutingWeight
from tests import factories

OURS = ("accounting", "catalog", "completions", "gateway_project", "routingapp")
NOT_FOR_PEOPLE = {
    "SeededRow", "Revision", "HourlyUsage", "HourlyError", "HourlySketch", "HourlySpread", "SlotUsage",
    "HourlyAttempt",
}  # fmt: skip
"""Bookkeeping of `loadmodels`, of the snapshot and of the statistics, which have pages of their own."""

ORDER = [
    "model", "form", "formset", "verbose_name", "verbose_name_plural",
    "list_display", "list_display_links", "list_editable", "list_filter", "list_select_related", "list_per_page",
    "list_max_show_all", "search_fields", "search_help_text", "show_full_result_count", "show_facets", "ordering",
    "sortable_by", "actions", "fields", "fieldsets", "readonly_fields", "prepopulated_fields", "formfield_overrides",
    "autocomplete_fields", "inlines", "extra", "show_change_link",
]  # fmt: skip
"""In which order a class sets its attributes."""


def _model_with_inlines() -> LanguageModel:
    row = factories.language_model(aliases=(f"alias-of-{LanguageModel.objects.count()}",))
    factories.adapter(row, weight=1)
    return row


ROWS: dict[type, Callable[[], object]] = {
    Provider: factories.provider,
    LanguageModel: _model_with_inlines,
    ModelAlias: _model_with_inlines,
    Adapter: lambda: factories.adapter_price(factories.adapter(weight=2)).adapter,
    AdapterPrice: factories.adapter_price,
    RoutingWeight: lambda: factories.adapter(weight=2),
    RoutingPolicy: lambda: factories.routing_policy(factories.language_model()),
    ApiKey: lambda: factories.api_key(owner=factories.superuser()),
    RequestLog: lambda: factories.request_log(factories.adapter(), factories.api_key()),
    PriceCorrection: factories.price_correction,
    UsageTotal: lambda: factories.usage_total(api_key=factories.api_key()),
}
REGISTERED = [row for row in admin.site._registry if row._meta.app_label in OURS]


@pytest.fixture
def browser(db):
    return factories.browser()


def every(rows):
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.__name__)


def address(row, page: str, *arguments: object) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=arguments)


def queries_of(browser, url: str) -> int:
    browser.get(url)  # content types are cached by the first call
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert browser.get(url).status_code == 200
    return len(queries)


def test_every_model_has_an_admin_or_a_reason_to_have_none():
    models = {row.__name__ for label in OURS for row in apps.get_app_config(label).get_models()}
    assert {row.__name__ for row in REGISTERED} >= models - NOT_FOR_PEOPLE
    assert set(REGISTERED) == set(ROWS)


@pytest.mark.django_db
class TestPages:
    @every(REGISTERED)
    def test_the_list_answers_without_rows(self, browser, row):
        assert browser.get(address(row, "changelist")).status_code == 200

    @every(REGISTERED)
    def test_the_list_needs_as_many_queries_for_25_rows_as_for_5(self, browser, row):
        for _ in range(5):
            ROWS[row]()
        few = queries_of(browser, address(row, "changelist"))
        for _ in range(20):
            ROWS[row]()
        assert queries_of(browser, address(row, "changelist")) == few <= 12

    @every(REGISTERED)
    def test_the_page_of_a_row_needs_as_many_queries_for_25_rows_as_for_5(self, browser, row):
        for _ in range(5):
            ROWS[row]()
        page = address(row, "change", row.objects.order_by("pk").first().pk)
        few = queries_of(browser, page)
        for _ in range(20):
            ROWS[row]()
        assert queries_of(browser, page) == few <= 30

    @every([row for row in REGISTERED if row not in (RequestLog, UsageTotal, PriceCorrection)])
    def test_the_add_form_answers(self, browser, row):
        assert browser.get(address(row, "add")).status_code == 200

    @every([row for row in REGISTERED if row not in (RequestLog, UsageTotal, PriceCorrection)])
    def test_the_add_form_has_every_field_that_people_may_set(self, browser, row):
        settable = {
            field.name for field in row._meta.get_fields() if field.concrete and field.editable and not field.primary_key
        }
        assert settable - set(browser.get(address(row, "add")).context["adminform"].form.fields) == set()

    @every(REGISTERED)
    def test_somebody_who_may_only_look_sees_the_list_and_a_row_and_changes_nothing(self, client, django_user_model, row):
        viewer = django_user_model.objects.create_user("vera", is_staff=True)
        viewer.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
        client.force_login(viewer)
        ROWS[row]()
        page = address(row, "change", row.objects.order_by("pk").first().pk)
        assert [client.get(address(row, "changelist")).status_code, client.get(page).status_code] == [200, 200]
        assert client.post(page, {}).status_code == 403

    @every(REGISTERED)
    def test_the_search_answers(self, browser, row):
        ROWS[row]()
        assert browser.get(address(row, "changelist"), {"q": "acme"}).status_code == 200

    def test_the_page_of_a_model_needs_as_many_queries_for_25_adapters_as_for_5(self, browser):
        model, provider = factories.language_model(), factories.provider()
        page = address(LanguageModel, "change", model.pk)
        for _ in range(5):
            factories.adapter(model, provider, weight=1)
        few = queries_of(browser, page)
        for _ in range(20):
            factories.adapter(model, provider, weight=1)
        assert queries_of(browser, page) == few


def own_classes() -> list[type]:
    """Every class of ours that admin's pages are made of, mixins and inlines included."""
    registered = [type(model_admin) for row, model_admin in admin.site._registry.items() if row in REGISTERED]
    inlines = [inline for model_admin in registered for inline in model_admin.inlines]
    found = {part for whole in [*registered, *inlines] for part in whole.__mro__ if part.__module__.split(".")[0] in OURS}
    return sorted(found, key=lambda part: part.__name__)


@every(own_classes())
class TestClasses:
    def test_every_attribute_is_one_that_admin_reads_or_the_class_uses(self, row):
        known = {name for base in (admin.ModelAdmin, admin.TabularInline, BaseModelAdmin) for name in dir(base)}
        public = {name for name in vars(row) if not name.startswith("_")}
        users = [whole for whole in own_classes() if issubclass(whole, row)]
        unknown = {name for name in public - known if not any(name in _names_used_by(user) for user in users)}
        assert not unknown, f"{row.__name__} sets what nothing reads: {unknown}"

    def test_every_name_it_lists_exists(self, row):
        if not issubclass(row, BaseModelAdmin):
            return
        model = (
            row.model if hasattr(row, "model") else next(m for m, a in admin.site._registry.items() if isinstance(a, row))
        )
        fields = {field.name for field in model._meta.get_fields()}
        form_fields = set(row.form.base_fields)
        for name in _names_used_by(row):
            assert name in fields | form_fields or hasattr(row, name) or hasattr(model, name), f"{row.__name__}: no {name}"

    def test_its_attributes_stand_in_the_fixed_order(self, row):
        own = [name for name in vars(row) if name in ORDER]
        assert own == sorted(own, key=ORDER.index)
        data = [name for name, value in vars(row).items() if not name.startswith("_") and not callable(value)]
        known = {*ORDER, "media", *vars(row).get("__annotations__", ())}
        assert set(data) <= known, f"add {set(data) - known} to ORDER"


def _names_used_by(row):
    """Names of methods and fields that a class lists, and those its own code reads as `self.name`."""
    listed: list[object] = []
    for attribute in ("list_display", "readonly_fields", "actions", "fields", "list_editable", "autocomplete_fields"):
        listed += getattr(row, attribute, None) or []
    for _, options in getattr(row, "fieldsets", None) or []:
        listed += options["fields"]
    names = {name for item in listed for name in (item if isinstance(item, list | tuple) else [item])}
    source = inspect.getsource(row)
    return names | {name for name in dir(row) if f"self.{name}" in source}
