"""What is made of a record: kinds of attempts, outcomes, routes."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from prometheus_client import REGISTRY

from accounting.record import Attempt, Record
from completions import instruments, metrics
from gateway_project.errors import DOMAINS, GatewayError
from gateway_project.observed import template


def attempt(adapter_id: int, started_ms: int, latency_ms: int, **more) -> Attempt:
    return Attempt(adapter_id, "acme", "model", started_ms=started_ms, latency_ms=latency_ms, **more)


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (attempt(1, 0, 50), attempt(2, 50, 10), "fallback"),
        (attempt(1, 0, 50), attempt(1, 150, 10), "retry"),
        (attempt(1, 0, 50, ttft_ms=20), attempt(2, 50, 10), "resume"),
        (attempt(1, 0, 50, ttft_ms=20), attempt(1, 50, 10), "resume"),
        (attempt(1, 0, 50), attempt(2, 30, 60), "hedge"),
        (attempt(1, 0, 0, error="given up by the gateway"), attempt(2, 0, 0), "hedge"),
        (attempt(1, 0, 0), attempt(2, 0, 60), "fallback"),
    ],
)
def test_why_an_attempt_was_made_is_read_from_the_record(first, second, kind):
    assert metrics.kind_of([first, second], 1) == kind


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"status": 200}, "ok"),
        ({"error": "given up by the gateway"}, "abandoned"),
        ({"error": "x", "error_type": "timeout"}, "timeout"),
        ({"error": "x", "error_type": "what a provider made up"}, "unmapped"),
    ],
)
def test_outcomes_are_a_closed_set(fields, outcome):
    assert metrics.outcome_of(attempt(1, 0, 1, **fields)) == outcome


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        ("^(?:api/)?v1/chat/completions", "/v1/chat/completions"),
        ("^(?:api/)?v1/models/<path:model_id>", "/v1/models/{model_id}"),
        ("health/live", "/health/live"),
    ],
)
def test_a_route_is_shown_as_a_template(pattern, shown):
    assert template(pattern) == shown


@pytest.mark.parametrize(
    ("histogram", "bounds"),
    [
        (instruments.DURATION, instruments.LONG_S),
        (instruments.FIRST_TOKEN, instruments.FIRST_TOKEN_S),
        (instruments.INTER_TOKEN, instruments.INTER_TOKEN_S),
        (instruments.ATTEMPT_DURATION, instruments.LONG_S),
        (instruments.OVERHEAD, instruments.OVERHEAD_S),
    ],
)
def test_sums_and_histograms_agree_on_every_bound(histogram, bounds):
    labels = [f"agree-{name}" for name in histogram._labelnames]
    mine = histogram.labels(*labels) if labels else histogram
    other = type(histogram)("other", "The same, observed directly.", buckets=bounds, registry=None)
    before = [bucket.get() for bucket in mine._buckets]
    times = instruments.Times(mine, bounds)
    values = [0.0, *bounds, *(bound * 1.01 for bound in bounds), 1e6]
    for value in values:
        times.observe(value)
        other.observe(value)
    times.flush()
    times.flush()
    assert [bucket.get() - old for bucket, old in zip(mine._buckets, before, strict=True)] == [
        bucket.get() for bucket in other._buckets
    ]
    assert mine._sum.get() == pytest.approx(other._sum.get())


@pytest.mark.parametrize(
    ("bounds", "seconds"),
    [(instruments.FIRST_TOKEN_S, (0.008, 0.02)), (instruments.LONG_S, (500, 700))],
    ids=["first tokens of an engine nearby", "answers of ten minutes"],
)
def test_what_is_usual_at_the_ends_is_told_apart(bounds, seconds):
    quick, slow = (bisect_left(bounds, one) for one in seconds)
    assert quick < slow


def test_a_limit_of_ours_is_counted_by_its_kind_and_a_providers_is_not():
    def rejections(limit: str) -> float:
        return REGISTRY.get_sample_value("gateway_limit_rejections_total", {"limit": limit}) or 0

    before = rejections("rate"), rejections("budget")
    for error_type, domain in [
        ("rate_limit_exceeded", "policy"),
        ("payment_required", "policy"),
        ("rate_limit_exceeded", "provider"),
    ]:
        record = Record("gen-1-x", 0.0, status_code=429, error_type=error_type, error_domain=domain)
        metrics.observe(record)
    metrics.flush()
    assert (rejections("rate") - before[0], rejections("budget") - before[1]) == (1, 1)


def test_a_failure_moves_the_sum_of_its_domain_and_no_other():
    def failures() -> dict[str, float]:
        return {domain: REGISTRY.get_sample_value("gateway_failures_total", {"domain": domain}) or 0 for domain in DOMAINS}

    before = failures()
    metrics.observe(Record("gen-1-x", 0.0, status_code=503, error_type="server", error_domain="gateway"))
    metrics.observe(Record("gen-1-x", 0.0, status_code=499, is_cancelled=True))
    moved = {domain: count - before[domain] for domain, count in failures().items()}
    assert moved == {"caller": 0, "policy": 0, "provider": 0, "gateway": 1}


def test_every_error_is_somebodys_doing_and_the_gateways_own_are_few():
    """`GatewayFault` wakes somebody: what providers, operators or callers have done must not be among it."""
    leaves, ours = [GatewayError], set()
    while leaves:
        leaf = leaves.pop()
        leaves += leaf.__subclasses__()
        assert leaf.domain in DOMAINS
        if leaf.domain == "gateway":
            ours.add(leaf.__name__)
    assert ours == {"GatewayError", "GatewayFault", "InternalError", "LedgerUnavailable", "NotServing"}
