"""Requests and lifetime totals in admin. The ledger alone writes them: here they can only be read, and never all be counted."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounting.admin import exhibits, request_filters
from accounting.admin.explorer import Explorer
from accounting.admin.paging import UncountedPaginator, wanted_page
from accounting.models import RequestLog, UsageTotal


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
    list_display = ["arrived", "outcome", "model_and_provider", "caller", "tokens", "cost", "first_token", "took"]
    list_filter = request_filters.EVERY
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
            "Request",
            {
                "classes": ["collapse"],
                "fields": [
                    "request_id", "timestamp", "endpoint", "status_code", "error_domain", "error_type", "error", "finish_reason",
                    "native_finish_reason", ("stream", "is_cancelled", "is_estimated"), ("latency_ms", "ttft_ms"),
                ]
            },
        ),
        (
            "Routing",
            {
                "classes": ["collapse"],
                "fields": [
                    "requested_model", "model_id", "provider", "upstream_model", "upstream_id", "attempts_table", "plan_table",
                ]
            },
        ),
        (
            "Tokens and money",
            {
                "classes": ["collapse"],
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

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {"title": "Requests", **(extra_context or {})})

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[Explorer]:
        return Explorer

    def get_paginator(
        self, request: HttpRequest, queryset: Any, per_page: int, orphans: int = 0, allow_empty_first_page: bool = True
    ) -> Paginator:
        return UncountedPaginator(queryset, per_page, wanted=wanted_page(request))

    @admin.display(description="arrived (UTC)")
    def arrived(self, log: RequestLog) -> str:
        return f"{log.timestamp:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="outcome")
    def outcome(self, log: RequestLog) -> SafeString:
        state = "bad" if log.status_code >= 400 or log.error_type else "quiet" if log.is_cancelled else "good"
        told = [log.error_type, "client left" if log.is_cancelled else None]
        return format_html(
            '<b class="{}">{}</b> {}', state, log.status_code, ", ".join(word.replace("_", " ") for word in told if word)
        )

    @admin.display(description="model")
    def model_and_provider(self, log: RequestLog) -> SafeString:
        asked = "" if log.requested_model in ("", log.model_id) else f"asked for {log.requested_model}"
        told = " · ".join(word for word in (log.provider, asked) if word)
        return format_html('{}<span class="quiet under">{}</span>', log.model_id or exhibits.NOTHING, told)

    @admin.display(description="caller")
    def caller(self, log: RequestLog) -> SafeString:
        name = log.api_key.name if log.api_key else "no key"
        return format_html('{}<span class="quiet under">{}</span>', name, log.user_id or "")

    @admin.display(description="tokens in + out")
    def tokens(self, log: RequestLog) -> str:
        return f"{log.prompt_tokens:,} + {log.completion_tokens:,}"

    @admin.display(description="first token (ms)")
    def first_token(self, log: RequestLog) -> str:
        return exhibits.NOTHING if log.ttft_ms is None else f"{log.ttft_ms:,}"

    @admin.display(description="took (ms)")
    def took(self, log: RequestLog) -> str:
        return f"{log.latency_ms:,}"

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
