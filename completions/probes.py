"""Active health probes of local engines: is each up, and how long is its queue? Tells `routingapp.health`, which routing asks.

An engine is probed as often as the most attentive policy of its models wants. Knows the network only through `Upstream`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin

from catalog.entries import ProviderEntry
from completions import engine_load, snapshot
from completions.engine_load import EngineLoad
from completions.snapshot import Snapshot
from completions.upstream import Upstream
from gateway_project.errors import GatewayError
from routingapp.entries import PolicyEntry
from routingapp.health import Health

log = logging.getLogger("gateway.probes")

LOOK_AROUND_S = 0.5
"""How soon an engine that was added, changed or removed is noticed."""
MAX_METRICS_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Engine:
    """A local engine, how to reach it, and how often: `headers` hold its secret."""

    provider: ProviderEntry
    headers: Mapping[str, str] = field(repr=False)
    interval_s: float
    timeout_s: float


class EngineProbes:
    """Probes every configured local engine of the snapshot in force, each in a task of its own."""

    def __init__(self, upstream: Upstream, health: Health) -> None:
        self._upstream, self._health = upstream, health
        self._task: asyncio.Task[None] | None = None
        self._watched: dict[int, tuple[Engine, asyncio.Task[None]]] = {}

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="engine-probes")

    async def stop(self) -> None:
        tasks = [task for _, task in self._watched.values()] + ([self._task] if self._task else [])
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        seen: Snapshot | None = None
        while True:
            if snapshot.current() is not seen:
                seen = snapshot.current()
                self._follow(seen)
            await asyncio.sleep(LOOK_AROUND_S)

    def _follow(self, loaded: Snapshot) -> None:
        """Watch the engines of this snapshot, and forget what it no longer has, also the last report of an engine not in use."""
        engines = engines_of(loaded)
        adapter_ids = {adapter.id for model in loaded.catalogue.models for adapter in model.adapters}
        self._health.forget_others(adapter_ids, engines.keys())
        for provider_id, (engine, task) in list(self._watched.items()):
            if engines.get(provider_id) != engine:
                task.cancel()
                del self._watched[provider_id]
        for provider_id in engines.keys() - self._watched.keys():
            engine = engines[provider_id]
            task = asyncio.create_task(self._watch(engine), name=f"probe-{engine.provider.slug}")
            self._watched[provider_id] = (engine, task)

    async def _watch(self, engine: Engine) -> None:
        while True:
            try:
                await self._probe(engine)
            except Exception:  # A bug of ours must not leave the engine unwatched.
                log.exception("probing %s failed", engine.provider.slug)
            await asyncio.sleep(engine.interval_s)

    async def _probe(self, engine: Engine) -> None:
        """One GET of `/models`. Any answer below 500 shows an engine that is up, also a 401 or 404."""
        provider, load = engine.provider, EngineLoad()
        try:
            answer = await self._upstream.get(
                f"{provider.base_url}/models", headers=engine.headers, within_s=engine.timeout_s
            )
            await answer.aclose()
            is_up, detail = answer.status < 500, f"answered {answer.status}"
        except GatewayError as error:
            is_up, detail = False, error.message
        if is_up:
            load = await self._load(engine)
        self._note(provider, is_up, detail)
        self._health.set_engine(
            provider.id, is_up=is_up, detail=detail, now=time.monotonic(), waiting=load.waiting, running=load.running
        )

    async def _load(self, engine: Engine) -> EngineLoad:
        """What `/metrics` says, at the root of the engine's address where vLLM has it. Most engines have none: no fault."""
        url = urljoin(engine.provider.base_url, "/metrics")
        try:
            answer = await self._upstream.get(url, headers=engine.headers, within_s=engine.timeout_s)
            try:
                body = await answer.read_all(engine.timeout_s, MAX_METRICS_BYTES) if answer.status == 200 else b""
            finally:
                await answer.aclose()
        except GatewayError as error:
            log.debug("%s tells no load: %s", engine.provider.slug, error.message)
            return EngineLoad()
        return engine_load.parse(body.decode("utf-8", "replace"))

    def _note(self, provider: ProviderEntry, is_up: bool, detail: str) -> None:
        """Log the moments in which an engine goes down or comes back."""
        before = self._health.engine(provider.id)
        if not is_up and (before is None or before.is_up):
            log.warning("the engine %s is down: %s", provider.slug, detail)
        elif is_up and before is not None and not before.is_up:
            log.info("the engine %s is up again", provider.slug)


def engines_of(loaded: Snapshot) -> dict[int, Engine]:
    """Each local engine that some adapter could use, by its provider's id."""
    found: dict[int, Engine] = {}
    policies: dict[int, list[PolicyEntry]] = {}
    for model in loaded.catalogue.models:
        policy = loaded.routing.policy_of(model.id)
        for adapter in model.adapters:
            provider, endpoint = adapter.provider, loaded.endpoints.get(adapter.id)
            if not provider.is_local or not adapter.is_enabled or endpoint is None:
                continue
            policies.setdefault(provider.id, []).append(policy)
            attentive = min(policies[provider.id], key=lambda policy: policy.health_check_interval_s)
            found[provider.id] = Engine(
                provider, endpoint.headers, attentive.health_check_interval_s, attentive.health_check_timeout_s
            )
    return found
