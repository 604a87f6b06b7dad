"""What is told to the outside of each request: metrics, its access line and, where wanted, OTLP. One call per event.

A request that has a record is told from it, any other one of the API as far as HTTP knows it.

Watching must never harm what is watched: whatever goes wrong here is logged and ends here.
"""

from __future__ import annotations

import logging
import time

from accounting.record import Attempt, Record
from completions import metrics, otlp_metrics, pace, tracing, underway
from completions.underway import Underway

log = logging.getLogger("gateway.telemetry")
access = logging.getLogger("gateway.access")

PATH_CHARACTERS = 200
"""What of a path is logged: a stranger may send 64 kB of it."""


def attempted(record: Record, attempt: Attempt) -> None:
    """An attempt begins."""
    if tracing.is_on():
        try:
            tracing.attempt_begins(record, attempt)
        except Exception:  # whatever it is, the attempt goes on
            log.exception("an attempt of %s could not be traced", record.request_id)


def finished(record: Record, streamed_tokens: int = 0) -> None:
    """The request has ended, and its record is final. `streamed_tokens`: those of its answer that set its pace."""
    try:
        between_tokens_s = pace.between_tokens_s(record, streamed_tokens)
        metrics.observe(record, between_tokens_s)
        if access.isEnabledFor(logging.INFO):
            write_access_line(record)
        if otlp_metrics.is_on():
            otlp_metrics.observe(record, between_tokens_s)
        if tracing.is_on():
            tracing.finish(record)
    except Exception:  # whatever it is, the answer is good and recorded
        log.exception("the end of %s could not be reported", record.request_id)


def unrecorded(request: Underway, method: str, path: str, status: int, *, counts: bool) -> None:
    """A request of the API has ended that has no record: it asked no model, or was refused before it was known whose it is.

    Refusals of strangers become counts and lines, never rows: with rows, whoever has no key could fill the table. `counts`: its
    error is to be counted.
    """
    try:
        if counts and request.refusal is not None:
            metrics.refused(*request.refusal)
        if access.isEnabledFor(logging.INFO):
            _write_unrecorded_line(request, method, path, status)
    except Exception:  # whatever it is, the answer has been sent
        log.exception("the end of %s could not be reported", request.request_id)


def _write_unrecorded_line(request: Underway, method: str, path: str, status: int) -> None:
    fields = {
        "request_id": request.request_id,
        "status": status,
        "ms": int((time.monotonic() - request.started) * 1000),
        "error_type": request.refusal[1] if request.refusal else None,
        "error_domain": request.refusal[0] if request.refusal else None,
        "client": request.address or None,
        "caller_request_id": request.caller_id,
    }
    told = {name: value for name, value in fields.items() if value is not None}
    access.info("%s %s", method, path[:PATH_CHARACTERS], extra={"fields": told})


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
        "error_domain": record.error_domain,
        "client": request.address if request else None,
        "caller_request_id": request.caller_id if request else None,
    }
    access.info(
        "%s %s",
        record.endpoint,
        "stream" if record.stream else "whole",
        extra={"fields": {name: value for name, value in fields.items() if value is not None and value != ""}},
    )
