"""What watches a serving process from inside: the sampling of gauges, what goes over OTLP, the alerts. Started by the lifespan."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os

from django.conf import settings

from completions import gauges, metrics, otlp_metrics, tracing
from gateway_project import worker_metrics
from gateway_project.alerts import Alerter

log = logging.getLogger("gateway.watch")


class Watch:
    """Start it inside the event loop that serves. What is not configured is not started, and costs nothing."""

    def __init__(self) -> None:
        self._sampling: asyncio.Task[None] | None = None
        self._alerter: Alerter | None = None

    def start(self) -> None:
        if os.environ.get(worker_metrics.VARIABLE):
            self._sampling = asyncio.create_task(gauges.keep_sampling(), name="gauges")
        _start_otlp()
        if settings.ALERT_WEBHOOK_URL:
            self._alerter = Alerter(settings.ALERT_WEBHOOK_URL, settings.VAR_DIR / "alerts.json")
            self._alerter.start()

    async def stop(self) -> None:
        """Send what is left for OTLP; everything else just ends."""
        if self._sampling is not None:
            self._sampling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sampling
        metrics.flush()
        if self._alerter is not None:
            await asyncio.to_thread(self._alerter.stop)
        await asyncio.to_thread(_stop_otlp)


def _start_otlp() -> None:
    wanted = settings.OTLP
    for sentence in wanted.unheard:
        log.warning("%s", sentence)
    try:
        if wanted.traces:
            tracing.start(wanted.traces.endpoint, wanted.traces.headers, joins_traces=wanted.joins_traces)
        if wanted.metrics:
            otlp_metrics.start(wanted.metrics.endpoint, wanted.metrics.headers)
    except ImportError as error:
        log.warning(
            "nothing is sent over OTLP although an endpoint is set: %s; install it with `uv sync --group otel`", error
        )


def _stop_otlp() -> None:
    tracing.stop()
    otlp_metrics.stop()
