"""What watches a serving process from inside: the sampling of gauges, the export of traces, the alerts. Started by the lifespan."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os

from django.conf import settings

from completions import gauges, metrics, tracing
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
        if settings.TRACING:
            self._start_tracing()
        if settings.ALERT_WEBHOOK_URL:
            self._alerter = Alerter(settings.ALERT_WEBHOOK_URL, settings.VAR_DIR / "alerts.json")
            self._alerter.start()

    async def stop(self) -> None:
        """Send what is left of traces; everything else just ends."""
        if self._sampling is not None:
            self._sampling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sampling
        metrics.flush()
        if self._alerter is not None:
            await asyncio.to_thread(self._alerter.stop)
        await asyncio.to_thread(tracing.stop)

    def _start_tracing(self) -> None:
        try:
            tracing.start()
        except ImportError as error:
            log.warning(
                "no traces are sent although an OTLP endpoint is set: %s; install them with `uv sync --group otel`", error
            )
