"""What OpenAI-compatible providers count, as disjoint token classes. Pure.

OpenAI counts everything inside `prompt_tokens` and `completion_tokens`, and tells in `…_details` which part of them was
cached, heard, spoken or thought. The others (read November 2026):

- DeepSeek tells cache hits as `prompt_cache_hit_tokens`, inside `prompt_tokens` (api-docs.deepseek.com/guides/kv_cache).
- Moonshot tells them as `cached_tokens` (platform.moonshot.ai/docs/api/chat).
- OpenRouter adds `cache_write_tokens` to `prompt_tokens_details`, others call it `cache_creation_tokens`.
- xAI counts reasoning beside `completion_tokens` instead of inside (docs.x.ai, "consumption and rate limits"; seen live:
  prompt 12, completion 1, reasoning 386, total 399, github.com/vercel/ai/pull/12425, February 2026). Only the total tells.
- Perplexity tells `num_search_queries`, OpenRouter `server_tool_use.web_search_requests`: both are billed per search.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounting.usage import Usage

_EMPTY: Mapping[str, Any] = {}
_PLAIN = frozenset(
    {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"}
)


def usage(reported: Any) -> Usage | None:
    """The classes of `reported`, None where it is no `usage` object. A share never exceeds what it is a share of."""
    if not isinstance(reported, dict) or not ("prompt_tokens" in reported or "completion_tokens" in reported):
        return None
    prompt, completion = _count(reported, "prompt_tokens"), _count(reported, "completion_tokens")
    details, output = _details(reported, "prompt_tokens_details"), _details(reported, "completion_tokens_details")
    if not details and not output and reported.keys() <= _PLAIN:
        return Usage(prompt_uncached=prompt, completion_text=completion)
    cached = (
        _count(details, "cached_tokens") or _count(reported, "prompt_cache_hit_tokens") or _count(reported, "cached_tokens")
    )
    cached = min(cached, prompt)
    written = min(_count(details, "cache_write_tokens") or _count(details, "cache_creation_tokens"), prompt - cached)
    audio_in = min(_count(details, "audio_tokens"), prompt - cached - written)
    image_in = min(_count(details, "image_tokens"), prompt - cached - written - audio_in)
    reasoning = _count(output, "reasoning_tokens")
    if reasoning > completion or (reasoning and _count(reported, "total_tokens") == prompt + completion + reasoning):
        completion += reasoning
    audio_out = min(_count(output, "audio_tokens"), completion - reasoning)
    image_out = min(_count(output, "image_tokens"), completion - reasoning - audio_out)
    return Usage(
        prompt_uncached=prompt - cached - written - audio_in - image_in,
        cache_read=cached,
        cache_write=written,
        prompt_audio=audio_in,
        prompt_image=image_in,
        completion_text=completion - reasoning - audio_out - image_out,
        reasoning=reasoning,
        completion_audio=audio_out,
        completion_image=image_out,
        web_searches=_searches(reported),
    )


def _searches(reported: Mapping[str, Any]) -> int:
    ran = _details(reported, "server_tool_use_details") or _details(reported, "server_tool_use")
    return _count(reported, "num_search_queries") or _count(ran, "web_search_requests")


def _details(reported: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = reported.get(key)
    return value if isinstance(value, dict) else _EMPTY


def _count(counts: Mapping[str, Any], key: str) -> int:
    value = counts.get(key)
    return value if isinstance(value, int) and value > 0 else 0
