"""Anthropic's `usage` as disjoint classes of tokens. Pure.

Differs from OpenAI in: `input_tokens` excludes what was read from and written to the cache; writes are split by lifetime;
`output_tokens` includes thinking, whose share is told only in `output_tokens_details` (since 2026). In a stream
`message_start` and each `message_delta` carry counts that are cumulative.
"""

from __future__ import annotations

from typing import Any

from accounting.usage import Usage
from completions.dialects.base import JSON

_TOLD_BESIDE = ("service_tier", "speed", "inference_geo")


def merged(earlier: JSON, later: Any) -> JSON:
    """Both reports in one. The counts are cumulative, so the greater one is the later one."""
    result = dict(earlier)
    for key, value in later.items() if isinstance(later, dict) else ():
        before = result.get(key)
        if isinstance(value, dict):
            result[key] = merged(before if isinstance(before, dict) else {}, value)
        elif _is_count(value) and _is_count(before):
            result[key] = max(before, value)
        elif value is not None:
            result[key] = value
    return result


def usage(reported: Any) -> Usage | None:
    """The tokens of an answer, None where none were reported."""
    if not isinstance(reported, dict) or not ("input_tokens" in reported or "output_tokens" in reported):
        return None
    lifetimes = _object(reported, "cache_creation")
    written_1h = _count(lifetimes, "ephemeral_1h_input_tokens")
    written = max(
        _count(reported, "cache_creation_input_tokens"),
        written_1h + _count(lifetimes, "ephemeral_5m_input_tokens"),
    )
    output = _count(reported, "output_tokens")
    reasoning = min(output, _count(_object(reported, "output_tokens_details"), "thinking_tokens"))
    return Usage(
        prompt_uncached=_count(reported, "input_tokens"),
        cache_read=_count(reported, "cache_read_input_tokens"),
        cache_write=written - written_1h,
        cache_write_1h=written_1h,
        completion_text=output - reasoning,
        reasoning=reasoning,
        web_searches=_count(_object(reported, "server_tool_use"), "web_search_requests"),
    )


def told_beside(reported: Any) -> JSON:
    """What the report says beside counts: how the request was served. It decides the price, so it is kept."""
    if not isinstance(reported, dict):
        return {}
    return {key: reported[key] for key in _TOLD_BESIDE if isinstance(reported.get(key), str)}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(counts: JSON, key: str) -> int:
    value = counts.get(key)
    return value if isinstance(value, int) and value > 0 else 0


def _object(counts: JSON, key: str) -> JSON:
    value = counts.get(key)
    return value if isinstance(value, dict) else {}
