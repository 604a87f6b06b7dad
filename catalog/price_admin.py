"""Prices in admin: the history of each adapter's, and a form for the next one. What has been in force can only be looked at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet, Subquery
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


class Told(forms.Widget):
    """What a disabled field holds, as text."""

    def __init__(self, text: SafeString) -> None:
        super().__init__()
        self._text = text

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        return self._text


class LockedHistory(BaseInlineFormSet):
    """Rows of prices in which those that have been in force can be read, but neither typed into nor ticked for deletion."""

    def add_fields(self, form: forms.ModelForm, index: int | None) -> None:
        super().add_fields(form, index)
        price = form.instance
        if not price.is_in_force:
            return
        if "DELETE" in form.fields:
            form.fields["DELETE"].disabled = True
        # The latest come first, so that the first of these is the one that holds.
        holds = not any(row.is_in_force for row in self.get_queryset()[: index or 0])
        # Fields of one widget each: admin's pair of date and time would give the moment back without its microseconds, and
        # a moment in force cannot be changed, not even by that.
        form.fields["effective_from"] = forms.DateTimeField(disabled=True, widget=Told(_moment(price, holds=holds)))
        form.fields["pricing"].disabled = True
        form.fields["pricing"].widget = Told(_amounts(price))


def _moment(price: AdapterPrice, *, holds: bool) -> SafeString:
    return format_html(
        "{} UTC{}", f"{price.effective_from:%Y-%m-%d %H:%M}", format_html("<br><b>{}</b>", "in force") if holds else ""
    )


def _amounts(price: AdapterPrice) -> SafeString:
    if price.pricing is None:
        return format_html("{}", "the model's published price")
    return format_html(
        "{} USD per million tokens, in / out<br><code>{}</code>", per_million(price.pricing), json.dumps(price.pricing)
    )


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
    list_display = ["adapter", "effective_from", "standing", "price", "note", "created_by"]
    list_filter = [("adapter__provider", admin.RelatedOnlyFieldListFilter), "effective_from"]
    list_select_related = ["adapter__model", "adapter__provider", "created_by"]
    search_fields = ["adapter__model__public_id", "adapter__provider__slug", "note"]
    search_help_text = "Model id, provider or note."
    ordering = ["-effective_from"]
    fields = ["adapter", *PRICE_FIELDS]
    readonly_fields = ["created_by"]
    autocomplete_fields = ["adapter"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AdapterPrice]:
        later = AdapterPrice.objects.in_force().filter(
            adapter=OuterRef("adapter"), effective_from__gt=OuterRef("effective_from")
        )
        rows: QuerySet[AdapterPrice] = super().get_queryset(request).annotate(_is_followed=Exists(later))
        return rows

    @admin.display(description="holds")
    def standing(self, price: Any) -> str:
        if not price.is_in_force:
            return "later"
        return "no more" if price._is_followed else "now"

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
