"""The filter beside admin's list of keys."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from accounting.models import ApiKey


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
