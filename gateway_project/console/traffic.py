"""All models at a glance: how each one's traffic is to be split, how it was split in the last hour, and the way to change it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from catalog.models import Adapter, LanguageModel
from gateway_project.console import apportion, lately, process, standing
from gateway_project.console.split import Split
from gateway_project.console.split_page import READ
from gateway_project.console.standing import Standing
from routingapp.models import RoutingPolicy, RoutingWeight


@dataclass(frozen=True, slots=True)
class Part:
    """One adapter's piece of a model's traffic: set in per cent, and what it was from 0 to 1 (None: there was no request)."""

    provider: str
    is_local: bool
    percentage: int
    actual: float | None
    standing: Standing


@dataclass(frozen=True, slots=True)
class Row:
    """One model. `requests` and `errors` are those of the last hour."""

    model: LanguageModel
    strategy: str
    parts: Sequence[Part]
    requests: int
    errors: int

    @property
    def is_answered(self) -> bool:
        """Whether a request of the model can go anywhere at all."""
        return any(part.standing.is_asked for part in self.parts)

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.requests if self.requests else None


def show(request: HttpRequest) -> HttpResponse:
    """The page."""
    if not request.user.has_perms(READ):
        raise PermissionDenied
    context = {**admin.site.each_context(request), "title": "Traffic", "rows": rows(timezone.now())}
    return TemplateResponse(request, "admin/console/traffic.html", context)


def rows(now: datetime) -> list[Row]:
    """Every model that is switched on and has an adapter: those with most requests first, those that cannot answer last."""
    of_model: dict[int, list[Adapter]] = defaultdict(list)
    for adapter in Adapter.objects.filter(model__is_enabled=True).select_related("model", "provider").order_by("pk"):
        of_model[adapter.model_id].append(adapter)
    weights = dict(RoutingWeight.objects.values_list("adapter_id", "weight"))
    policies: dict[int | None, str] = dict(RoutingPolicy.objects.values_list("model_id", "strategy"))
    default = policies.get(None, RoutingPolicy().strategy)
    hour = lately.hour(now)
    standings = _standings(of_model)
    found = []
    for model_id, adapters in of_model.items():
        done = {one.pk: hour.get(one.pk, lately.Hour()) for one in adapters}
        requests, errors = (sum(getattr(one, name) for one in done.values()) for name in ("requests", "errors"))
        percentages = Split({one.pk: weights.get(one.pk, 1.0) for one in adapters}, "", "").percentages
        actual = apportion.tenths({pk: one.requests / requests for pk, one in done.items()}) if requests else {}
        parts = [
            Part(one.provider.name, one.provider.is_local, percentages[one.pk], actual.get(one.pk), standings[one.pk])
            for one in adapters
        ]
        found.append(Row(adapters[0].model, policies.get(model_id, default), parts, requests, errors))
    return sorted(found, key=lambda row: (-row.requests, not row.is_answered, row.model.public_id))


def _standings(of_model: Mapping[int, Sequence[Adapter]]) -> dict[int, Standing]:
    """By adapter id, as this process sees them."""
    catalogue, here = process.catalogue(), process.look()
    entries = {entry.id: entry for model in catalogue.models for entry in model.adapters}
    return {one.pk: standing.of(one, entries.get(one.pk), here) for adapters in of_model.values() for one in adapters}
