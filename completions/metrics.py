"""What is counted and timed of requests, for Prometheus. `observe` takes a finished request's record and moves everything.

Labels come from closed sets: ids of the catalogue or `other`, slugs of providers or `none`, the error types of
`gateway_project.errors` by the domain of the fault, route templates. Nothing a stranger sends becomes a label. What is read
from running state instead of from records is in `completions.gauges`.
"""

from __future__ import annotations

import logging
from collections import Counter as Tally
from dataclasses import dataclass, field

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram

from accounting.record import Attempt, Record
from completions import snapshot, underway
from gateway_project.errors import ERROR_TYPES

log = logging.getLogger("gateway.metrics")

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

LONG_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
FIRST_TOKEN_S = (0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30, 60)
INTER_TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1)
OVERHEAD_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)

HTTP_REQUESTS = Counter("gateway_http_requests_total", "HTTP requests of the API lane.", ["route", "method", "status"])
HTTP_IN_FLIGHT = Gauge(
    "gateway_requests_in_flight", "HTTP requests of the API lane under way.", multiprocess_mode="livesum"
)
REQUESTS = Counter(
    "gateway_requests_total",
    "Inference requests that have ended, by the status in their record (499: the client left).",
    ["endpoint", "model", "provider", "stream", "status"],
)
DURATION = Histogram(
    "gateway_request_duration_seconds",
    "Inference requests from their acceptance to their end.",
    ["model", "provider", "stream"],
    buckets=LONG_S,
)
FIRST_TOKEN = Histogram(
    "gateway_time_to_first_token_seconds",
    "Streams until their first content.",
    ["model", "provider"],
    buckets=FIRST_TOKEN_S,
)
INTER_TOKEN = Histogram(
    "gateway_inter_token_seconds",
    "Mean pause between two tokens of a stream after its first content.",
    ["model", "provider"],
    buckets=INTER_TOKEN_S,
)
TOKENS = Counter(
    "gateway_tokens_total",
    "Tokens by disjoint class: prompt (uncached), cache_read, cache_write, completion (without reasoning), reasoning.",
    ["model", "provider", "class"],
)
COST = Counter("gateway_cost_usd_total", "What requests were charged, in USD.", ["model", "provider"])
ERRORS = Counter(
    "gateway_errors_total",
    "Failed inference requests by whose fault it was: caller, policy, provider or gateway.",
    ["model", "provider", "domain", "error_type"],
)
ATTEMPTS = Counter(
    "gateway_upstream_attempts_total",
    "Calls of providers by outcome: ok, abandoned (a lost race, or the client left) or the error's type.",
    ["provider", "outcome"],
)
ATTEMPT_DURATION = Histogram(
    "gateway_upstream_duration_seconds", "Calls of providers to their end.", ["provider"], buckets=LONG_S
)
REATTEMPTS = Counter(
    "gateway_reattempts_total",
    "Further attempts of a request by kind: fallback (another adapter), retry (the same), resume (of a broken stream), hedge.",
    ["kind", "model"],
)
DISCONNECTS = Counter(
    "gateway_client_disconnects_total",
    "Clients that left before the end, `before` or `after` the first content.",
    ["model", "first_content"],
)
REJECTIONS = Counter("gateway_limit_rejections_total", "Requests refused by a limit of ours: rate or budget.", ["limit"])
OVERHEAD = Histogram(
    "gateway_overhead_seconds",
    "Time to the response's head that was not spent waiting for the provider; of requests with a single attempt.",
    buckets=OVERHEAD_S,
)

OTHER = "other"
NONE = "none"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LIMITS = {"rate_limit_exceeded": "rate", "payment_required": "budget"}
for _limit in _LIMITS.values():
    REJECTIONS.labels(_limit)


@dataclass(slots=True)
class Totals:
    """Plain sums since the start of this process, for whoever watches without Prometheus.

    `failed` counts requests that ended by a fault of a provider or of the gateway, `refused_keys` attempts whose provider
    refused our key, by provider.
    """

    requests: int = 0
    failed: int = 0
    refused_keys: Tally[str] = field(default_factory=Tally)


totals = Totals()


class _Series:
    """The labelled children for one model and provider, looked up once: a lookup costs as much as an observation."""

    __slots__ = ("cost", "first_token", "inter_token", "labels", "tokens", "whole")

    def __init__(self, model: str, provider: str) -> None:
        self.labels = (model, provider)
        self.whole: dict[tuple[str, bool, int], tuple[Counter, Histogram]] = {}
        self.first_token = FIRST_TOKEN.labels(model, provider)
        self.inter_token = INTER_TOKEN.labels(model, provider)
        self.tokens = {
            name: TOKENS.labels(model, provider, name)
            for name in ("prompt", "cache_read", "cache_write", "completion", "reasoning")
        }
        self.cost = COST.labels(model, provider)

    def of(self, record: Record) -> tuple[Counter, Histogram]:
        key = (record.endpoint, record.stream, record.status_code)
        found = self.whole.get(key)
        if found is None:
            model, provider = self.labels
            stream = "true" if record.stream else "false"
            found = self.whole[key] = (
                REQUESTS.labels(record.endpoint, model, provider, stream, str(record.status_code)),
                DURATION.labels(model, provider, stream),
            )
        return found


