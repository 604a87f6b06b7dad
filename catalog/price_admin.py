"""Prices in admin: the history of each adapter's, and a form for the next one. What has been in force can only be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.forms import BaseInlineFormSet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from catalog.forms import JsonEditing
from catalog.models import AdapterPrice, LanguageModel
from catalog.price_history import read_pricing

PRICE_FIELDS = ("effective_from", "pricing", "note", "created_by")


def per_million(pricing: Any) -> str:
    """ "0.3 / 1.2": USD per million tokens of the prompt and of the answer, as price lists write it. "unknown" without any."""
    reading = read_pricing(pricing)
    if reading.unreadable:
        return "unreadable"
    if not reading.prices.known:
        return "unknown"
    amounts = (reading.prices.get(key, Decimal(0)) * 1_000_000 for key in ("prompt", "completion"))
    text = " / ".join(f"{amount.normalize():f}" for amount in amounts)
    return f"{text} and more" if reading.prices.overrides else text


def with_present_price(adapters: QuerySet[Any]) -> QuerySet[Any]:
    """`adapters` with `_pricing`, the pricing row in force now, None where they cost what their model does."""
    present = AdapterPrice.objects.in_force().filter(adapter=OuterRef("pk")).order_by("-effective_from")
    priced: QuerySet[Any] = adapters.annotate(_pricing=Subquery(present.values("pricing")[:1]))
    return priced


def present_price(adapter: Any) -> SafeString:
    """What an adapter of `with_present_price` costs now; bold where nobody has said and somebody will be billed."""
    model: LanguageModel = adapter.model
    text = per_million(model.pricing if adapter._pricing is None else adapter._pricing)
    if text == "unknown" and adapter.provider.is_local:
        return format_html("{}", "free")
    return format_html("<b>{}</b>" if text == "unknown" else "{}", text)


class LockedHistory(BaseInlineFormSet):
    """Rows of prices in which those that have been in force cannot be typed into, nor ticked for deletion."""

    def add_fields(self, form: forms.ModelForm, index: int | None) -> None:
        super().add_fields(form, index)
        if form.instance.is_in_force:
            for name in {"effective_from", "pricing", "DELETE"} & form.fields.keys():
                form.fields[name].disabled = True


class PriceInline(JsonEditing, admin.TabularInline):
    """The prices of an adapter, the latest first."""

    model = AdapterPrice
    formset = LockedHistory
    verbose_name_plural = "prices: empty is the model's; another price is another row, from its moment on"
    fields = PRICE_FIELDS
    readonly_fields = ["created_by"]
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[AdapterPrice]:
        rows: QuerySet[AdapterPrice] = super().get_queryset(request).select_related("created_by")
        return rows


class Authored:
    """For the `ModelAdmin` of `PriceInline`: signs new prices with who is logged in."""

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        if formset.model is AdapterPrice:
            for row in formset.forms:
                sign(row.instance, request)
        super().save_formset(request, form, formset, change)  # type: ignore[misc]


def sign(price: AdapterPrice, request: HttpRequest) -> None:
    """Write down who adds `price`; those that are stored keep their author."""
    if price._state.adding and request.user.pk:
        price.created_by_id = request.user.pk


@admin.register(AdapterPrice)
class AdapterPriceAdmin(JsonEditing, admin.ModelAdmin):
    list_display = ["adapter", "effective_from", "price", "note", "created_by"]
    list_filter = [("adapter__provider", admin.RelatedOnlyFieldListFilter), "effective_from"]
    list_select_related = ["adapter__model", "adapter__provider", "created_by"]
    search_fields = ["adapter__model__public_id", "adapter__provider__slug", "note"]
    search_help_text = "Model id, provider or note."
    ordering = ["-effective_from"]
    fields = ["adapter", *PRICE_FIELDS]
    readonly_fields = ["created_by"]
    autocomplete_fields = ["adapter"]

    @admin.display(description="USD per million tokens, in / out")
    def price(self, price: AdapterPrice) -> str:
        return "the model's" if price.pricing is None else per_million(price.pricing)

    def has_change_permission(self, request: HttpRequest, obj: AdapterPrice | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj is not None and obj.is_in_force)

    def save_model(self, request: HttpRequest, obj: AdapterPrice, form: Any, change: bool) -> None:
        sign(obj, request)
        super().save_model(request, obj, form, change)

    def get_deleted_objects(
        self, objs: Sequence[AdapterPrice] | QuerySet[AdapterPrice], request: HttpRequest
    ) -> tuple[Any, Any, set[str], list[Any]]:
        shown, counts, lacking, protected = super().get_deleted_objects(objs, request)
        history = [f"{price}: it has been in force; add one that follows it" for price in objs if price.is_in_force]
        return shown, counts, lacking, [*protected, *history]
