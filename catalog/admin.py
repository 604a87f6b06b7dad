"""The catalogue in admin: models, adapters and aliases; providers and prices have modules of their own.

Knows nothing of traffic: `routingapp.admin` adds the weights to the model page.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import RelatedFieldWidgetWrapper
from django.db import models
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.forms.models import ModelChoiceField, ModelChoiceIterator
from django.http import HttpRequest

from catalog.actions import ExplainedDeletion, Switching
from catalog.forms import JsonEditing
from catalog.models import Adapter, LanguageModel, ModelAlias
from catalog.price_admin import Authored, PriceInline, per_million, present_price, with_present_price
from catalog.provider_admin import LIMITS, state_of
from catalog.validators import MODALITIES


class AliasInline(admin.TabularInline):
    model = ModelAlias
    verbose_name_plural = "aliases: further ids under which callers find this model"
    extra = 0


class AdapterInline(JsonEditing, admin.TabularInline):
    """The adapters of a model, one per row. Prices and lengths of their own are on the adapter's page."""

    model = Adapter
    verbose_name_plural = "adapters: who serves this model"
    fields = ["provider", "upstream_model", "quantization", "is_enabled", "state"]
    readonly_fields = ["state"]
    extra = 0
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Adapter]:
        return super().get_queryset(request).select_related("model", "provider")

    def formfield_for_dbfield(
        self, db_field: models.Field[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.Field | None:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if isinstance(field, ModelChoiceField):
            if isinstance(field.widget, RelatedFieldWidgetWrapper):
                # Without the four buttons beside it: they would take as much room as the row.
                field.widget = field.widget.widget
            # As a list, read once: the lazy choices would be one query per row of the inline.
            field.choices = list(ModelChoiceIterator(field))
        return field

    @admin.display(description="state")
    def state(self, adapter: Adapter) -> str:
        return state_of(adapter.provider) if adapter.pk else ""


def _modalities_field() -> forms.MultipleChoiceField:
    beside_each_other = forms.CheckboxSelectMultiple(attrs={"class": "radiolist inline"})
    return forms.MultipleChoiceField(
        choices=[(name, name) for name in MODALITIES], widget=beside_each_other, initial=["text"]
    )


class LanguageModelForm(forms.ModelForm):
    input_modalities = _modalities_field()
    output_modalities = _modalities_field()

    class Meta:
        widgets = {"description": forms.Textarea(attrs={"class": "vLargeTextField", "rows": 2})}

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        context, output = given.get("context_length"), given.get("max_output_length")
        if context == 0:
            self.add_error("context_length", "Give at least 1 token.")
        if output == 0:
            self.add_error("max_output_length", "Give at least 1 token.")
        if context and output and output > context:
            self.add_error(
                "max_output_length",
                f"An answer of {output} tokens does not fit into a context of {context}; give {context} or less.",
            )
        return given


@admin.register(LanguageModel)
class LanguageModelAdmin(Switching, ExplainedDeletion, JsonEditing, admin.ModelAdmin):
    form = LanguageModelForm
    list_display = [
        "public_id", "name", "owned_by", "is_enabled", "adapter_count", "context_length", "price_per_million",
    ]  # fmt: skip
    list_filter = ["is_enabled", "supports_tools", ("adapters__provider", admin.RelatedOnlyFieldListFilter), "owned_by"]
    search_fields = ["public_id", "name", "aliases__alias", "canonical_slug"]
    search_help_text = "Id, name or alias."
    ordering = ["public_id"]
    actions = ["enable", "disable"]
    fieldsets = (
        (None, {"fields": ("public_id", "name", "owned_by", "is_enabled", "description")}),
        (
            "Abilities",
            {
                # Set once, when the model is added; weights and adapters below are what people come for.
                "classes": ("collapse",),
                "fields": (
                    ("context_length", "max_output_length"), "input_modalities", "output_modalities",
                    ("supports_tools", "supports_structured_output"), "supported_parameters",
                )
            },
        ),
        ("Price", {"fields": ("pricing",)}),
        (
            "More",
            {
                "classes": ("collapse",),
                "fields": (
                    "canonical_slug", "default_parameters", "reasoning", "tokenizer", "hugging_face_id",
                    "knowledge_cutoff", "expiration_date", "created",
                ),
            },
        ),
    )  # fmt: skip
    inlines = [AdapterInline, AliasInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[LanguageModel]:
        # A subquery, because the joins of the provider filter and of the alias search would multiply a plain count.
        counts = Adapter.objects.filter(model=OuterRef("pk")).order_by().values("model").annotate(count=Count("pk"))
        rows: QuerySet[LanguageModel] = (
            super().get_queryset(request).annotate(_adapters=Coalesce(Subquery(counts.values("count")), 0))
        )
        return rows

    @admin.display(description="adapters", ordering="_adapters")
    def adapter_count(self, model: Any) -> int:
        return int(model._adapters)

    @admin.display(description="USD per million tokens, in / out")
    def price_per_million(self, model: LanguageModel) -> str:
        return per_million(model.pricing)


@admin.register(Adapter)
class AdapterAdmin(Switching, ExplainedDeletion, Authored, JsonEditing, admin.ModelAdmin):
    list_display = ["upstream_model", "model", "provider", "state", "is_enabled", "price", "quantization"]
    list_filter = ["is_enabled", ("provider", admin.RelatedOnlyFieldListFilter), "quantization"]
    list_select_related = ["model", "provider"]
    search_fields = ["upstream_model", "model__public_id", "provider__slug", "provider__name"]
    search_help_text = "Upstream model, model id or provider."
    ordering = ["model__public_id", "provider__slug"]
    actions = ["enable", "disable"]
    fields = [
        "model", "provider", "upstream_model", "quantization", "is_enabled", "state",
        ("context_length", "max_output_length"), "supported_parameters", *LIMITS,
    ]  # fmt: skip
    readonly_fields = ["state"]
    autocomplete_fields = ["model", "provider"]
    inlines = [PriceInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Adapter]:
        return with_present_price(super().get_queryset(request))

    @admin.display(description="USD per million tokens, in / out")
    def price(self, adapter: Adapter) -> str:
        return present_price(adapter)

    @admin.display(description="state")
    def state(self, adapter: Adapter) -> str:
        return state_of(adapter.provider) if adapter.pk else "known once it is saved"


@admin.register(ModelAlias)
class ModelAliasAdmin(admin.ModelAdmin):
    list_display = ["alias", "model"]
    list_select_related = ["model"]
    search_fields = ["alias", "model__public_id"]
    ordering = ["alias"]
    autocomplete_fields = ["model"]
