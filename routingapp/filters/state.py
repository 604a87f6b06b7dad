"""What is the case right now, and may be otherwise in a minute."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.entries import AdapterEntry, ModelEntry
from routingapp.ask import Situation
from routingapp.filters.rule import Check


def offloaded(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    if not situation.policy.is_offloaded:
        return None
    return lambda adapter: "local engines take no traffic while hard offload is on" if adapter.provider.is_local else None


STALE_PROBES = 3
"""An engine's report counts for this many health check intervals, and for at least `MIN_REPORT_S`."""
MIN_REPORT_S = 30.0


def engine_down(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    if not situation.health.has_engine_down():
        return None
    counts_for_s = max(MIN_REPORT_S, STALE_PROBES * situation.policy.health_check_interval_s)

    def check(adapter: AdapterEntry) -> str | None:
        if not adapter.provider.is_local:
            return None
        engine = situation.health.engine(adapter.provider.id)
        if engine is None or engine.is_up or situation.now - engine.seen_at > counts_for_s:
            return None
        return f"the engine does not answer its health check: {engine.detail}"

    return check


def breaker_open(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    health, now = situation.health, situation.now
    if not health.has_tripped():
        return None

    def check(adapter: AdapterEntry) -> str | None:
        if not health.is_open(adapter.id, now):
            return None
        view = health.view(adapter.id, now)
        return f"paused for another {view.retry_in_s:.0f} s after faults; the last one: {view.last_error}"

    return check


def larger_than_limit(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    return _limit(situation, adapters, for_ever=True)


def over_limit(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    return _limit(situation, adapters, for_ever=False)


def _limit(situation: Situation, adapters: Sequence[AdapterEntry], *, for_ever: bool) -> Check | None:
    capacity = situation.capacity
    if capacity is None or not any(map(capacity.scopes_of, adapters)):
        return None

    def check(adapter: AdapterEntry) -> str | None:
        refusal = capacity.refusal(situation.ask, adapter, situation.now)
        return str(refusal) if refusal is not None and (refusal.wait_s is None) is for_ever else None

    return check


def keys_exhausted(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    capacity = situation.capacity
    if capacity is None or not capacity.pools.has_trouble():
        return None
    return lambda adapter: capacity.keys_out(adapter, situation.now)
