"""What is wrong with this server that somebody should hear of: read from what the process knows, in words for people.

Nothing is asked of a provider or of the database for it. Numbers are of all workers of the server together, states such as a
paused adapter are this worker's. What is said of it, and how often, is `gateway_project.board`'s to decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from accounting import ledger
from accounting.ledger import LedgerStatus
from completions import metrics, runtime, snapshot
from completions.snapshot import Snapshot
from gateway_project.errors import GatewayError
from gateway_project.figures import WINDOW_S, Figures, Window, together
from routingapp.breaker import BreakerState
from routingapp.health import Health

BACKLOG_AGE_S = 60.0
"""How old the oldest record outside of the database may be."""
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
AT_ONCE = frozenset({"key", "budget", "lost", "breaker"})
"""Kinds of which the first sight is enough. Most have happened, do not pass by themselves (a key must be replaced, a budget raised,
what is lost is lost), and hold for `LATELY_S`, so that they cannot come and go; of pauses `Pauses` gives only those that last. All
others can: engines restart for seconds, rates hover about their threshold, a backlog drains while somebody is being told of it."""

Found = Iterator[tuple[str, str]]
K = TypeVar("K", bound=Hashable)


def is_said_at_once(key: str) -> bool:
    """Whether what `Conditions.look` gives under `key` need not last before it is said."""
    return key.partition(":")[0] in AT_ONCE


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
                if not adapter.is_usable:
                    continue
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

    _window: Window = field(default_factory=Window)
    _refused_keys: Lately[str] = field(default_factory=Lately)
    _spent_budgets: Lately[int | None] = field(default_factory=Lately)
    _lost: Lately[str] = field(default_factory=Lately)
    _pauses: Pauses = field(default_factory=Pauses)

    def look(self, now: float, share: Callable[[Figures], Iterable[Figures]] = lambda own: (own,)) -> dict[str, str]:
        """What is wrong at `now` (monotonic seconds): sentences by a key that stays the same while it lasts.

        `share` takes this worker's figures and gives those of all workers of this server; by default it is the only one.
        """
        running = _running()
        figures = together(share(self._window.figures(now, running[1] if running else None)))
        found = dict(_rates(figures))
        for provider in self._refused_keys.of(metrics.totals.refused_keys, now):
            found[f"key:{provider}"] = f"{provider} refuses the gateway's API key"
        if running is None:
            return found
        health, status, current = running
        found |= dict(self._budgets(current, now)) | dict(self._lost_records(status, figures, now))
        found |= dict(self._pauses.of(health, current, now))
        return found | dict(_engines(health, current)) | dict(_journal(figures))

    def _budgets(self, current: Snapshot, now: float) -> Found:
        names = {key.id: key.name for key in current.keys.by_hash.values()}
        for key_id in self._spent_budgets.of(metrics.totals.spent_budgets, now):
            if key_id in names:
                yield f"budget:{key_id}", f"the budget of the key {names[key_id]} does not allow its requests any more"

    def _lost_records(self, status: LedgerStatus, figures: Figures, now: float) -> Found:
        if self._lost.of({"lost": status.lost_total}, now):
            yield "lost", f"request logs could be written nowhere: {figures.lost} since the start"


def _running() -> tuple[Health, LedgerStatus, Snapshot] | None:
    """What this process serves with; None where it does not serve yet, or any more."""
    try:
        return runtime.current().health, ledger.status(), snapshot.current()
    except GatewayError:
        return None


def _rates(figures: Figures) -> Found:
    asked, failed, minutes = figures.requests, figures.failed, WINDOW_S / 60
    if asked >= MIN_REQUESTS and failed / asked >= ERROR_SHARE:
        yield "errors", f"{failed} of {asked} requests of the last {minutes:.0f} minutes failed at a provider or here"
    for model, slow in figures.slow_starts.items():
        streams = figures.streams.get(model, 0)
        if streams >= MIN_REQUESTS and slow / streams > SLOW_SHARE:
            yield (
                f"slow:{model}",
                f"{model} begins slowly: {slow} of {streams} streams of the last {minutes:.0f} minutes had no first token "
                f"within {metrics.SLOW_START_MS / 1000:.0f} s",
            )


def _journal(figures: Figures) -> Found:
    if figures.waiting and figures.oldest_s > BACKLOG_AGE_S:
        reason = figures.reason or "the writer is behind"
        waits = f"{figures.waiting} request logs wait in the journal, the oldest for {figures.oldest_s:.0f} s"
        yield "journal", f"{waits}: {reason}"


def _engines(health: Health, current: Snapshot) -> Found:
    for model in current.catalogue.models:
        for adapter in model.adapters:
            provider = adapter.provider
            engine = health.engine(provider.id) if provider.is_local and adapter.is_usable else None
            if engine is not None and not engine.is_up:
                yield f"engine:{provider.slug}", f"the engine {provider.name} does not answer: {engine.detail}"