_series: dict[tuple[str, str], _Series] = {}
_attempts: dict[tuple[str, str], tuple[Counter, Histogram]] = {}


def observe(record: Record, domain: str) -> None:
    """Count a finished request. `domain`: whose fault its failure was; empty where it did not fail."""
    series = _series_of(record)
    requests, duration = series.of(record)
    requests.inc()
    duration.observe(record.latency_ms / 1000)
    totals.requests += 1
    if record.ttft_ms is not None:
        series.first_token.observe(record.ttft_ms / 1000)
        if record.completion_tokens > 1:
            series.inter_token.observe((record.latency_ms - record.ttft_ms) / 1000 / (record.completion_tokens - 1))
    if record.total_tokens:
        _count_tokens(series, record)
    if record.attempts:
        _count_attempts(record.attempts, series.labels[0])
    if domain or record.is_cancelled:
        _count_failure(record, domain, *series.labels)
    elif len(record.attempts) == 1 and (request := underway.current()) is not None:
        OVERHEAD.observe(request.spent_here_s() if request.overhead_s is None else request.overhead_s)


def route_ended(route: str, method: str, status: int) -> None:
    """Count an HTTP request of the API lane."""
    HTTP_REQUESTS.labels(route, method if method in METHODS else OTHER, str(status)).inc()


def kind_of(attempts: list[Attempt], position: int) -> str:
    """Why the attempt at `position`, not the first, was made. Times are whole milliseconds of one clock."""
    attempt, before = attempts[position], attempts[:position]
    if any(other.started_ms + other.latency_ms > attempt.started_ms for other in before):
        return "hedge"
    if any(other.ttft_ms is not None for other in before):
        return "resume"
    return "retry" if before[-1].adapter_id == attempt.adapter_id else "fallback"


def outcome_of(attempt: Attempt) -> str:
    if attempt.error_type is not None:
        return attempt.error_type if attempt.error_type in ERROR_TYPES else "unmapped"
    return "ok" if attempt.error is None else "abandoned"


def _series_of(record: Record) -> _Series:
    # Only what an adapter was tried for is surely of the catalogue; the name of anything else may be a stranger's.
    model = record.model_id if record.attempts else _known(record.model_id)
    key = (model, record.provider or NONE)
    found = _series.get(key)
    if found is None:
        found = _series[key] = _Series(*key)
    return found


def _known(name: str) -> str:
    """The catalogue's id of the model called `name`, or `other`."""
    model = snapshot.current().catalogue.find(name) if snapshot.is_loaded() else None
    return model.id if model else OTHER


def _count_tokens(series: _Series, record: Record) -> None:
    tokens = series.tokens
    uncached = record.prompt_tokens - record.cache_read_tokens - record.cache_write_tokens
    if uncached > 0:
        tokens["prompt"].inc(uncached)
    if record.cache_read_tokens:
        tokens["cache_read"].inc(record.cache_read_tokens)
    if record.cache_write_tokens:
        tokens["cache_write"].inc(record.cache_write_tokens)
    if record.reasoning_tokens:
        tokens["reasoning"].inc(record.reasoning_tokens)
    if (spoken := record.completion_tokens - record.reasoning_tokens) > 0:
        tokens["completion"].inc(spoken)
    if record.cost_usd != "0":
        series.cost.inc(float(record.cost_usd))


def _count_attempts(attempts: list[Attempt], model: str) -> None:
    for position, attempt in enumerate(attempts):
        key = (attempt.provider, outcome_of(attempt))
        found = _attempts.get(key)
        if found is None:
            found = _attempts[key] = (ATTEMPTS.labels(*key), ATTEMPT_DURATION.labels(attempt.provider))
        found[0].inc()
        found[1].observe(attempt.latency_ms / 1000)
        if key[1] == "authentication":
            totals.refused_keys[attempt.provider] += 1
        if position:
            REATTEMPTS.labels(kind_of(attempts, position), model).inc()


def _count_failure(record: Record, domain: str, model: str, provider: str) -> None:
    if record.is_cancelled:
        DISCONNECTS.labels(model, "before" if record.ttft_ms is None else "after").inc()
        return
    error_type = record.error_type if record.error_type in ERROR_TYPES else "unmapped"
    ERRORS.labels(model, provider, domain, error_type).inc()
    if domain in ("provider", "gateway"):
        totals.failed += 1
    elif domain == "policy" and error_type in _LIMITS:
        REJECTIONS.labels(_LIMITS[error_type]).inc()
