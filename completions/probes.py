"""Active health probes of local engines: asks each for its `/models` every few seconds and tells `routingapp.health`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from catalog.entries import ProviderEntry
from completions import snapshot
from completions.upstream import Upstream
from gateway_project.errors import GatewayError
from routingapp.health import Health

log = logging.getLogger("gateway.probes")

TIMEOUT_S = 3.0


class EngineProbes:
    """Probes every configured local engine of the snapshot in force, at the default policy's interval."""

    def __init__(self, upstream: Upstream, health: Health) -> None:
        self._upstream, self._health = upstream, health
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="engine-probes")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            engines = _engines()
            await asyncio.gather(*(self._probe(engine) for engine in engines))
            await asyncio.sleep(snapshot.current().routing.default_policy.health_check_interval_s)

    async def _probe(self, engine: ProviderEntry) -> None:
        """One GET of `/models`. Any answer below 500 shows an engine that is up, also a 401 or 404."""
        try:
            answer = await self._upstream.get(f"{engine.base_url}/models", headers={}, within_s=TIMEOUT_S)
            await answer.aclose()
            is_up, detail = answer.status < 500, f"answered {answer.status}"
        except GatewayError as error:
            is_up, detail = False, error.message
        self._health.set_engine(engine.id, is_up=is_up, detail=detail, now=time.monotonic())


def _engines() -> list[ProviderEntry]:
    """Each local engine that some adapter could use, once."""
    found = {
        adapter.provider.id: adapter.provider
        for model in snapshot.current().catalogue.models
        for adapter in model.adapters
        if adapter.provider.is_local and adapter.is_enabled and adapter.unconfigured is None
    }
    return list(found.values())
