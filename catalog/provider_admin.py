"""Providers in admin: where they are, whether the environment has what each needs, and where they differ from OpenAI.

Shows names of environment variables and whether they are set, never their values.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from catalog.actions import Switching
from catalog.entries import Unconfigured, resolve
from catalog.environment import lookup
from catalog.forms import JsonEditing
from catalog.loader import provider_entry
from catalog.models import Provider

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
