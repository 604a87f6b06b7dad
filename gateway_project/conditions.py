"""What is wrong with this server that somebody should hear of: read from what the process knows, in words for people.

Nothing is asked of a provider or of the database for it. Whom to tell, and how often, is `gateway_project.alerts`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from accounting import ledger
from accounting.ledger import LedgerStatus
from completions import metrics, runtime, snapshot
from completions.snapshot import Snapshot
from gateway_project.errors import GatewayError
from routingapp.breaker import BreakerState
from routingapp.health import Health

BACKLOG_AGE_S = 60.0
"""How old the oldest record outside of the database may be."""
WINDOW_S = 300.0
ERROR_SHARE = 0.1
SLOW_SHARE = 0.05
"""More slow starts than this, and the 95th percentile of the first token is slow."""
MIN_REQUESTS = 20
"""Fewer requests than this in the window are no rate."""
LASTING_S = 60.0
"""One short pause is how a breaker works. Pauses of which the last is seen so long after the first are something to hear of."""
LULL_S = 300.0
"""Without a pause for so long it is over, also for an adapter that nobody calls and whose breaker stays half open."""
LATELY_S = 600.0
"""For how long after it something that has happened is reported."""

Found = Iterator[tuple[str, str]]
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Sums:
    """The totals at one moment of monotonic seconds. `streams` and `slow_starts` by model."""

    at: float
    requests: int
    failed: int
    streams: Mapping[str, int]
    slow_starts: Mapping[str, int]


class Lately(Generic[K]):
    """What of some totals, counted since the start of the process, has grown within `LATELY_S`."""

    def __init__(self) -> None:
        self._before: Counter[K] = Counter()
        self._grew_at: dict[K, float] = {}

    def of(self, totals: Mapping[K, int], now: float) -> list[K]:
        """The names whose total has grown; `now` in monotonic seconds."""
        present = Counter(totals)
        for name in present - self._before:
            self._grew_at[name] = now
        self._before = present
        self._grew_at = {name: at for name, at in self._grew_at.items() if now - at < LATELY_S}
        return list(self._grew_at)


class Pauses:
    """Which adapters are paused again and again, or for long. `GatewayBreakerOpen` in deploy/prometheus says the same."""

    def __init__(self) -> None:
        self._spans: dict[int, tuple[float, float]] = {}

    def of(self, health: Health, current: Snapshot, now: float) -> Found:
        """A sentence for each; `now` in monotonic seconds."""
        spans: dict[int, tuple[float, float]] = {}
        for model in current.catalogue.models if self._spans or health.has_tripped() else ():
            for adapter in model.adapters:
                state, error = health.breaker(adapter.id, now)
                span = self._span(adapter.id, now, is_paused=state is BreakerState.OPEN)
                if span is None:
                    continue
                spans[adapter.id] = span
                if span[1] - span[0] >= LASTING_S:
                    yield (
                        f"breaker:{model.id}:{adapter.provider.slug}",
                        f"{model.id} at {adapter.provider.name} was paused again and again or for more than a minute: {error}",
                    )
        self._spans = spans

    def _span(self, adapter_id: int, now: float, *, is_paused: bool) -> tuple[float, float] | None:
        """When the first and the last of its present pauses were seen; None where it has none."""
        span = self._spans.get(adapter_id)
        if span is not None and now - span[1] > LULL_S:
            span = None
        if is_paused:
            return (span[0] if span else now, now)
        return span


@dataclass(slots=True)
class Conditions:
    """Finds what is wrong. Remembers the totals of the last minutes for rates."""

    _history: deque[Sums] = field(default_factory=deque)
    _refused_keys: Lately[str] = field(default_factory=Lately)
    _spent_budgets: Lately[int | None] = field(default_factory=Lately)
    _lost: Lately[str] = field(default_factory=Lately)
    _pauses: Pauses = field(default_factory=Pauses)

    def look(self, now: float) -> dict[str, str]:
        """What is wrong at `now` (monotonic seconds): sentences by a key that stays the same while it lasts."""
        found = dict(self._rates(now))
        for provider in self._refused_keys.of(metrics.totals.refused_keys, now):
            found[f"key:{provider}"] = f"{provider} refuses the gateway's API key"
        try:
            health, status, current = runtime.current().health, ledger.status(), snapshot.current()
        except GatewayError:
            return found
        found |= dict(self._budgets(current, now))
        return (
            found
            | dict(self._pauses.of(health, current, now))
            | dict(_engines(health, current))
            | dict(self._journal(status, now))
        )

    def _rates(self, now: float) -> Found:
        totals, history = metrics.totals, self._history
        history.append(Sums(now, totals.requests, totals.failed, dict(totals.streams), dict(totals.slow_starts)))
        while now - history[0].at > WINDOW_S:
            history.popleft()
        first, last, minutes = history[0], history[-1], WINDOW_S / 60
        asked, failed = last.requests - first.requests, last.failed - first.failed
        if asked >= MIN_REQUESTS and failed / asked >= ERROR_SHARE:
            yield "errors", f"{failed} of {asked} requests of the last {minutes:.0f} minutes failed at a provider or here"
        for model, count in last.slow_starts.items():
            slow = count - first.slow_starts.get(model, 0)
            streams = last.streams[model] - first.streams.get(model, 0)
            if streams >= MIN_REQUESTS and slow / streams > SLOW_SHARE:
                yield (
                    f"slow:{model}",
                    f"{model} begins slowly: {slow} of {streams} streams of the last {minutes:.0f} minutes had no first token "
                    f"within {metrics.SLOW_START_MS / 1000:.0f} s",
                )

    def _budgets(self, current: Snapshot, now: float) -> Found:
        names = {key.id: key.name for key in current.keys.by_hash.values()}
        for key_id in self._spent_budgets.of(metrics.totals.spent_budgets, now):
            if key_id in names:
                yield f"budget:{key_id}", f"the budget of the key {names[key_id]} does not allow its requests any more"

    def _journal(self, status: LedgerStatus, now: float) -> Found:
        if status.backlog_lines and (status.oldest_unwritten_age_s or 0) > BACKLOG_AGE_S:
            reason = status.last_error or "the writer is behind"
            waits = f"{status.backlog_lines} request logs wait in the journal for {status.oldest_unwritten_age_s:.0f} s"
            yield "journal", f"{waits}: {reason}"
        if self._lost.of({"lost": status.lost_total}, now):
            yield "lost", f"request logs could be written nowhere: {status.lost_total} since the start"


def _engines(health: Health, current: Snapshot) -> Found:
    for model in current.catalogue.models:
        for adapter in model.adapters:
            provider = adapter.provider
            engine = health.engine(provider.id) if provider.is_local else None
            if engine is not None and not engine.is_up:
                yield f"engine:{provider.slug}", f"the engine {provider.name} does not answer: {engine.detail}"
