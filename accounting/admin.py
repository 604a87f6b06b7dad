"""Keys, requests and totals in admin. Keys are made and revoked here; what the ledger has written can only be read.

A key's secret is rendered once, in the answer to the form that made it, and is in no session, message or row.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import FilteredSelectMultiple
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString

from accounting import exhibits, keys
from accounting.filters import OutcomeFilter, UsedKeyFilter, UsedModelFilter, ValidityFilter
from accounting.models import ApiKey, RequestLog, UsageTotal
from accounting.paging import UncountedChangeList, UncountedPaginator, wanted_page
from catalog.admin import ExplainedDeletion, set_values
from catalog.models import LanguageModel, Provider


class ApiKeyForm(forms.ModelForm):
    allowed_models = forms.MultipleChoiceField(
        required=False, widget=FilteredSelectMultiple("models", is_stacked=False), help_text="None chosen: all."
    )
    allowed_providers = forms.MultipleChoiceField(
        required=False, widget=FilteredSelectMultiple("providers", is_stacked=False), help_text="None chosen: all."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offer("allowed_models", LanguageModel.objects.values_list("public_id", flat=True))
        self._offer("allowed_providers", Provider.objects.values_list("slug", flat=True))

    def _offer(self, name: str, known: QuerySet[Any, str]) -> None:
        """What exists, and what the key names already: a name given through the API may be of a model still to come."""
        field = self.fields.get(name)
        if isinstance(field, forms.MultipleChoiceField):
            field.choices = [(choice, choice) for choice in sorted({*known, *getattr(self.instance, name)})]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        if given.get("limit_reset") and given.get("limit_usd") is None and "limit_usd" not in self.errors:
            self.add_error("limit_reset", "There is no limit to reset; give a spend limit too, or choose never.")
        expires_at = given.get("expires_at")
        if "expires_at" in self.changed_data and expires_at and expires_at <= timezone.now():
            self.add_error("expires_at", "This is in the past; to end the key now, disable it.")
        return given


@admin.register(ApiKey)
class ApiKeyAdmin(ExplainedDeletion, admin.ModelAdmin):
    form = ApiKeyForm
    list_display = [
        "name",
        "label",
        "state",
        "owner",
        "is_management",
        "limit_usd",
        "limit_reset",
        "expires_at",
        "created_at",
    ]
    list_filter = [ValidityFilter, "is_management", "limit_reset"]
    list_select_related = ["owner"]
    search_fields = ["name", "label", "hash__startswith", "owner__username"]
    search_help_text = "Name, owner, or the first or last letters of the key."
    ordering = ["-created_at"]
    actions = ["revoke", "enable"]
    fieldsets = [
        (None, {"fields": ["name", "owner", "is_management", "is_disabled", "expires_at"]}),
        ("Spending and speed", {"fields": ["limit_usd", "limit_reset", "rpm_limit", "tpm_limit", "max_concurrency"]}),
        ("What it may use", {"fields": ["allowed_models", "allowed_providers"]}),
        ("What is kept of its requests", {"fields": ["log_content"]}),
    ]
    autocomplete_fields = ["owner"]

    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        identity = ("Identity", {"fields": ["label", "hash", "created_at", "updated_at"]})
        return [*self.fieldsets, identity] if obj else self.fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> list[str]:
        return ["label", "hash", "created_at", "updated_at"]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> Any:
        # The answer shows the secret, so there is nothing to go on to but the list.
        only_save = {"show_save_and_continue": False, "show_save_and_add_another": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **only_save})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            obj.secret = keys.issue(obj)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The one page that ever shows the secret. Admin marks it `no-store`, as it does all of its pages."""
        context = {**self.admin_site.each_context(request), "title": "API key created", "opts": self.opts, "key": obj}
        return TemplateResponse(request, "admin/accounting/apikey/created.html", context)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        if key.is_disabled:
            return "disabled"
        return "expired" if key.expires_at and key.expires_at <= timezone.now() else "valid"

    @admin.action(description="Revoke the selected %(verbose_name_plural)s", permissions=["change"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiKey]) -> None:
        set_values(request, chosen, "Revoked", is_disabled=True, updated_at=timezone.now())

    @admin.action(description="Enable the selected %(verbose_name_plural)s", permissions=["change"])
    def enable(self, request: HttpRequest, chosen: QuerySet[ApiKey]) -> None:
        set_values(request, chosen, "Enabled", is_disabled=False, updated_at=timezone.now())


