"""What every answer must look like, whatever it says (openrouter.md 2, 3, 4.1 and 9.1). Each function asserts."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

GENERATION_ID = re.compile(r"gen-(\d{10})-[A-Za-z0-9]{20}")
NEVER_NULL = {
    "reasoning_details", "tool_calls", "images", "annotations", "usage", "error", "metadata", "cost", "id", "model",
    "provider", "role", "type", "name", "arguments", "is_byok", "cached_tokens", "reasoning_tokens", "cost_details",
}  # fmt: skip
FINISH_REASONS = {"stop", "length", "tool_calls", "content_filter", "error"}
USAGE_PARTS = {
    "prompt_tokens_details": {"cached_tokens", "cache_write_tokens", "audio_tokens", "video_tokens"},
    "cost_details": {
        "upstream_inference_cost",
        "upstream_inference_prompt_cost",
        "upstream_inference_completions_cost",
    },
    "completion_tokens_details": {"reasoning_tokens", "image_tokens", "audio_tokens"},
}

ALWAYS_READABLE = {
    "cache-control",
    "content-language",
    "content-length",
    "content-type",
    "expires",
    "last-modified",
    "pragma",
}
"""The response headers that browsers show to any script (CORS-safelisted, fetch.spec.whatwg.org)."""
NO_SCRIPTS_BUSINESS = {
    "connection",
    "date",
    "server",
    "transfer-encoding",
    "vary",
    "x-accel-buffering",
    "x-content-type-options",
}


def is_readable_by_browsers(headers: Mapping[str, str]) -> None:
    """A script of another site may read the answer, and each of its headers that says something to clients."""
    assert headers["access-control-allow-origin"] == "*"
    assert headers["x-content-type-options"] == "nosniff"
    exposed = {name.strip().lower() for name in headers["access-control-expose-headers"].split(",")}
    told = {name.lower() for name in headers if not name.lower().startswith("access-control-")}
    assert told - ALWAYS_READABLE - NO_SCRIPTS_BUSINESS <= exposed


def is_generation_id(value: str) -> None:
    found = GENERATION_ID.fullmatch(value)
    assert found, value
    assert abs(int(found[1]) - time.time()) < 60


def has_no_forbidden_null(value: Any, path: str = "$") -> None:
    """Rule 2: optional things are left out, never null."""
    if isinstance(value, dict):
        for key, inner in value.items():
            assert inner is not None or key not in NEVER_NULL, f"{path}.{key} is null"
            has_no_forbidden_null(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            has_no_forbidden_null(inner, f"{path}[{position}]")


def is_usage(usage: dict[str, Any]) -> None:
    """Rule 6: complete, numbers everywhere, and sums that add up."""
    assert set(usage) >= {"prompt_tokens", "completion_tokens", "total_tokens", "cost", "is_byok", *USAGE_PARTS}
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["is_byok"] is False
    assert isinstance(usage["cost"], float | int)
    for part, keys in USAGE_PARTS.items():
        assert set(usage[part]) >= keys
        assert all(isinstance(usage[part][key], float | int) for key in keys), usage[part]
    details = usage["cost_details"]
    parts = details["upstream_inference_prompt_cost"] + details["upstream_inference_completions_cost"]
    assert abs(parts - usage["cost"]) < 1e-12


def is_chat(body: dict[str, Any]) -> None:
    """A whole answer."""
    assert set(body) >= {"id", "object", "created", "model", "provider", "system_fingerprint", "choices", "usage"}, body
    is_generation_id(body["id"])
    assert body["object"] == "chat.completion"
    assert abs(body["created"] - time.time()) < 60
    assert "error" not in body
    has_no_forbidden_null(body)
    for choice in body["choices"]:
        assert set(choice) >= {"index", "message", "finish_reason", "native_finish_reason", "logprobs"}
        assert choice["finish_reason"] in FINISH_REASONS
        assert choice["message"]["role"] == "assistant"
        assert set(choice["message"]) >= {"content", "refusal", "reasoning"}
    is_usage(body["usage"])


def is_chunk(chunk: dict[str, Any]) -> None:
    """One event of a stream, error chunks included."""
    assert set(chunk) >= {"id", "object", "created", "model", "provider", "choices"}
    assert chunk["object"] == "chat.completion.chunk"
    assert isinstance(chunk.get("system_fingerprint", ""), str)
    has_no_forbidden_null(chunk)
    for choice in chunk["choices"]:
        assert set(choice) >= {"index", "delta", "finish_reason", "native_finish_reason"}
        assert choice["finish_reason"] in FINISH_REASONS | {None}
        assert choice["delta"]["role"] == "assistant"
        assert isinstance(choice["delta"]["content"], str)


def is_stream(chunks: list[dict[str, Any]]) -> None:
    """All events of a stream that went well, `[DONE]` left out: one id, usage once and last, the finish repeated there."""
    for chunk in chunks:
        is_chunk(chunk)
        assert "error" not in chunk
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["provider"]) for chunk in chunks}) == 1
    is_generation_id(chunks[0]["id"])
    assert ["usage" in chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    is_usage(chunks[-1]["usage"])
    finishes = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert finishes
    assert [choice["finish_reason"] for choice in chunks[-1]["choices"]] == finishes[-len(chunks[-1]["choices"]) :]


def is_error(body: dict[str, Any], status: int, error_type: str) -> dict[str, Any]:
    """The envelope of an error. Gives its `error`."""
    error: dict[str, Any] = body["error"]
    assert error["code"] == status
    assert isinstance(error["code"], int)
    assert error["message"]
    assert error["metadata"]["error_type"] == error_type
    has_no_forbidden_null(body)
    return error
