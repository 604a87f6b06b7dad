"""What one server process holds while it serves: the connections, the health state, the pipeline. Started by the lifespan."""

from __future__ import annotations

import time
from dataclasses import dataclass

from django.conf import settings

from catalog.limits import Limits
from completions import snapshot
from completions.admission import Gate
from completions.hearsay import Hearsay
from completions.pipeline import Pipeline
from completions.probes import EngineProbes
from completions.shared_hints import SharedHints
from completions.shared_limits import SharedLimits
from completions.upstream import Upstream
from gateway_project.errors import NotServing
from routingapp.capacity import Capacity
from routingapp.health import Health


@dataclass(slots=True)
class Runtime:
    """Made inside the event loop that serves, and closed in it."""

    upstream: Upstream
    health: Health
    pipeline: Pipeline
    probes: EngineProbes
    hints: SharedHints | None = None

    async def aclose(self) -> None:
        await self.probes.stop()
        if self.hints is not None:
            await self.hints.stop()
        if self.pipeline.gate.shared is not None:
            await self.pipeline.gate.shared.stop()
        await self.upstream.aclose()


_current: Runtime | None = None


def start(upstream: Upstream | None = None) -> Runtime:
    """Make this process's runtime and put it in force. Call it inside the running event loop."""
    global _current
    upstream = upstream or Upstream()
    health = Health()
    probes = EngineProbes(upstream, health)
    probes.start()
    pipeline = Pipeline(upstream, health, keepalive_s=settings.KEEPALIVE_S, gate=_gate())
    _current = Runtime(upstream, health, pipeline, probes, _hints(pipeline))
    return _current


def _hints(pipeline: Pipeline) -> SharedHints | None:
    if not settings.REDIS_URL:
        return None
    state = Hearsay(
        pipeline.health, pipeline.gate.capacity, pipeline.stickiness, endpoints=lambda: snapshot.current().endpoints
    )
    hints = SharedHints(settings.REDIS_URL, state)
    hints.start()
    return hints


def _gate() -> Gate:
    shared = SharedLimits(settings.REDIS_URL, patience_s=settings.REDIS_PATIENCE_MS / 1000) if settings.REDIS_URL else None
    if shared is not None:
        shared.start()
    return Gate(
        capacity=Capacity(time.time, is_limiting=settings.RATE_LIMIT_ENABLED),
        shared=shared,
        anonymous=Limits(rpm=settings.ANONYMOUS_RPM_LIMIT, tpm=settings.ANONYMOUS_TPM_LIMIT),
    )


async def stop() -> None:
    """Close the runtime in force, if there is one."""
    global _current
    if _current is not None:
        running, _current = _current, None
        await running.aclose()


def current() -> Runtime:
    """The runtime in force. Raises `NotServing` before start and after stop."""
    if _current is None:
        raise NotServing("The gateway is starting or shutting down; try again in a moment.", headers={"Retry-After": "1"})
    return _current


def is_ready() -> bool:
    """Whether new requests should come here: started, and not draining."""
    return _current is not None and not _current.pipeline.is_stopping


def drain() -> None:
    """A shutdown has begun: running requests may end, and those that are cut off will be told and recorded as such."""
    if _current is not None:
        _current.pipeline.is_stopping = True
