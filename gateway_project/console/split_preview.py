"""The preview on the page of a traffic split: what the sliders would have done to the latest requests, beside what is in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounting import statistics
from accounting.statistics import Figures, GroupBy, Scope
from catalog import environment
from catalog import loader as catalogue_loader
from catalog.models import Adapter, LanguageModel
from gateway_project.console import apportion, forecast, split
from gateway_project.console.forecast import Forecast, Outlook
from gateway_project.console.split import SplitRefused
from gateway_project.console.split_page import READ, model_of
from routingapp import loader as routing_loader

LATENCY_HOURS = 24


@dataclass(frozen=True, slots=True)
class Compared:
    """One adapter in the preview: now, and with the new split. The shares are rounded together, those in the outlooks are not."""

    adapter: Adapter
    now: Outlook
    then: Outlook
    now_share: float
    then_share: float
    latency_ms: float | None


@require_POST
def show(request: HttpRequest, pk: int) -> HttpResponse:
    """What the sent split would have done to the model's latest requests, as a piece of HTML. Changes nothing."""
    model = model_of(request, pk, READ)
    present = split.read(model)
    try:
        new = split.wanted(request.POST.dict(), present)
    except SplitRefused as refusal:
        return TemplateResponse(request, "admin/console/split_preview.html", {"refusal": str(refusal)}, status=422)
    catalogue, table = catalogue_loader.load(environment.lookup), routing_loader.load(settings.OFFLOAD)
    requests = forecast.past_requests(model.public_id)
    replayed = requests or [forecast.plain_request(model.public_id)]
    now = forecast.forecast(replayed, catalogue, forecast.table_with(present, model.public_id, table))
    then = forecast.forecast(replayed, catalogue, forecast.table_with(new, model.public_id, table))
    context = {
        "requests": len(requests),
        "now": now,
        "then": then,
        "paid": sum((past.cost_usd for past in requests), Decimal(0)),
        "strategy": new.strategy,
        **_compare(model, now, then),
    }
    return TemplateResponse(request, "admin/console/split_preview.html", context)


def _compare(model: LanguageModel, now: Forecast, then: Forecast) -> dict[str, Any]:
    figures = _figures(model, LATENCY_HOURS)
    latencies = {pk: one.latency_ms["p50"] for pk, one in figures.items()}
    now_shares, then_shares = (
        apportion.tenths({pk: outlook.share for pk, outlook in found.adapters.items()}) for found in (now, then)
    )
    adapters = Adapter.objects.filter(model=model).select_related("provider").order_by("pk")
    return {
        "compared": [
            Compared(
                adapter,
                now.adapters.get(adapter.pk, Outlook()),
                then.adapters.get(adapter.pk, Outlook()),
                now_shares.get(adapter.pk, 0.0),
                then_shares.get(adapter.pk, 0.0),
                latencies.get(adapter.pk),
            )
            for adapter in adapters
        ],
        "now_ms": forecast.expected_ms(now, latencies),
        "then_ms": forecast.expected_ms(then, latencies),
        "refused": then.refused.most_common(3),
    }


def _figures(model: LanguageModel, hours: int) -> Mapping[int, Figures]:
    """What each adapter did for the model lately, by adapter id."""
    scope = Scope.last(hours, timezone.now(), model=model.public_id)
    groups = statistics.summary(scope, GroupBy.ADAPTER).groups
    return {group.labels["adapter"]: group.figures for group in groups if group.labels["adapter"] is not None}
