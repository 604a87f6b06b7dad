"""Google's `usageMetadata` as `Usage`. Pure.

`promptTokenCount` contains what was cached, `candidatesTokenCount` contains neither thoughts nor the prompt, and
`toolUsePromptTokenCount` (what Google's own tools brought in) comes on top and is billed as input: the total is the sum of
the four (google-genai 3.4.0, `GenerateContentResponseUsageMetadata`, November 2026).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounting.usage import Usage


def usage(reported: Mapping[str, Any] | None, web_searches: int = 0) -> Usage | None:
    """Disjoint token classes, None if nothing was reported."""
    if not reported:
        return None
    prompt, cached = _count(reported, "promptTokenCount"), _count(reported, "cachedContentTokenCount")
    tools, thoughts = _count(reported, "toolUsePromptTokenCount"), _count(reported, "thoughtsTokenCount")
    answer = _count(reported, "candidatesTokenCount")
    if "candidatesTokenCount" not in reported:
        # Left out of early chunks and of some image answers, while the total already counts it (observed 2026).
        answer = max(0, _count(reported, "totalTokenCount") - prompt - tools - thoughts)
    audio_in = _of("AUDIO", reported, "promptTokensDetails") + _of("AUDIO", reported, "toolUsePromptTokensDetails")
    cached = min(cached, prompt + tools)
    cached_audio = min(cached, _of("AUDIO", reported, "cacheTokensDetails"))
    audio_in = min(max(0, audio_in - cached_audio), prompt + tools - cached)
    image_in = _of("IMAGE", reported, "promptTokensDetails") + _of("IMAGE", reported, "toolUsePromptTokensDetails")
    image_in = max(0, image_in - _of("IMAGE", reported, "cacheTokensDetails"))
    image_in = min(image_in, prompt + tools - cached - audio_in)
    audio_out = min(answer, _of("AUDIO", reported, "candidatesTokensDetails"))
    image_out = min(answer - audio_out, _of("IMAGE", reported, "candidatesTokensDetails"))
    return Usage(
        prompt_uncached=prompt + tools - cached - audio_in - image_in,
        cache_read=cached - cached_audio,
        cache_read_audio=cached_audio,
        prompt_audio=audio_in,
        prompt_image=image_in,
        completion_text=answer - audio_out - image_out,
        reasoning=thoughts,
        completion_audio=audio_out,
        completion_image=image_out,
        web_searches=web_searches,
    )


def _count(counts: Mapping[str, Any], key: str) -> int:
    value = counts.get(key)
    return value if isinstance(value, int) and value > 0 else 0


def _of(modality: str, reported: Mapping[str, Any], key: str) -> int:
    return sum(_count(item, "tokenCount") for item in reported.get(key) or () if item.get("modality") == modality)
