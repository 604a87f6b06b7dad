"""What one server process holds while it serves: the connections, the health state, the pipeline. Started by the lifespan."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from completions.pipeline import Pipeline
from completions.probes import EngineProbes
from completions.upstream import Upstream
from gateway_project.errors import NotServing
from routingapp.health import Health


@dataclass(slots=True)
class Runtime:
    """Made inside the event loop that serves, and closed in it."""

    upstream: Upstream
    health: Health
    pipeline: Pipeline
    probes: EngineProbes

    async def aclose(self) -> None:
        await self.probes.stop()
        await self.upstream.aclose()


_current: Runtime | None = None


def start(upstream: Upstream | None = None) -> Runtime:
    """Make this process's runtime and put it in force. Call it inside the running event loop."""
    global _current
    upstream = upstream or Upstream()
    health = Health()
    probes = EngineProbes(upstream, health)
    probes.start()
    _current = Runtime(upstream, health, Pipeline(upstream, health, keepalive_s=settings.KEEPALIVE_S), probes)
    return _current


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
