"""How each adapter and each local engine is doing, as this process has seen it. In memory only.

Pure; the time is an argument, in seconds of one monotonic clock. Every `started` is ended by exactly one of `succeeded`,
`failed` and `released`; `answered` in between is optional and tells as early as possible that a half-open adapter lives.

Adapters are tried by several calls at once, so ask `is_open` again right before `started`, with no `await` in between:
that is what keeps a half-open adapter to a single probe.

Breakers that open and close may be told to other processes and heard from them (`routingapp.breaker` says what is believed).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from gateway_project.errors import ProviderError
from routingapp.breaker import DEFAULT_RULES, Answering, Breaker, BreakerRules, BreakerState, Paused
from routingapp.measured import MAX_OUTCOMES, NOTHING, Measured, Outcome, measure

FRESH_S = 1.0
"""Percentiles are sorted anew at most this often."""
_WORTH_TELLING_S = 1.0
"""By how much a pause must have grown: of a burst of 429s each asks for a little more."""


@dataclass(frozen=True, slots=True)
class EngineView:
    """What the last probe of a local engine saw. `seen_at` is the prober's clock; `waiting` and `running` are the requests
    in the engine's queue and under way in it, None where it does not say."""

    is_up: bool
    detail: str
    seen_at: float
    waiting: int | None = None
    running: int | None = None


@dataclass(frozen=True, slots=True)
class HealthView:
    """One adapter at one moment, frozen. Times are of the same clock as `now`.

    `is_rate_limited`: it is paused because its provider asked for that.
    """

    adapter_id: int
    in_flight: int = 0
    state: BreakerState = BreakerState.CLOSED
    retry_in_s: float = 0.0
    is_rate_limited: bool = False
    faults_in_a_row: int = 0
    measured: Measured = NOTHING
    last_error: str | None = None
    last_fault_at: float | None = None
    last_success_at: float | None = None

    @property
    def fault_share(self) -> float:
        """Faults among the calls of the last five minutes, 0 where there were none."""
        return self.measured.faults / self.measured.calls if self.measured.calls else 0.0


class _Adapter:
    """Mutable state of one adapter."""

    __slots__ = (
        "breaker",
        "in_flight",
        "last_error",
        "last_fault_at",
        "last_success_at",
        "measured",
        "measured_at",
        "outcomes",
    )

    def __init__(self, rules: BreakerRules) -> None:
        self.breaker = Breaker(rules)
        self.in_flight = 0
        self.outcomes: deque[Outcome] = deque(maxlen=MAX_OUTCOMES)
        self.last_error: str | None = None
        self.last_fault_at: float | None = None
        self.last_success_at: float | None = None
        self.measured = Measured()
        self.measured_at: float | None = None

    def ended(self) -> None:
        self.in_flight = max(0, self.in_flight - 1)


