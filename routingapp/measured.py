"""The last five minutes of one adapter, as counts and percentiles. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

WINDOW_S = 300.0
"""Percentiles and counts cover the last five minutes, as OpenRouter's do."""

MAX_OUTCOMES = 512
"""Kept per adapter, the latest; bounds memory under load."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    p50: float
    p75: float
    p90: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The last five minutes of one adapter. Seconds, and tokens per second; None where nothing was measured."""

    calls: int = 0
    faults: int = 0
    ttft_s: Percentiles | None = None
    latency_s: Percentiles | None = None
    throughput_tps: Percentiles | None = None


class Outcome(NamedTuple):
    """One call that ended at `at`. Speeds are None where it failed or where they could not be told."""

    at: float
    is_fault: bool
    ttft_s: float | None = None
    latency_s: float | None = None
    tokens_per_s: float | None = None


NOTHING = Measured()


def measure(outcomes: deque[Outcome], now: float) -> Measured:
    """What `outcomes` show at the moment `now`; those older than the window are dropped from it."""
    while outcomes and now - outcomes[0].at > WINDOW_S:
        outcomes.popleft()
    return Measured(
        calls=len(outcomes),
        faults=sum(outcome.is_fault for outcome in outcomes),
        ttft_s=_percentiles([outcome.ttft_s for outcome in outcomes if outcome.ttft_s is not None]),
        latency_s=_percentiles([outcome.latency_s for outcome in outcomes if outcome.latency_s is not None]),
        throughput_tps=_percentiles([outcome.tokens_per_s for outcome in outcomes if outcome.tokens_per_s is not None]),
    )


def _percentiles(values: list[float]) -> Percentiles | None:
    """By nearest rank: each is a value that was really measured."""
    if not values:
        return None
    values.sort()
    last = len(values) - 1
    return Percentiles(*(values[round(last * share)] for share in (0.5, 0.75, 0.9, 0.95, 0.99)))