class ReadOnly:
    """For a `ModelAdmin` of rows that only the ledger writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(RequestLog)
class RequestLogAdmin(ReadOnly, admin.ModelAdmin):
    list_display = [
        "timestamp", "request_id", "model_id", "provider", "status_code", "error_type", "total_tokens", "cost",
        "latency_ms", "ttft_ms", "stream", "api_key",
    ]  # fmt: skip
    list_display_links = ["timestamp", "request_id"]
    list_filter = ["timestamp", OutcomeFilter, UsedModelFilter, UsedKeyFilter]
    list_select_related = ["api_key"]
    list_per_page = 50
    list_max_show_all = 0
    # Exact, because only that is answered by an index.
    search_fields = ["request_id__exact"]
    search_help_text = "The whole request id, e.g. gen-1732300000-AbCdEf."
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    ordering = ["-timestamp", "-id"]
    # Every other order would sort the whole table.
    sortable_by = ()
    actions = None
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "request_id", "timestamp", "endpoint", "status_code", "error_type", "error", "finish_reason",
                    "native_finish_reason", ("stream", "is_cancelled", "is_estimated"), ("latency_ms", "ttft_ms"),
                ]
            },
        ),
        (
            "Routing",
            {
                "fields": [
                    "requested_model", "model_id", "provider", "upstream_model", "upstream_id", "attempts_table", "plan_table",
                ]
            },
        ),
        (
            "Tokens and money",
            {
                "fields": [
                    ("prompt_tokens", "completion_tokens", "total_tokens"),
                    ("reasoning_tokens", "cache_read_tokens", "cache_write_tokens"),
                    ("audio_tokens", "image_tokens"), "cost", "prices_list",
                ]
            },
        ),
        ("Caller", {"fields": ["api_key", "user_id", "session_id", "app_title", "http_referer", "user_agent"]}),
        ("What was asked", {"fields": ["parameters_list", "metadata_list", "prompt_text", "response_text", "prompt_hash"]}),
    ]  # fmt: skip
    readonly_fields = [
        "attempts_table", "plan_table", "cost", "prices_list", "parameters_list", "metadata_list", "prompt_text",
        "response_text",
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[RequestLog]:
        rows = super().get_queryset(request)
        if request.resolver_match and str(request.resolver_match.url_name).endswith("_changelist"):
            return rows.defer("prompt", "response", "plan", "attempts", "parameters", "metadata", "prices", "error")
        return rows

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[UncountedChangeList]:
        return UncountedChangeList

    def get_paginator(
        self, request: HttpRequest, queryset: Any, per_page: int, orphans: int = 0, allow_empty_first_page: bool = True
    ) -> Paginator:
        return UncountedPaginator(queryset, per_page, wanted=wanted_page(request))

    @admin.display(description="cost (USD)")
    def cost(self, log: RequestLog) -> str:
        return exhibits.amount(log.cost_usd)

    @admin.display(description="attempts")
    def attempts_table(self, log: RequestLog) -> SafeString | str:
        return exhibits.table(log.attempts, exhibits.ATTEMPT)

    @admin.display(description="plan")
    def plan_table(self, log: RequestLog) -> SafeString | str:
        return exhibits.table(log.plan, exhibits.PLAN)

    @admin.display(description="prices per million tokens (USD)")
    def prices_list(self, log: RequestLog) -> SafeString | str:
        return exhibits.prices(log.prices)

    @admin.display(description="parameters")
    def parameters_list(self, log: RequestLog) -> SafeString | str:
        return exhibits.json_text(log.parameters)

    @admin.display(description="metadata")
    def metadata_list(self, log: RequestLog) -> SafeString | str:
        return exhibits.json_text(log.metadata)

    @admin.display(description="prompt")
    def prompt_text(self, log: RequestLog) -> SafeString | str:
        return exhibits.text(log.prompt)

    @admin.display(description="response")
    def response_text(self, log: RequestLog) -> SafeString | str:
        return exhibits.text(log.response)


@admin.register(UsageTotal)
class UsageTotalAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["model", "adapter", "api_key", "requests", "total_tokens", "cost", "last_used_at"]
    list_filter = [("adapter__provider", admin.RelatedOnlyFieldListFilter), "last_used_at"]
    list_select_related = ["model", "adapter__model", "adapter__provider", "api_key"]
    search_fields = ["model__public_id", "api_key__name"]
    search_help_text = "Model id or name of a key."
    ordering = ["-last_used_at"]
    actions = None
    fields = ["model", "adapter", "api_key", "requests", "total_tokens", "cost", "last_used_at"]
    readonly_fields = ["cost"]

    @admin.display(description="cost (USD)", ordering="cost_usd")
    def cost(self, total: UsageTotal) -> str:
        return exhibits.amount(total.cost_usd)
