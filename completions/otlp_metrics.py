"""Metrics of requests and of their attempts, sent over OTLP. Off, and nothing of it imported, unless `start` is called.

As among the spans a request is one of a server, seen by its caller, and each attempt one of a client, seen by us. A thread of the
SDK sends sums every OTEL_METRIC_EXPORT_INTERVAL. Names, units and bounds are of OpenTelemetry's GenAI conventions
(`completions.conventions`). Labels are closed sets, as in `completions.metrics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from accounting.record import Attempt, Record
from completions import conventions, metrics
from gateway_project.errors import ERROR_TYPES

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Meter
    from opentelemetry.sdk.metrics import MeterProvider

LONG_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


class _Instruments:
    def __init__(self, meter: Meter) -> None:
        def histogram(name: str, unit: str, bounds: tuple[float, ...], description: str) -> Histogram:
            return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)

        self.duration = histogram("gen_ai.server.request.duration", "s", LONG_S, "Requests until their last byte.")
        self.first_token = histogram("gen_ai.server.time_to_first_token", "s", FIRST_TOKEN_S, "Streams until content.")
        self.per_token = histogram(
            "gen_ai.server.time_per_output_token", "s", PER_TOKEN_S, "Mean time of a token of a stream after its first."
        )
        self.call = histogram("gen_ai.client.operation.duration", "s", LONG_S, "Calls of providers.")
        self.first_chunk = histogram(
            "gen_ai.client.operation.time_to_first_chunk", "s", FIRST_TOKEN_S, "Calls of providers until content."
        )
        self.tokens = histogram("gen_ai.client.token.usage", "{token}", TOKENS, "Tokens that calls of providers used.")


_provider: MeterProvider | None = None
_instruments: _Instruments | None = None


def is_on() -> bool:
    return _instruments is not None


def start(endpoint: str, headers: str = "") -> None:
    """Begin to send to a collector; `headers`: `name=value`, comma-separated.

    Raises `ImportError` where the group `otel` is not installed.
    """
    global _provider, _instruments
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(OTLPMetricExporter(**conventions.exporter_options(endpoint, headers)))
    _provider = MeterProvider([reader], conventions.resource(), shutdown_on_exit=False)
    _instruments = _Instruments(_provider.get_meter("gateway"))


def stop() -> None:
    """Send the last sums, as long as the SDK's timeouts allow, and stop. Blocks: not for the event loop."""
    global _provider, _instruments
    stopping, _provider, _instruments = _provider, None, None
    if stopping is not None:
        stopping.shutdown()


def observe(record: Record, between_tokens_s: float | None = None) -> None:
    """Count a finished request and its attempts."""
    if _instruments is None:
        return
    common = {"gen_ai.operation.name": conventions.operation(record), "gen_ai.request.model": metrics.model_of(record)}
    if record.provider:
        common["gen_ai.provider.name"] = conventions.provider_name(record.provider)
    ended = common if record.error is None else common | {"error.type": _error_type(record.error_type)}
    _instruments.duration.record(record.latency_ms / 1000, ended)
    if record.ttft_ms is not None and record.error is None:
        _instruments.first_token.record(record.ttft_ms / 1000, common)
        if between_tokens_s is not None:
            _instruments.per_token.record(between_tokens_s, common)
    for attempt in record.attempts:
        _observe_call(_instruments, record, attempt)


def _observe_call(instruments: _Instruments, record: Record, attempt: Attempt) -> None:
    common = {
        "gen_ai.operation.name": conventions.operation(record),
        "gen_ai.provider.name": conventions.provider_name(attempt.provider),
        "gen_ai.request.model": attempt.upstream_model,
    }
    ended = common if attempt.error is None else common | {"error.type": _error_type(attempt.error_type)}
    instruments.call.record(attempt.latency_ms / 1000, ended)
    if attempt.ttft_ms is not None:
        instruments.first_chunk.record(attempt.ttft_ms / 1000, common)
    if attempt.error is not None or record.is_estimated:
        return  # the conventions want no tokens that the provider has not told
    for kind, count in (("input", attempt.prompt_tokens), ("output", attempt.completion_tokens)):
        if count:
            instruments.tokens.record(count, common | {"gen_ai.token.type": kind})


def _error_type(error_type: str | None) -> str:
    """One of the closed set; a call or request that was given up has none, and is `cancelled` as its span is."""
    if error_type is None:
        return "cancelled"
    return error_type if error_type in ERROR_TYPES else "_OTHER"
