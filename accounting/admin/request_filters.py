"""What the list of requests can be narrowed by: one field of its form each. None reads the request logs to find its choices.

Which of them an index answers, and what that means for the others, is known to `explorer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import BooleanField, Q, QuerySet
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone

from accounting import moments
from accounting.models import FAILED, ApiKey, RequestLogQuerySet, UsageTotal
from catalog import amounts
from catalog.models import Adapter, LanguageModel, Provider
from gateway_project.errors import ERROR_TYPES

Rows = RequestLogQuerySet


class Refused(ValueError):
    """A value that means nothing here. `str()` says what would."""


class Field(admin.SimpleListFilter):
    """A field of the form. Subclasses say what they are and give `narrow`.

    What that refuses is told beside the field, and nothing is listed.
    """

    template = "admin/accounting/requestlog/field.html"
    kind = "text"
    placeholder = ""
    suggestions: ClassVar[Iterable[str]] = ()
    refusal = ""

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return []

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: Any) -> Iterator[Any]:
        for value, words in self.lookup_choices:
            yield {"value": value, "display": words, "selected": self.value() == str(value)}

    def value(self) -> str:
        return (super().value() or "").strip()

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        assert isinstance(queryset, RequestLogQuerySet)
        try:
            return self.narrow(queryset, self.value())
        except Refused as refusal:
            self.refusal = str(refusal)
            return queryset.none()

    def narrow(self, rows: Rows, value: str) -> Rows:
        """`rows` with `value`, which is not empty. Raises `Refused`."""
        raise NotImplementedError


class Choice(Field):
    kind = "select"


class Indexed(Choice):
    """A field with an index of the table. Subclasses give `condition` in place of `narrow`."""

    is_looked_for = False
    """Whether the rows of another field's index are looked through for it, its own index left alone."""

    def narrow(self, rows: Rows, value: str) -> Rows:
        condition = self.condition(value)
        # The databases choose by average sizes, and would read all of a large model's rows for a key that has ten.
        return rows.filter(Coalesce(condition, False, output_field=BooleanField()) if self.is_looked_for else condition)

    def condition(self, value: str) -> Q:
        """What rows with `value` fulfil. Raises `Refused`."""
        raise NotImplementedError


class Since(Field):
    title, parameter_name = "from", "from"
    placeholder = "1h, 7d, 2026-11-20T12:30"
    suggestions = ("15m", "1h", "24h", "7d", "30d")

    def narrow(self, rows: Rows, value: str) -> Rows:
        return rows.filter(timestamp__gte=moment(value))


class Until(Since):
    title, parameter_name = "until", "until"

    def narrow(self, rows: Rows, value: str) -> Rows:
        return rows.filter(timestamp__lt=moment(value))


class UsedModel(Indexed):
    """Models that have been used at all, from the totals: the log itself would be read through for them."""

    title, parameter_name = "model", "model_id"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        used = LanguageModel.objects.filter(pk__in=UsageTotal.objects.values("model"))
        return [(name, name) for name in used.order_by("public_id").values_list("public_id", flat=True)]

    def condition(self, value: str) -> Q:
        return Q(model_id=value)


class UsedAdapter(Choice):
    title, parameter_name = "adapter", "adapter"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        used = Adapter.objects.filter(pk__in=UsageTotal.objects.values("adapter"))
        named = used.values_list("pk", "model__public_id", "provider__name").order_by("model__public_id", "provider__name")
        return [(str(pk), f"{model} at {provider}") for pk, model, provider in named]

    def narrow(self, rows: Rows, value: str) -> Rows:
        return rows.filter(adapter=number(value))


class UsedProvider(Choice):
    title, parameter_name = "provider", "provider"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        used = Provider.objects.filter(adapters__in=UsageTotal.objects.values("adapter")).distinct()
        return list(used.order_by("name").values_list("slug", "name"))

    def narrow(self, rows: Rows, value: str) -> Rows:
        return rows.filter(provider=value)


