"""The circuit breaker of one adapter: when to stop sending, and when to try again.

Pure; the time is an argument, in seconds of one monotonic clock. It counts what it is told: that a caller's mistake never
gets here is up to `routingapp.health`.

    closed     calls go through; opens after several faults in a row, or too high a share of faults in the window
    open       no calls, until the pause is over; a provider that says `Retry-After` sets the pause itself
    half open  one call is let through as a probe; its success closes, its fault opens again for twice as long

What another process has seen is hearsay: it pauses too, but not for longer than a first pause of one's own, after which a probe
decides; and whoever has just been answered opens at the first fault instead. So a process that has lost its own way to a provider
cannot take the provider from all others.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass


class BreakerState(enum.StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a breaker opens and for how long. Durations in seconds, `fault_share` from 0 to 1."""

    faults_in_a_row: int = 5
    fault_share: float = 0.5
    window_s: float = 60
    min_calls: int = 20
    pause_s: float = 10
    max_pause_s: float = 120
    max_retry_after_s: float = 600
    probe_timeout_s: float = 60
    contradicts_s: float = 2
    """An answer this recent is believed more than what another process says."""


@dataclass(frozen=True, slots=True)
class Paused:
    """An adapter was paused for `pause_s` seconds; `is_asked`: because its provider asked for that. `error`: its last one."""

    adapter_id: int
    pause_s: float
    is_asked: bool
    error: str


@dataclass(frozen=True, slots=True)
class Answering:
    """An adapter was paused, and has just answered."""

    adapter_id: int


DEFAULT_RULES = BreakerRules()
_BUCKETS = 6


class Breaker:
    """Mutable, and of one process: owned by `routingapp.health.Health`, never shared between threads."""

    __slots__ = (
        "_buckets",
        "_is_hearsay",
        "_pause_s",
        "_paused_until",
        "_probing_since",
        "_rules",
        "_suspected_until",
        "faults_in_a_row",
        "is_asked",
    )

    def __init__(self, rules: BreakerRules = DEFAULT_RULES) -> None:
        self._rules = rules
        self._buckets: deque[list[int]] = deque(maxlen=_BUCKETS)  # [number of the time slice, calls, faults]
        self._pause_s = rules.pause_s
        self._paused_until: float | None = None
        self._probing_since: float | None = None
        self._is_hearsay = False
        self._suspected_until = 0.0
        self.faults_in_a_row = 0
        self.is_asked = False
        """Whether the present pause is one that the provider has asked for."""

    def is_open(self, now: float) -> bool:
        """Whether no call may start now: paused, or half open with its probe already under way."""
        if self._paused_until is None:
            return False
        return now < self._paused_until or self._is_probing(now)

    def state(self, now: float) -> BreakerState:
        if self._paused_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._paused_until else BreakerState.HALF_OPEN

    def retry_in_s(self, now: float) -> float:
        """Seconds until the next call may be tried; 0 where it may be now."""
        if self._paused_until is None:
            return 0.0
        if now >= self._paused_until and self._probing_since is not None and self._is_probing(now):
            return self._probing_since + self._rules.probe_timeout_s - now
        return self.pause_left_s(now)

    def pause_left_s(self, now: float) -> float:
        """Seconds of the present pause, whether or not a probe follows; 0 where there is none."""
        return max(0.0, self._paused_until - now) if self._paused_until is not None else 0.0

    def started(self, now: float) -> None:
        """A call begins. In the half-open state it becomes the probe."""
        if self._paused_until is not None and not self.is_open(now):
            self._probing_since = now

    def succeeded(self, now: float) -> None:
        """A call was answered. Late answers of calls begun before the pause do not end it."""
        self._count(now, is_fault=False)
        self.faults_in_a_row = 0
        if self._paused_until is not None and now >= self._paused_until:
            self._close()

    def faulted(self, now: float, retry_after_s: float | None = None) -> None:
        """A call failed by the provider's fault. `retry_after_s`: how long the provider asked to be left alone."""
        self._count(now, is_fault=True)
        self.faults_in_a_row += 1
        if retry_after_s is not None:
            self._pause(now, min(retry_after_s, self._rules.max_retry_after_s), is_asked=True)
        elif self._paused_until is None:
            if self._is_too_much(now):
                self._pause(now, self._pause_s)
        elif now >= self._paused_until:
            if self._probing_since is not None:
                self._pause_s = min(self._pause_s * 2, self._rules.max_pause_s)
            self._pause(now, self._pause_s)

    def hear_pause(self, now: float, seconds: float, *, is_asked: bool, last_success_at: float | None) -> None:
        """Another process has paused the adapter for `seconds`. `is_asked`: because the provider said so, which is true for all."""
        if is_asked:
            self._hear(now, min(seconds, self._rules.max_retry_after_s), is_asked=True)
        elif last_success_at is not None and now - last_success_at < self._rules.contradicts_s:
            self._suspected_until = now + seconds
        else:
            self._hear(now, min(seconds, self._rules.pause_s))

    def hear_answer(self, now: float) -> None:
        """Another process was answered after its pause. It ends what is hearsay, and no pause that has reasons of its own."""
        self._suspected_until = 0.0
        if self._paused_until is not None and self._is_hearsay:
            self._close()

    def released(self) -> None:
        """A call ended without a verdict. If it was the probe, the next call becomes it."""
        self._probing_since = None

    def _is_probing(self, now: float) -> bool:
        return self._probing_since is not None and now - self._probing_since < self._rules.probe_timeout_s

    def _pause(self, now: float, seconds: float, *, is_asked: bool = False) -> None:
        if now + seconds >= (self._paused_until or 0.0):
            self._paused_until, self.is_asked = now + seconds, is_asked
        self._probing_since = None
        self._is_hearsay = False

    def _hear(self, now: float, seconds: float, *, is_asked: bool = False) -> None:
        is_own = self._paused_until is not None and not self._is_hearsay
        self._pause(now, seconds, is_asked=is_asked)
        self._is_hearsay = not is_own

    def _close(self) -> None:
        self._paused_until = self._probing_since = None
        self._is_hearsay, self._suspected_until, self.is_asked = False, 0.0, False
        self._pause_s = self._rules.pause_s
        self._buckets.clear()

    def _slice(self, now: float) -> int:
        return int(now * _BUCKETS / self._rules.window_s)

    def _count(self, now: float, *, is_fault: bool) -> None:
        number = self._slice(now)
        if not self._buckets or self._buckets[-1][0] != number:
            self._buckets.append([number, 0, 0])
        self._buckets[-1][1] += 1
        self._buckets[-1][2] += is_fault

    def _is_too_much(self, now: float) -> bool:
        if self.faults_in_a_row >= self._rules.faults_in_a_row or now < self._suspected_until:
            return True
        oldest = self._slice(now) - _BUCKETS + 1
        recent = [bucket for bucket in self._buckets if bucket[0] >= oldest]
        calls = sum(bucket[1] for bucket in recent)
        faults = sum(bucket[2] for bucket in recent)
        return calls >= self._rules.min_calls and faults / calls >= self._rules.fault_share
