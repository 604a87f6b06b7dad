"""The filters beside admin's lists of keys and requests. None of them reads the request logs to find its choices."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounting.models import ApiKey, RequestLog, UsageTotal
from catalog.models import LanguageModel


class ValidityFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("valid", "valid"), ("disabled", "disabled"), ("expired", "expired")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        expired = Q(expires_at__isnull=False, expires_at__lte=timezone.now())
        match self.value():
            case "valid":
                return queryset.filter(~expired, is_disabled=False)
            case "disabled":
                return queryset.filter(is_disabled=True)
            case "expired":
                return queryset.filter(expired)
        return queryset


class OutcomeFilter(admin.SimpleListFilter):
    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("failed", "failed"), ("caller", "failed by the caller (4xx)"), ("served", "served")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RequestLog]) -> QuerySet[RequestLog]:
        match self.value():
            case "failed":
                return queryset.filter(status_code__gte=400)
            case "caller":
                return queryset.filter(status_code__gte=400, status_code__lt=500)
            case "served":
                return queryset.filter(status_code__lt=400)
        return queryset


class UsedModelFilter(admin.SimpleListFilter):
    """Models that have been used at all, from the totals: the log itself would be read through for them."""

    title = "model"
    parameter_name = "model_id"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        used = LanguageModel.objects.filter(pk__in=UsageTotal.objects.values("model"))
        return [(name, name) for name in used.values_list("public_id", flat=True)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RequestLog]) -> QuerySet[RequestLog]:
        return queryset.filter(model_id=self.value()) if self.value() else queryset


class UsedKeyFilter(admin.SimpleListFilter):
    """Keys that have been used at all, from the totals."""

    title = "API key"
    parameter_name = "api_key"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        used = ApiKey.objects.filter(pk__in=UsageTotal.objects.values("api_key"))
        return [(str(key.pk), str(key)) for key in used]

    def queryset(self, request: HttpRequest, queryset: QuerySet[RequestLog]) -> QuerySet[RequestLog]:
        value = self.value() or ""
        return queryset.filter(api_key=int(value)) if value.isdecimal() else queryset
