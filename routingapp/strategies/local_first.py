"""Soft offload: our own engines first, for as long as they keep up; then hosted providers."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.entries import AdapterEntry
from routingapp.ask import Situation
from routingapp.strategies.ranked import Ranked, draw_by_weight, stacked

FRESH_S = 15.0
"""A slow first token speaks against an engine for so long after its last answer. Then one request finds out anew: without
that, an engine that nobody asks any more would stay slow for as long as its measurements live."""


def local_first(adapters: Sequence[AdapterEntry], situation: Situation) -> list[Ranked]:
    """Local engines that are not saturated, then hosted adapters, then saturated engines; by weight within each."""
    ready: list[AdapterEntry] = []
    hosted: list[AdapterEntry] = []
    saturated: list[AdapterEntry] = []
    for adapter in adapters:
        if not adapter.provider.is_local:
            hosted.append(adapter)
        elif saturation(adapter, situation) is None:
            ready.append(adapter)
        else:
            saturated.append(adapter)
    return stacked(
        draw_by_weight(ready, situation, "local, and not saturated") if ready else [],
        draw_by_weight(hosted, situation, "hosted: behind local engines that keep up") if hosted else [],
        [
            ranked._replace(reason=f"local, but saturated: {saturation(ranked.adapter, situation)}")
            for ranked in (draw_by_weight(saturated, situation, "") if saturated else ())
        ],
    )


def saturation(adapter: AdapterEntry, situation: Situation) -> str | None:
    """Why a local engine should get no more for now, None while it keeps up."""
    policy, health, now = situation.policy, situation.health, situation.now
    in_flight = health.in_flight(adapter.id)
    if in_flight >= policy.local_max_in_flight:
        return f"{in_flight} requests in flight, of at most {policy.local_max_in_flight}"
    engine = health.engine(adapter.provider.id)
    if engine is not None and engine.waiting is not None and engine.waiting > policy.local_max_waiting:
        return f"{engine.waiting} requests wait in its queue, more than {policy.local_max_waiting}"
    answered_at = health.last_success_at(adapter.id)
    if answered_at is not None and now - answered_at < FRESH_S:
        ttft_s = health.measured(adapter.id, now).ttft_s
        if ttft_s is not None and ttft_s.p50 > policy.local_max_ttft_s:
            return f"the first token takes {ttft_s.p50:.1f} s, more than {policy.local_max_ttft_s:g} s"
    return None
