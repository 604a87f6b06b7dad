"""Request logs as lines of text, newest last, for `manage.py viewlogs`."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from accounting.models import RequestLog, RequestLogQuerySet

POLL_S = 1.0
OVERLAP_IDS = 1000
"""How far back to look again: transactions do not become visible in the order of the ids they took."""


def with_status(logs: RequestLogQuerySet, status: str) -> RequestLogQuerySet:
    """Those of a status (`429`), of a class of them (`5xx`), or of `ok` or `failed`. Raises `ValueError` otherwise."""
    if status == "failed":
        return logs.failed()
    if status == "ok":
        return logs.filter(status_code__lt=400)
    if re.fullmatch(r"[1-5]xx", status):
        return logs.filter(status_code__gte=int(status[0]) * 100, status_code__lt=int(status[0]) * 100 + 100)
    if re.fullmatch(r"[1-5]\d\d", status):
        return logs.filter(status_code=int(status))
    raise ValueError(f"{status!r} is not a status; use e.g. 429, 5xx, ok or failed")


def line(log: RequestLog) -> str:
    """One request in one line."""
    ttft = f" (first token {log.ttft_ms} ms)" if log.ttft_ms is not None else ""
    words = [
        f"{log.timestamp:%Y-%m-%d %H:%M:%S}",
        str(log.status_code) + ("~" if log.is_cancelled else ""),
        log.model_id or log.requested_model or "-",
        f"at {log.provider}" if log.provider else "at nobody",
        f"{log.prompt_tokens}+{log.completion_tokens} tokens" + (" (estimated)" if log.is_estimated else ""),
        f"{log.latency_ms} ms{ttft}",
        f"${log.cost_usd.normalize():f}",
        log.request_id,
    ]
    if log.error_type or log.error:
        words.append(f"{log.error_type or 'error'}: {' '.join((log.error or '').split())[:200]}")
    return "  ".join(words)


def latest(logs: RequestLogQuerySet, limit: int) -> list[RequestLog]:
    """The last `limit` requests, oldest first. Prompts and answers are not fetched."""
    return list(reversed(logs.defer("prompt", "response", "plan", "attempts").order_by("-timestamp", "-pk")[:limit]))


def follow(logs: RequestLogQuerySet, limit: int) -> Iterator[RequestLog]:
    """The last `limit` requests, then every new one as it is written, for ever."""
    newest = RequestLog.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    # What is older than the first page is not new, even where this sees it for the first time.
    seen = set(logs.filter(pk__gt=newest - OVERLAP_IDS).values_list("pk", flat=True))
    yield from latest(logs.filter(pk__lte=newest), limit)
    while True:
        fresh = [log for log in logs.filter(pk__gt=newest - OVERLAP_IDS).order_by("pk") if log.pk not in seen]
        yield from fresh
        seen.update(log.pk for log in fresh)
        newest = max([newest, *seen])
        seen = {pk for pk in seen if pk > newest - OVERLAP_IDS}
        time.sleep(POLL_S)
