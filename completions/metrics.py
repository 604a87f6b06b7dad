"""What is counted and timed of requests, for Prometheus. `observe` takes a finished request's record and moves everything.

Labels come from closed sets: ids of the catalogue or `other`, slugs of providers or `none`, the error types of
`gateway_project.errors` by the domain of the fault, route templates. Nothing a stranger sends becomes a label. What is read
from running state instead of from records is in `completions.gauges`.
"""

from __future__ import annotations

from collections import Counter as Tally
from dataclasses import dataclass, field

from accounting.record import Attempt, Record
from completions import instruments, snapshot, underway
from completions.instruments import Sum, Times
from gateway_project.errors import DOMAINS, ERROR_TYPES, REFUSAL_DOMAINS

OTHER = "other"
NONE = "none"
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SLOW_START_MS = 5000
WRONG_KEYS = "wrong_keys"
_LIMITS = {"rate_limit_exceeded": "rate", "payment_required": "budget"}
for _limit in (*_LIMITS.values(), WRONG_KEYS):
    instruments.REJECTIONS.labels(_limit)
_failures = {domain: instruments.FAILURES.labels(domain) for domain in DOMAINS}


@dataclass(slots=True)
class Totals:
    """Plain sums since the start of this process, for whoever watches without Prometheus; and the requests `in_flight` now.

    `failed` counts requests that ended by a fault of a provider or of the gateway, `refused_keys` attempts whose provider
    refused our key, by provider; `streams` those that had a first token, by model, and `slow_starts` those of them that had
    it after more than `SLOW_START_MS`; `spent_budgets` refusals for want of money, by the caller's key.
    """

    requests: int = 0
    failed: int = 0
    refused_keys: Tally[str] = field(default_factory=Tally)
    in_flight: int = 0
    streams: Tally[str] = field(default_factory=Tally)
    slow_starts: Tally[str] = field(default_factory=Tally)
    spent_budgets: Tally[int | None] = field(default_factory=Tally)


totals = Totals()


class _Series:
    """The sums for one model and provider, found once: looking labels up costs as much as observing."""

    __slots__ = ("cost", "first_token", "inter_token", "labels", "tokens", "whole")

    def __init__(self, model: str, provider: str) -> None:
        self.labels = (model, provider)
        self.whole: dict[tuple[str, bool, int], tuple[Sum, Times]] = {}
        self.first_token = Times(instruments.FIRST_TOKEN.labels(model, provider), instruments.FIRST_TOKEN_S)
        self.inter_token = Times(instruments.INTER_TOKEN.labels(model, provider), instruments.INTER_TOKEN_S)
        self.tokens = {
            name: Sum(instruments.TOKENS.labels(model, provider, name))
            for name in ("prompt", "cache_read", "cache_write", "completion", "reasoning")
        }
        self.cost = Sum(instruments.COST.labels(model, provider))

    def of(self, record: Record) -> tuple[Sum, Times]:
        key = (record.endpoint, record.stream, record.status_code)
        found = self.whole.get(key)
        if found is None:
            model, provider = self.labels
            stream = "true" if record.stream else "false"
            found = self.whole[key] = (
                Sum(instruments.REQUESTS.labels(record.endpoint, model, provider, stream, str(record.status_code))),
                Times(instruments.DURATION.labels(model, provider, stream), instruments.LONG_S),
            )
        return found

    def flush(self) -> None:
        for requests, duration in self.whole.values():
            requests.flush()
            duration.flush()
        self.first_token.flush()
        self.inter_token.flush()
        for adding in (self.cost, *self.tokens.values()):
            adding.flush()


_series: dict[tuple[str, str], _Series] = {}
_attempts: dict[tuple[str, str], tuple[Sum, Times]] = {}
_routes: dict[tuple[str, str, int], Sum] = {}
_overhead = Times(instruments.OVERHEAD, instruments.OVERHEAD_S)
_moved: set[_Series] = set()


def observe(record: Record, between_tokens_s: float | None = None) -> None:
    """Count a finished request.

    Of the event loop that serves, as is `flush`, after which Prometheus sees it.
    """
    series = _series_of(record)
    _moved.add(series)
    requests, duration = series.of(record)
    requests.amount += 1
    duration.observe(record.latency_ms / 1000)
    totals.requests += 1
    if record.ttft_ms is not None:
        series.first_token.observe(record.ttft_ms / 1000)
        totals.streams[series.labels[0]] += 1
        if record.ttft_ms > SLOW_START_MS:
            totals.slow_starts[series.labels[0]] += 1
        if between_tokens_s is not None:
            series.inter_token.observe(between_tokens_s)
    if record.total_tokens:
        _count_tokens(series, record)
    if record.attempts:
        _count_attempts(record.attempts, series.labels[0])
    if record.error_domain or record.is_cancelled:
        _count_failure(record, *series.labels)
    elif len(record.attempts) == 1 and (request := underway.current()) is not None:
        _overhead.observe(request.spent_here_s() if request.overhead_s is None else request.overhead_s)


