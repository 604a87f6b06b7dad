"""Statistics as JSON: what `GET /stats` publishes. Pure; money becomes a number in the last step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from accounting.statistics import Figures, GroupBy, Summary

_COUNTED = ("requests", "successes", "errors", "refusals", "cancelled", "fallbacks", "estimated", "streams")
_TOKENS = {
    "prompt": "prompt_tokens",
    "completion": "completion_tokens",
    "reasoning": "reasoning_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "audio": "audio_tokens",
    "image": "image_tokens",
    "total": "total_tokens",
}
"""Published token classes. `prompt` and `completion` are whole; the others are parts of them."""


def published(summary: Summary, group_by: GroupBy | None = None) -> dict[str, Any]:
    """`summary` with the hours it is of, from `since` and before `until`, and `groups` where it was grouped."""
    body: dict[str, Any] = {
        "since": _moment(summary.scope.start),
        "until": _moment(summary.scope.end),
        "total": figures(summary.total),
    }
    if group_by is not None:
        body["group_by"] = group_by.value
        body["groups"] = [
            {name: _moment(label) if isinstance(label, datetime) else label for name, label in group.labels.items()}
            | figures(group.figures)
            for group in summary.groups
        ]
    return body


def figures(of: Figures) -> dict[str, Any]:
    """One set of figures. Null stands for what cannot be said of no requests."""
    sums = of.sums
    return {
        **{name: getattr(sums, name) for name in _COUNTED},
        "success_rate": _rounded(of.success_rate, 6),
        "failure_rate": _rounded(of.failure_rate, 6),
        "errors_by_type": dict(sums.error_types.most_common()),
        "tokens": {name: getattr(sums, column) for name, column in _TOKENS.items()},
        "cost_usd": float(sums.cost_usd),
        "savings_usd": float(of.savings_usd),
        "latency_ms": {name: _rounded(value, 1) for name, value in of.latency_ms.items()},
        "ttft_ms": {name: _rounded(value, 1) for name, value in of.ttft_ms.items()},
        "tokens_per_second": _rounded(of.tokens_per_second, 2),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
