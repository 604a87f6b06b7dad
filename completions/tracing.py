"""Spans of requests and of their attempts, sent over OTLP. Off, and nothing of it imported, unless `start` is called.

A request is a span of kind SERVER, a child of the caller's; each attempt is a child of kind CLIENT, and its context travels to
the provider in `traceparent`. Spans are ended from the record, once, when the request settles; a thread of the SDK exports them
in batches and drops what a slow collector does not take.

Attribute names: OpenTelemetry's GenAI conventions (semantic-conventions-genai, gen_ai.client.inference, read 2026-11; in
development). `input_tokens` includes cached ones there, as `prompt_tokens` does here. Ours begin with `gateway.`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from accounting.record import Attempt, Record
from completions import conventions, underway

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

_MS = 1_000_000
_S = 1_000_000_000


@dataclass(slots=True)
class _Trace:
    """The open spans of one request, attempts in the order of the record's."""

    span: Span
    attempts: list[tuple[Attempt, Span]] = field(default_factory=list)


_provider: TracerProvider | None = None
_tracer: Tracer | None = None
_joins_traces = True
_traces: dict[str, _Trace] = {}
_attempt: ContextVar[Span | None] = ContextVar("attempt_span", default=None)


def is_on() -> bool:
    return _tracer is not None


def start(endpoint: str, headers: str = "", *, joins_traces: bool = True) -> None:
    """Begin to trace, in the callers' traces or in some of its own. `headers` are the collector's: `name=value`, comma-separated.

    Raises `ImportError` where the group `otel` is not installed.
    """
    global _provider, _tracer, _joins_traces
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _provider = TracerProvider(resource=conventions.resource(), shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(**conventions.exporter_options(endpoint, headers))))
    _tracer = _provider.get_tracer("gateway")
    _joins_traces = joins_traces


def stop() -> None:
    """Send what is left, as long as the SDK's timeouts allow, and stop. Blocks: not for the event loop."""
    global _provider, _tracer
    stopping, _provider, _tracer = _provider, None, None
    _traces.clear()
    if stopping is not None:
        stopping.shutdown()


def attempt_begins(record: Record, attempt: Attempt) -> None:
    """Open the span of `attempt`; what this task sends from now on carries its context."""
    from opentelemetry.trace import SpanKind, set_span_in_context

    trace = _traces.get(record.request_id) or _open(record)
    assert _tracer is not None
    span = _tracer.start_span(
        f"{conventions.operation(record)} {attempt.upstream_model}",
        context=set_span_in_context(trace.span),
        kind=SpanKind.CLIENT,
        start_time=_ns(record, attempt.started_ms),
    )
    trace.attempts.append((attempt, span))
    _attempt.set(span)


def headers() -> dict[str, str]:
    """`traceparent` and `tracestate` for the provider; nothing while tracing is off, or joins no traces."""
    span = _attempt.get() if _tracer is not None and _joins_traces else None
    if span is None:
        return {}
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, set_span_in_context(span))
    return carrier


def finish(record: Record) -> None:
    """End the spans of a request with what its record says."""
    trace = _traces.get(record.request_id) or _open(record)
    del _traces[record.request_id]
    for attempt, span in trace.attempts:
        span.set_attributes(_attempt_attributes(record, attempt))
        _end(span, attempt.error_type, attempt.error, _ns(record, attempt.started_ms + attempt.latency_ms))
    trace.span.set_attributes(_attributes(record))
    _end(trace.span, record.error_type, record.error, _ns(record, record.latency_ms))


def _open(record: Record) -> _Trace:
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    assert _tracer is not None
    request = underway.current()
    carrier: Mapping[str, str] = request.trace_headers if request and _joins_traces else {}
    trace = _traces[record.request_id] = _Trace(
        _tracer.start_span(
            f"{conventions.operation(record)} {record.requested_model[:200]}".rstrip(),
            context=TraceContextTextMapPropagator().extract(carrier),
            kind=SpanKind.SERVER,
            start_time=_ns(record, 0),
        )
    )
    return trace


def _end(span: Span, error_type: str | None, error: str | None, at_ns: int) -> None:
    from opentelemetry.trace import Status, StatusCode

    if error is not None:
        span.set_attribute("error.type", error_type or "cancelled")
        span.set_status(Status(StatusCode.ERROR, error))
    span.end(end_time=at_ns)


def _attributes(record: Record) -> dict[str, Any]:
    attributes = {
        "gen_ai.operation.name": conventions.operation(record),
        "gen_ai.provider.name": conventions.provider_name(record.provider) if record.provider else None,
        "gen_ai.request.model": record.requested_model,
        "gen_ai.request.max_tokens": record.max_tokens,
        "gen_ai.request.temperature": record.temperature,
        "gen_ai.request.top_p": record.top_p,
        "gen_ai.request.seed": record.seed,
        "gen_ai.request.stream": True if record.stream else None,
        "gen_ai.conversation.id": record.session_id,
        "gen_ai.response.id": record.request_id,
        "gen_ai.response.model": record.model_id if record.attempts else None,
        "gen_ai.response.finish_reasons": [record.finish_reason] if record.finish_reason else None,
        "gen_ai.response.time_to_first_chunk": record.ttft_ms / 1000 if record.ttft_ms is not None else None,
        "gen_ai.usage.input_tokens": record.prompt_tokens,
        "gen_ai.usage.output_tokens": record.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": record.cache_read_tokens or None,
        "gen_ai.usage.cache_write.input_tokens": record.cache_write_tokens or None,
        "gen_ai.usage.reasoning.output_tokens": record.reasoning_tokens or None,
        "http.response.status_code": record.status_code,
        "gateway.cost_usd": float(record.cost_usd),
        "gateway.attempts": len(record.attempts),
        "gateway.is_estimated": record.is_estimated,
    }
    return {name: value for name, value in attributes.items() if value is not None and value != ""}


def _attempt_attributes(record: Record, attempt: Attempt) -> dict[str, Any]:
    attributes = {
        "gen_ai.operation.name": conventions.operation(record),
        "gen_ai.provider.name": conventions.provider_name(attempt.provider),
        "gen_ai.request.model": attempt.upstream_model,
        "gen_ai.request.stream": True if record.stream else None,
        "gen_ai.response.id": attempt.upstream_id,
        "gen_ai.response.time_to_first_chunk": attempt.ttft_ms / 1000 if attempt.ttft_ms is not None else None,
        "gen_ai.usage.input_tokens": attempt.prompt_tokens or None,
        "gen_ai.usage.output_tokens": attempt.completion_tokens or None,
        "http.response.status_code": attempt.status,
        "gateway.adapter_id": attempt.adapter_id,
        "gateway.cost_usd": float(attempt.cost_usd),
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _ns(record: Record, after_ms: int) -> int:
    return int(record.timestamp * _S) + after_ms * _MS