def flush() -> None:
    """Give Prometheus what has been observed since the last time."""
    for series in _moved:
        series.flush()
    _moved.clear()
    for outcomes, duration in _attempts.values():
        outcomes.flush()
        duration.flush()
    for requests in _routes.values():
        requests.flush()
    instruments.HTTP_IN_FLIGHT.set(totals.in_flight)
    _overhead.flush()


def route_ended(route: str, method: str, status: int) -> None:
    """Count an HTTP request of the API lane."""
    key = (route, method if method in METHODS else OTHER, status)
    found = _routes.get(key)
    if found is None:
        found = _routes[key] = Sum(instruments.HTTP_REQUESTS.labels(key[0], key[1], str(status)))
    found.amount += 1


def refused(domain: str, error_type: str) -> None:
    """Count the failure of a request without a record. No model and no provider had anything to do with it."""
    instruments.ERRORS.labels(OTHER, NONE, domain, error_type if error_type in ERROR_TYPES else "unmapped").inc()
    _failures[domain].inc()


def too_many_wrong_keys() -> None:
    """Count that a wrong key was answered 429. Apart from `rate`, which is of requests that somebody may make."""
    instruments.REJECTIONS.labels(WRONG_KEYS).inc()


def kind_of(attempts: list[Attempt], position: int) -> str:
    """Why the attempt at `position`, not the first, was made. Times are whole milliseconds of one clock.

    One that was given up although another followed has lost a race, however short that was.
    """
    attempt, before = attempts[position], attempts[:position]
    if any(
        other.started_ms + other.latency_ms > attempt.started_ms or outcome_of(other) == "abandoned" for other in before
    ):
        return "hedge"
    if any(other.ttft_ms is not None for other in before):
        return "resume"
    return "retry" if before[-1].adapter_id == attempt.adapter_id else "fallback"


def outcome_of(attempt: Attempt) -> str:
    if attempt.error_type is not None:
        return attempt.error_type if attempt.error_type in ERROR_TYPES else "unmapped"
    return "ok" if attempt.error is None else "abandoned"


def model_of(record: Record) -> str:
    """The id by which the catalogue knows the model that was asked for, or `other`."""
    # Only what an adapter was tried for is surely of the catalogue; the name of anything else may be a stranger's.
    return record.model_id if record.attempts else _known(record.model_id)


def _series_of(record: Record) -> _Series:
    key = (model_of(record), record.provider or NONE)
    found = _series.get(key)
    if found is None:
        found = _series[key] = _Series(*key)
    return found


def _known(name: str) -> str:
    model = snapshot.current().catalogue.find(name) if snapshot.is_loaded() else None
    return model.id if model else OTHER


def _count_tokens(series: _Series, record: Record) -> None:
    tokens = series.tokens
    uncached = record.prompt_tokens - record.cache_read_tokens - record.cache_write_tokens
    if uncached > 0:
        tokens["prompt"].amount += uncached
    if record.cache_read_tokens:
        tokens["cache_read"].amount += record.cache_read_tokens
    if record.cache_write_tokens:
        tokens["cache_write"].amount += record.cache_write_tokens
    if record.reasoning_tokens:
        tokens["reasoning"].amount += record.reasoning_tokens
    if (spoken := record.completion_tokens - record.reasoning_tokens) > 0:
        tokens["completion"].amount += spoken
    if record.cost_usd != "0":
        series.cost.amount += float(record.cost_usd)


def _count_attempts(attempts: list[Attempt], model: str) -> None:
    for position, attempt in enumerate(attempts):
        key = (attempt.provider, outcome_of(attempt))
        found = _attempts.get(key)
        if found is None:
            times = Times(instruments.ATTEMPT_DURATION.labels(attempt.provider), instruments.LONG_S)
            found = _attempts[key] = (Sum(instruments.ATTEMPTS.labels(*key)), times)
        found[0].amount += 1
        found[1].observe(attempt.latency_ms / 1000)
        if key[1] == "authentication":
            totals.refused_keys[attempt.provider] += 1
        if position:
            instruments.REATTEMPTS.labels(kind_of(attempts, position), model).inc()


def _count_failure(record: Record, model: str, provider: str) -> None:
    domain = record.error_domain
    if record.is_cancelled or domain is None:
        instruments.DISCONNECTS.labels(model, "before" if record.ttft_ms is None else "after").inc()
        return
    error_type = record.error_type if record.error_type in ERROR_TYPES else "unmapped"
    instruments.ERRORS.labels(model, provider, domain, error_type).inc()
    _failures[domain].inc()
    if domain not in REFUSAL_DOMAINS:
        totals.failed += 1
    elif domain == "policy" and error_type in _LIMITS:
        instruments.REJECTIONS.labels(_LIMITS[error_type]).inc()
        if error_type == "payment_required":
            totals.spent_budgets[record.api_key_id] += 1
