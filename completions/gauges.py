"""What is read from the running state of this process, for Prometheus: breakers, engines, keys, the ledger, the snapshot.

`sample` belongs to the event loop, which owns the health state. It is called for each scrape and, because a scrape reaches only
one of several workers, every few seconds as well.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Mapping

from prometheus_client import Counter, Gauge

from accounting import ledger
from accounting.ledger import LedgerStatus
from catalog.entries import Catalogue
from completions import metrics, runtime, snapshot
from completions.admission import Gate
from gateway_project.errors import GatewayError
from routingapp.breaker import BreakerState
from routingapp.health import Health

log = logging.getLogger("gateway.metrics")

SAMPLE_EVERY_S = 5.0
STATES = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}

BREAKER = Gauge(
    "gateway_breaker_state",
    "Breaker of an adapter: 0 closed, 1 half open, 2 open; of several workers the worst.",
    ["model", "provider"],
    multiprocess_mode="livemax",
)
UPSTREAM_IN_FLIGHT = Gauge(
    "gateway_upstream_in_flight", "Calls of an adapter under way.", ["model", "provider"], multiprocess_mode="livesum"
)
ENGINE_UP = Gauge(
    "gateway_engine_up", "Whether a local engine answered its last probe.", ["provider"], multiprocess_mode="livemin"
)
KEYS_OUT = Gauge(
    "gateway_provider_keys_out",
    "Keys of a provider that rest after a 429 (rate_limited) or were refused; of several workers the most.",
    ["provider", "reason"],
    multiprocess_mode="livemax",
)
SHARED_LIMITS_UP = Gauge(
    "gateway_shared_limits_up",
    "Whether limits hold over all processes: 0 while Redis is away, 1 also where none is configured.",
    multiprocess_mode="livemin",
)
BACKLOG = Gauge("gateway_journal_backlog_records", "Records not in the database yet.", multiprocess_mode="livesum")
BACKLOG_BYTES = Gauge("gateway_journal_backlog_bytes", "Their size in the journal.", multiprocess_mode="livesum")
BACKLOG_AGE = Gauge(
    "gateway_journal_oldest_age_seconds",
    "How far the writer of request logs and rollups lags behind: the age of the oldest record not in the database.",
    multiprocess_mode="livemax",
)
LAST_COMMIT = Gauge(
    "gateway_ledger_last_commit_timestamp_seconds",
    "When records and rollups were last written; 0 where none were.",
    multiprocess_mode="livemax",
)
DATABASE_UP = Gauge("gateway_ledger_database_up", "Whether the database took the last batch.", multiprocess_mode="livemin")
TORN = Counter("gateway_journal_torn_lines_total", "Lines that a dying process left incomplete.")
ADOPTED = Counter("gateway_journal_adopted_records_total", "Records taken over from processes that died.")
LOST = Counter("gateway_journal_lost_records_total", "Records that could be written nowhere.")
REVISION = Gauge("gateway_snapshot_revision", "Catalogue revision in force.", multiprocess_mode="livemin")
SNAPSHOT_AGE = Gauge("gateway_snapshot_age_seconds", "Since the snapshot was loaded.", multiprocess_mode="livemax")
CHECK_AGE = Gauge(
    "gateway_snapshot_check_age_seconds",
    "Since the database last said that the snapshot is the newest: staleness, unlike its age.",
    multiprocess_mode="livemax",
)
MODELS = Gauge("gateway_models", "Models in the catalogue.", multiprocess_mode="livemin")

GONE = math.nan
"""What a series that has ended is set to in the files of several workers, which know no removal: readers leave it out."""

_shown: dict[Gauge, frozenset[tuple[str, ...]]] = {}
_told = {TORN: 0, ADOPTED: 0, LOST: 0}


def sample() -> None:
    """Set every gauge to what is true now, and flush the metrics. What is not running yet, or any more, is left out."""
    metrics.flush()
    try:
        running = runtime.current()
        current = snapshot.current()
        status = ledger.status()
    except GatewayError:
        return
    _sample_adapters(current.catalogue, running.health)
    _sample_gate(current.catalogue, running.pipeline.gate)
    _sample_ledger(status)
    now = time.time()
    REVISION.set(current.revision)
    SNAPSHOT_AGE.set(now - current.loaded_at)
    CHECK_AGE.set(now - snapshot.checked_at())
    MODELS.set(len(current.catalogue.models))


async def keep_sampling(every_s: float = SAMPLE_EVERY_S) -> None:
    """`sample` for ever, for the sake of scrapes that another worker answers."""
    while True:
        try:
            sample()
        except Exception:  # one look that fails must not be the last
            log.exception("the gauges could not be read")
        await asyncio.sleep(every_s)


def _sample_adapters(catalogue: Catalogue, health: Health) -> None:
    """What is switched off is neither paused nor down, but its last calls may still be under way."""
    now = time.monotonic()
    breakers: dict[tuple[str, ...], int] = {}
    in_flight: dict[tuple[str, ...], int] = {}
    engines: dict[tuple[str, ...], bool] = {}
    for model in catalogue.models:
        for adapter in model.adapters:
            provider = adapter.provider
            # One model may have several adapters at one provider: they share the labels, the worst counts.
            key = (model.id, provider.slug)
            in_flight[key] = in_flight.get(key, 0) + health.in_flight(adapter.id)
            if not adapter.is_usable:
                continue
            breaker, _ = health.breaker(adapter.id, now)
            breakers[key] = max(breakers.get(key, 0), STATES[breaker])
            engine = health.engine(provider.id) if provider.is_local else None
            if engine is not None:
                engines[(provider.slug,)] = engine.is_up
    _show(BREAKER, breakers)
    _show(UPSTREAM_IN_FLIGHT, in_flight)
    _show(ENGINE_UP, engines)


def _sample_gate(catalogue: Catalogue, gate: Gate) -> None:
    now, capacity = time.monotonic(), gate.capacity
    providers = {
        adapter.provider.slug: adapter.provider
        for model in catalogue.models
        for adapter in model.adapters
        if adapter.is_usable
    }
    _show(
        KEYS_OUT,
        {
            (slug, fault.value.replace(" ", "_")): count
            for slug, provider in providers.items()
            for fault, count in capacity.pools.out(provider, now, capacity.revision).items()
        },
    )
    SHARED_LIMITS_UP.set(gate.shared is None or not gate.shared.is_away)


def _show(gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
    """Set the series of `gauge` to `values` by label, and end those that it had before and has no more."""
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
    for labels in _shown.get(gauge, frozenset()) - values.keys():
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            gauge.labels(*labels).set(GONE)
        else:
            gauge.remove(*labels)
    _shown[gauge] = frozenset(values)


def _sample_ledger(status: LedgerStatus) -> None:
    BACKLOG.set(status.backlog_lines)
    BACKLOG_BYTES.set(status.backlog_bytes)
    BACKLOG_AGE.set(status.oldest_unwritten_age_s if status.backlog_lines else 0)
    LAST_COMMIT.set(status.last_commit_at or 0)
    DATABASE_UP.set(status.is_database_available)
    totals = {TORN: status.torn_lines_total, ADOPTED: status.adopted_total, LOST: status.lost_total}
    for counter, total in totals.items():
        # A record counted as lost may yet be written; a counter cannot take it back.
        counter.inc(max(0, total - _told[counter]))
        _told[counter] = max(total, _told[counter])
