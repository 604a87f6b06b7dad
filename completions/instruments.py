"""The instruments of requests: every counter and histogram of ours that a finished request moves, and cheap sums for them.

Labels are closed sets. Which label a request gets is decided in `completions.metrics`.
"""

from __future__ import annotations

from bisect import bisect_left

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

LONG_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30, 60)
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
    "Mean pause between two tokens of a whole stream after its first content, without reasoning that was not streamed.",
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
    "Failed requests of the API lane by whose fault it was: caller, policy, provider or gateway.",
    ["model", "provider", "domain", "error_type"],
)
FAILURES = Counter(
    "gateway_failures_total",
    "The same by whose fault alone: each sum begins at 0, so that increase() sees the first failure as well.",
    ["domain"],
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
REJECTIONS = Counter(
    "gateway_limit_rejections_total", "Requests refused by a limit of ours: rate, budget or wrong_keys.", ["limit"]
)
OVERHEAD = Histogram(
    "gateway_overhead_seconds",
    "Time to the response's head that was not spent waiting for the provider; of requests with a single attempt.",
    buckets=OVERHEAD_S,
)


class Sum:
    """Adds up in a plain number what `flush` gives to a counter: a tenth of the cost, and of several workers' files a fiftieth."""

    __slots__ = ("amount", "counter")

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.amount: float = 0

    def flush(self) -> None:
        if self.amount:
            self.counter.inc(self.amount)
            self.amount = 0


class Times:
    """The same for a histogram, bucket by bucket."""

    __slots__ = ("bounds", "counts", "histogram", "seconds")

    def __init__(self, histogram: Histogram, bounds: tuple[float, ...]) -> None:
        self.histogram, self.bounds = histogram, bounds
        self.counts = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds

    def flush(self) -> None:
        # There is no public way to add several observations at once.
        for bucket, count in zip(self.histogram._buckets, self.counts, strict=True):
            if count:
                bucket.inc(count)
        self.histogram._sum.inc(self.seconds)
        self.counts = [0] * len(self.counts)
        self.seconds = 0.0
