"""What is told to the outside of each request: metrics, its access line and, where wanted, OTLP. One call per event.

Watching must never harm what is watched: whatever goes wrong here is logged and ends here.
"""

from __future__ import annotations

import logging

from accounting.record import Attempt, Record
from completions import metrics, otlp_metrics, pace, tracing, underway

log = logging.getLogger("gateway.telemetry")
access = logging.getLogger("gateway.access")


def attempted(record: Record, attempt: Attempt) -> None:
    """An attempt begins."""
    if tracing.is_on():
        try:
            tracing.attempt_begins(record, attempt)
        except Exception:  # whatever it is, the attempt goes on
            log.exception("an attempt of %s could not be traced", record.request_id)


def finished(record: Record, domain: str, streamed_tokens: int = 0) -> None:
    """The request has ended, and its record is final. `domain`: whose fault its failure was; empty where it did not fail.

    `streamed_tokens`: those of its answer that set its pace.
    """
    try:
        between_tokens_s = pace.between_tokens_s(record, streamed_tokens)
        metrics.observe(record, domain, between_tokens_s)
        if access.isEnabledFor(logging.INFO):
            write_access_line(record)
        if otlp_metrics.is_on():
            otlp_metrics.observe(record, between_tokens_s)
        if tracing.is_on():
            tracing.finish(record)
    except Exception:  # whatever it is, the answer is good and recorded
        log.exception("the end of %s could not be reported", record.request_id)


def write_access_line(record: Record) -> None:
    """One line per request. As JSON all of it is there as fields; people read the sentence."""
    request = underway.current()
    fields = {
        "request_id": record.request_id,
        "model": record.model_id,
        "provider": record.provider,
        "status": record.status_code,
        "ms": record.latency_ms,
        "ttft_ms": record.ttft_ms,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "cost_usd": record.cost_usd,
        "attempts": len(record.attempts),
        "error_type": record.error_type,
        "client": request.address if request else None,
        "caller_request_id": request.caller_id if request else None,
    }
    access.info(
        "%s %s",
        record.endpoint,
        "stream" if record.stream else "whole",
        extra={"fields": {name: value for name, value in fields.items() if value is not None and value != ""}},
    )
