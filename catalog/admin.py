"""The catalogue in admin: providers, models, adapters, and whether the environment has what each of them needs.

Shows names of environment variables and whether they are set, never their values. Knows nothing of traffic:
`routingapp.admin` adds the weights to the model page.
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
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from catalog.actions import ExplainedDeletion, Switching
from catalog.entries import Unconfigured, resolve
from catalog.environment import lookup
from catalog.forms import JsonEditing
from catalog.loader import provider_entry
from catalog.models import Adapter, LanguageModel, ModelAlias, Provider
from catalog.price_admin import Authored, PriceInline, per_million, present_price, with_present_price
from catalog.validators import MODALITIES

LIMITS = (("rpm_limit", "tpm_limit"), ("rpd_limit", "tpd_limit"), "max_concurrency")


def state_of(provider: Provider) -> SafeString:
    """Whether the environment has what `provider` needs, judged as the request path judges it."""
    reason = provider_entry(provider, lookup).unconfigured
    return format_html("<b>unconfigured:</b> {}", reason) if reason else format_html("{}", "configured")


class ProviderForm(forms.ModelForm):
    class Meta:
        labels = {"base_url": "Base URL", "api_key": "API key", "api_keys": "More API keys", "api_version": "API version"}
        widgets = {"base_url": forms.TextInput(attrs={"class": "vLargeTextField"})}


@admin.register(Provider)
class ProviderAdmin(Switching, JsonEditing, admin.ModelAdmin):
    form = ProviderForm
    list_display = ["name", "state", "slug", "dialect", "base_url", "is_local", "is_enabled", "adapter_count"]
    list_filter = ["is_enabled", "is_local", "dialect"]
    search_fields = ["name", "slug", "base_url"]
    ordering = ["slug"]
    actions = ["enable", "disable"]
    fieldsets = (
        (None, {"fields": ("name", "slug", "dialect", "base_url", "is_local", "is_enabled", "state")}),
        ("Keys", {"fields": ("api_key", "api_keys", "keys_set", "auth_header")}),
        (
            "Timeouts",
            {"fields": (("connect_timeout_s", "first_byte_timeout_s"), ("idle_timeout_s", "total_timeout_s"))},
        ),
        ("Limits", {"classes": ("collapse",), "fields": LIMITS}),
        ("Data policy", {"fields": ("collects_data", "has_zero_data_retention")}),
        (
            "Where it differs from OpenAI",
            {
                "classes": ("collapse",),
                "fields": (
                    "extra_headers", "api_version", "max_tokens_field", "field_names", "extra_body", "reasoning_input",
                    "reasoning_efforts", "reasoning_echo", "requires_reasoning_echo", "accepts_stream_options",
                    "accepts_developer_role", "accepts_content_parts", "accepts_null_content", "accepts_unknown_fields",
                    "accepts_json_schema", "accepts_cache_control", "tool_call_id_length", "speaks_openrouter",
                    "continuation",
                ),
            },
        ),
        (
            "Published",
            {
                "classes": ("collapse",),
                "fields": ("privacy_policy_url", "terms_of_service_url", "status_page_url", "headquarters"),
            },
        ),
    )  # fmt: skip
    readonly_fields = ["state", "keys_set"]
    prepopulated_fields = {"slug": ("name",)}
    # As Django 6.0 will have it: an address typed without a scheme is https.
    formfield_overrides = {models.URLField: {"assume_scheme": "https"}}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        rows: QuerySet[Provider] = super().get_queryset(request).annotate(_adapters=Count("adapters"))
        return rows

    @admin.display(description="adapters", ordering="_adapters")
    def adapter_count(self, provider: Any) -> int:
        return int(provider._adapters)

    @admin.display(description="state")
    def state(self, provider: Provider) -> str:
        return state_of(provider) if provider.pk else "known once it is saved"

    @admin.display(description="set in the environment")
    def keys_set(self, provider: Provider) -> str:
        """Which of the references lead to a value. The value itself never reaches the page."""
        references = [reference for reference in (provider.api_key, *provider.api_keys) if reference]
        return (
            format_html_join(
                ", ", "{}: {}", ((reference, "yes" if _resolves(reference) else "no") for reference in references)
            )
            or "no key is sent"
        )


def _resolves(reference: str) -> bool:
    try:
        return bool(resolve(reference, lookup))
    except Unconfigured:
        return False


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
    list_display = ["upstream_model", "model", "provider", "quantization", "is_enabled", "price", "state"]
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