class Health:
    """The health of all adapters and engines. One per process; not for several threads.

    `tell` is called with what other processes may want to know.
    """

    def __init__(self, rules: BreakerRules = DEFAULT_RULES) -> None:
        self._rules = rules
        self._adapters: dict[int, _Adapter] = {}
        self._engines: dict[int, EngineView] = {}
        self._tripped: set[int] = set()
        self.tell: Callable[[Paused | Answering], None] | None = None

    def started(self, adapter_id: int, now: float) -> None:
        adapter = self._of(adapter_id)
        adapter.in_flight += 1
        adapter.breaker.started(now)

    def answered(self, adapter_id: int, now: float) -> None:
        """The first content has arrived: a half-open breaker closes without waiting for the end of a long stream."""
        adapter = self._of(adapter_id)
        if adapter.breaker.state(now) is BreakerState.HALF_OPEN:
            adapter.breaker.succeeded(now)
            self._recovered(adapter_id)

    def succeeded(
        self,
        adapter_id: int,
        now: float,
        ttft_s: float | None = None,
        latency_s: float | None = None,
        tokens: int | None = None,
    ) -> None:
        """A call was answered in full: seconds until the first content, seconds in all, tokens of the answer.

        Leave `ttft_s` out where the answer was not streamed: its first content cannot be told from its last.
        """
        adapter = self._of(adapter_id)
        adapter.ended()
        adapter.breaker.succeeded(now)
        if adapter_id in self._tripped and adapter.breaker.state(now) is BreakerState.CLOSED:
            self._recovered(adapter_id)
        adapter.last_success_at = now
        seconds = (latency_s or 0.0) - (ttft_s or 0.0)
        speed = tokens / seconds if tokens and seconds > 0 else None
        adapter.outcomes.append(Outcome(now, False, ttft_s, latency_s, speed))

    def failed(self, adapter_id: int, now: float, error: ProviderError) -> None:
        """A call failed. Only the provider's own faults reach the breaker, never a caller's mistake."""
        adapter = self._of(adapter_id)
        adapter.ended()
        adapter.last_error = f"{type(error).__name__}: {error.message}"
        if not error.counts_as_fault:
            adapter.breaker.released()
            return
        adapter.last_fault_at = now
        adapter.outcomes.append(Outcome(now, True))
        asked_s = error.retry_after_s if error.status == 429 else None
        paused_s = adapter.breaker.pause_left_s(now)
        adapter.breaker.faulted(now, asked_s)
        if adapter.breaker.state(now) is BreakerState.CLOSED:
            return
        self._tripped.add(adapter_id)
        pause_s = adapter.breaker.pause_left_s(now)
        if self.tell is not None and pause_s > paused_s + _WORTH_TELLING_S:
            self.tell(Paused(adapter_id, pause_s, asked_s is not None, adapter.last_error))

    def released(self, adapter_id: int) -> None:
        """The caller left before the call had a result."""
        adapter = self._of(adapter_id)
        adapter.ended()
        adapter.breaker.released()

    def hear(self, told: Paused | Answering, now: float) -> None:
        """Another process has seen an adapter pause, or answer again."""
        adapter = self._of(told.adapter_id)
        if isinstance(told, Answering):
            adapter.breaker.hear_answer(now)
            if adapter.breaker.state(now) is BreakerState.CLOSED:
                self._tripped.discard(told.adapter_id)
            return
        adapter.breaker.hear_pause(now, told.pause_s, is_asked=told.is_asked, last_success_at=adapter.last_success_at)
        if adapter.breaker.state(now) is not BreakerState.CLOSED:
            self._tripped.add(told.adapter_id)
            adapter.last_error = f"{told.error} (seen by another process)"

    def _recovered(self, adapter_id: int) -> None:
        self._tripped.discard(adapter_id)
        if self.tell is not None:
            self.tell(Answering(adapter_id))

    def has_tripped(self) -> bool:
        """Whether any breaker is other than closed: the planner's short cut on good days."""
        return bool(self._tripped)

    def is_open(self, adapter_id: int, now: float) -> bool:
        """Whether the adapter may not be called now."""
        return adapter_id in self._tripped and self._adapters[adapter_id].breaker.is_open(now)

    def breaker(self, adapter_id: int, now: float) -> tuple[BreakerState, str | None]:
        """The breaker's state and the adapter's last error. Reads only: also for other threads."""
        adapter = self._adapters.get(adapter_id)
        return (adapter.breaker.state(now), adapter.last_error) if adapter else (BreakerState.CLOSED, None)

    def in_flight(self, adapter_id: int) -> int:
        adapter = self._adapters.get(adapter_id)
        return adapter.in_flight if adapter else 0

    def had_fault(self, adapter_id: int, now: float, within_s: float) -> bool:
        """Whether the adapter has failed in the last `within_s` seconds."""
        adapter = self._adapters.get(adapter_id)
        return adapter is not None and adapter.last_fault_at is not None and now - adapter.last_fault_at < within_s

    def last_success_at(self, adapter_id: int) -> float | None:
        adapter = self._adapters.get(adapter_id)
        return adapter.last_success_at if adapter else None

    def measured(self, adapter_id: int, now: float) -> Measured:
        """Percentiles and counts of the last five minutes, at most a second old."""
        adapter = self._adapters.get(adapter_id)
        if adapter is None:
            return NOTHING
        if adapter.measured_at is None or now - adapter.measured_at >= FRESH_S:
            adapter.measured = measure(adapter.outcomes, now)
            adapter.measured_at = now
        return adapter.measured

    def view(self, adapter_id: int, now: float) -> HealthView:
        """Everything known of an adapter, for people and for `/routing`."""
        adapter = self._adapters.get(adapter_id)
        if adapter is None:
            return HealthView(adapter_id)
        return HealthView(
            adapter_id=adapter_id,
            in_flight=adapter.in_flight,
            state=adapter.breaker.state(now),
            retry_in_s=adapter.breaker.retry_in_s(now),
            is_rate_limited=adapter.breaker.is_asked,
            faults_in_a_row=adapter.breaker.faults_in_a_row,
            measured=self.measured(adapter_id, now),
            last_error=adapter.last_error,
            last_fault_at=adapter.last_fault_at,
            last_success_at=adapter.last_success_at,
        )

    def set_engine(
        self,
        provider_id: int,
        *,
        is_up: bool,
        detail: str,
        now: float,
        waiting: int | None = None,
        running: int | None = None,
    ) -> None:
        """What an active probe of a local engine has just seen."""
        self._engines[provider_id] = EngineView(is_up, detail, now, waiting, running)

    def has_engine_down(self) -> bool:
        """Whether any engine's last report was that it is down."""
        return any(not engine.is_up for engine in self._engines.values())

    def engine(self, provider_id: int) -> EngineView | None:
        """The last report of an engine's probe, None where it was never probed. How old is too old, the reader decides."""
        return self._engines.get(provider_id)

    def forget_others(self, adapter_ids: Collection[int], provider_ids: Collection[int]) -> None:
        """Drop the state of adapters and engines that are no longer there, or watched, so that memory stays bounded."""
        keep_adapters, keep_providers = frozenset(adapter_ids), frozenset(provider_ids)
        self._adapters = {
            key: adapter for key, adapter in self._adapters.items() if key in keep_adapters or adapter.in_flight
        }
        self._tripped &= self._adapters.keys()
        self._engines = {key: engine for key, engine in self._engines.items() if key in keep_providers}

    def _of(self, adapter_id: int) -> _Adapter:
        adapter = self._adapters.get(adapter_id)
        if adapter is None:
            adapter = self._adapters[adapter_id] = _Adapter(self._rules)
        return adapter
