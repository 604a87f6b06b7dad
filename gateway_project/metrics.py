"""`GET /metrics`: this server's metrics for Prometheus, for whoever has METRICS_TOKEN or a staff session.

Asynchronous, so that the gauges are read in the event loop that owns their state; the text is made in a thread.
"""

from __future__ import annotations

import hmac
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from accounting import wrong_keys
from completions import envelope, gauges
from gateway_project import worker_metrics
from gateway_project.errors import GatewayError, PermissionDenied, Unauthenticated


@never_cache
@require_safe
async def page(request: HttpRequest) -> HttpResponse:
    """All metrics, in the format that the scraper asks for."""
    try:
        await _check_access(request)
    except GatewayError as error:
        return envelope.response(error)
    gauges.sample()
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    text = await sync_to_async(lambda: read(encode), thread_sensitive=False)()
    return HttpResponse(text, content_type=content_type)


def read(encode: Callable[[CollectorRegistry], bytes]) -> bytes:
    """This process's own metrics or, where several workers serve, all of theirs added up, as `encode` writes them."""
    folder = os.environ.get(worker_metrics.VARIABLE)
    if not folder:
        return encode(REGISTRY)
    with worker_metrics.settled(Path(folder)):
        shared = CollectorRegistry()
        _Workers(shared, folder)  # type: ignore[no-untyped-call]
        return encode(shared)


class _Workers(MultiProcessCollector):
    """What all workers together tell, without the gauges of what the catalogue no longer has (`gauges.GONE`)."""

    def collect(self) -> Iterator[Metric]:
        for family in super().collect():  # type: ignore[no-untyped-call]
            family.samples = [sample for sample in family.samples if not math.isnan(sample.value)]
            yield family


async def _check_access(request: HttpRequest) -> None:
    """Raise `Unauthenticated`, `PermissionDenied` or `RateLimited` unless the request has the token or a staff session."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and settings.METRICS_TOKEN:
        if hmac.compare_digest(given.strip().encode(), settings.METRICS_TOKEN.encode()):
            return
        error = _unauthenticated("That is not METRICS_TOKEN.")
        wrong_keys.count(request, error)
        raise error
    # Whoever brings no session costs no query.
    user = await request.auser() if settings.SESSION_COOKIE_NAME in request.COOKIES else None
    if user is None or not user.is_authenticated:
        raise _unauthenticated("Send METRICS_TOKEN as `Authorization: Bearer …`, or log in to admin.")
    if not (user.is_active and user.is_staff):
        raise PermissionDenied("Metrics are for staff and for whoever has METRICS_TOKEN.")


def _unauthenticated(message: str) -> Unauthenticated:
    return Unauthenticated(message, headers={"WWW-Authenticate": "Bearer"})