class UsedKey(Indexed):
    title, parameter_name = "API key", "api_key"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        used = ApiKey.objects.filter(pk__in=UsageTotal.objects.values("api_key"))
        return [("none", "without a key"), *((str(key.pk), str(key)) for key in used.order_by("name"))]

    def condition(self, value: str) -> Q:
        return Q(api_key=None) if value == "none" else Q(api_key=number(value))


class Failed(Indexed):
    title, parameter_name = "outcome", "outcome"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("failed", "failed")]

    def condition(self, value: str) -> Q:
        if value != "failed":
            raise Refused(f"{value!r} is no outcome here; choose failed, or a status.")
        return FAILED


class Status(Field):
    title, parameter_name = "status", "status"
    placeholder = "429, 4xx, 5xx"
    suggestions = ("200", "4xx", "5xx", "429", "502", "left")

    def narrow(self, rows: Rows, value: str) -> Rows:
        if value == "left":
            return rows.filter(is_cancelled=True)
        if value in ("2xx", "4xx", "5xx"):
            first = int(value[0]) * 100
            return rows.filter(status_code__gte=first, status_code__lt=first + 100)
        if not (value.isdecimal() and len(value) == 3):
            raise Refused(f"{value!r} is no status; give e.g. 429, 4xx, 5xx, or left for callers who left.")
        return rows.filter(status_code=int(value))


class ErrorType(Choice):
    title, parameter_name = "error type", "error_type"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(ERROR_TYPES)]

    def narrow(self, rows: Rows, value: str) -> Rows:
        return rows.filter(error_type=value)


class ErrorDomain(Choice):
    title, parameter_name = "whose error", "error_domain"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [
            ("provider,gateway", "provider's or gateway's"), ("provider", "provider's"), ("gateway", "gateway's"),
            ("policy", "operator's: a limit, a budget, a policy"), ("caller", "caller's"),
        ]  # fmt: skip

    def narrow(self, rows: Rows, value: str) -> Rows:
        return rows.filter(error_domain__in=value.split(","))


class FellBack(Choice):
    title, parameter_name = "fallback", "fallback"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("yes", "more than one attempt"), ("no", "one attempt or none")]

    def narrow(self, rows: Rows, value: str) -> Rows:
        return rows.filter(attempts__1__isnull=value != "yes")


class SlowerThan(Field):
    title, parameter_name, kind = "slower than (ms)", "slower", "number"

    def narrow(self, rows: Rows, value: str) -> Rows:
        return rows.filter(latency_ms__gt=number(value))


class CostlierThan(Field):
    title, parameter_name, kind = "costlier than (USD)", "costlier", "number"

    def narrow(self, rows: Rows, value: str) -> Rows:
        usd = amounts.read(value)
        if usd is None:
            raise Refused(f"{value!r} is no amount; give US dollars, e.g. 0.05.")
        return rows.filter(cost_usd__gt=min(usd, Decimal(10**6)))


class Session(Field):
    title, parameter_name = "session", "session"
    placeholder = "session_id"

    def narrow(self, rows: Rows, value: str) -> Rows:
        return rows.filter(session_id=value)


class EndUser(Field):
    title, parameter_name = "user", "user"
    placeholder = "user of the request"

    def narrow(self, rows: Rows, value: str) -> Rows:
        return rows.filter(user_id=value)


EVERY: list[Any] = [
    Since, Until, UsedModel, UsedAdapter, UsedProvider, UsedKey, Failed, Status, ErrorDomain, ErrorType, FellBack, SlowerThan,
    CostlierThan, Session, EndUser,
]  # fmt: skip


def moment(text: str) -> Any:
    """The point in time that people wrote. Raises `Refused`."""
    try:
        return moments.parse(text, timezone.now())
    except (ValueError, OverflowError) as error:
        raise Refused(str(error)) from error


def number(text: str) -> int:
    """A whole number of a size that columns can have. Raises `Refused`."""
    if not (text.isascii() and text.isdecimal()) or int(text) >= 1 << 31:
        raise Refused(f"{text!r} is no whole number below {1 << 31}.")
    return int(text)
