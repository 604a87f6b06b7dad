"""The OpenAI dialect: Chat Completions, as OpenAI and everyone compatible with it speak it.

The canonical form is this dialect plus OpenRouter's additions, so a request passes through with `model`, `stream` and
`stream_options` rewritten and OpenRouter's own fields taken out. Where a provider differs, a flag of its row says so
(`catalog.entries.Quirks`); `completions.dialects.openai_request` applies them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import orjson

from accounting.usage import Usage
from catalog.entries import AdapterEntry, DialectName, ProviderEntry
from completions.dialects import openai_request
from completions.dialects.base import (
    JSON,
    Chunk,
    Completion,
    Dialect,
    Encoded,
    EventStreamDecoder,
    classify,
    parse_json,
    retry_after,
)
from gateway_project.errors import ProviderError, ProviderUnavailable

FINISH_REASONS = {
    "stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter", "error": "error",
    # Legacy OpenAI; Mistral (length of the model's context); Together and Fireworks; vLLM on abort.
    "function_call": "tool_calls", "model_length": "length", "eos": "stop", "abort": "error",
    "max_tokens": "length", "end_turn": "stop", "tool_use": "tool_calls", "insufficient_system_resource": "error",
}  # fmt: skip
_OWN_KEYS = frozenset({"id", "object", "created", "model", "provider", "choices", "usage", "error"})
_DELTA_KEYS = frozenset(
    {"role", "content", "reasoning", "reasoning_content", "reasoning_details", "tool_calls", "function_call"}
)


class OpenAI(Dialect):
    name: ClassVar[DialectName] = DialectName.OPENAI

    def path(self, adapter: AdapterEntry, *, stream: bool) -> str:
        version = adapter.provider.quirks.api_version
        return "/chat/completions" + (f"?api-version={quote(version)}" if version else "")

    def headers(self, provider: ProviderEntry, secret: str | None) -> dict[str, str]:
        headers = {"content-type": "application/json", **provider.extra_headers}
        if secret:
            name = provider.quirks.auth_header.lower()
            headers[name] = f"Bearer {secret}" if name == "authorization" else secret
        return headers

    def encode(self, chat: Mapping[str, Any], adapter: AdapterEntry, *, stream: bool) -> Encoded:
        return Encoded(orjson.dumps(openai_request.build(chat, adapter, stream=stream)))

    def decode(self, body: bytes, adapter: AdapterEntry) -> Completion:
        answer = parse_json(body, "an answer")
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices:
            raise _error_inside(answer, body) or ProviderUnavailable(
                "Provider sent an answer without choices", raw=_text(body)
            )
        return Completion(
            choices=[_choice(choice, "message") for choice in choices],
            usage=usage(answer.get("usage")),
            upstream_id=_word(answer.get("id")),
            extra={key: value for key, value in answer.items() if key not in _OWN_KEYS and value is not None},
        )

    def decoder(self, adapter: AdapterEntry) -> OpenAIDecoder:
        return OpenAIDecoder()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        try:
            parsed = orjson.loads(body)
        except orjson.JSONDecodeError:
            parsed = None
        message, code = _message(parsed)
        return classify(
            status, message or f"Provider answered {status}", raw=_text(body), code=code, retry_after_s=retry_after(headers)
        )


class OpenAIDecoder(EventStreamDecoder):
    """Chunks of one stream. Finished at `[DONE]` or, since some servers never send it, once a finish reason was seen."""

    def on_event(self, name: bytes, data: bytes) -> Chunk | None:
        if data == b"[DONE]":
            self.is_finished = self.is_done = True
            return None
        event = self.parse(data)
        if event is None:
            return None
        if (error := _error_inside(event, data)) is not None:
            raise error
        choices = [_choice(choice, "delta") for choice in event.get("choices") or ()]
        for choice in choices:
            if choice["finish_reason"] is not None:
                self.is_finished = True
        chunk = Chunk(choices, upstream_id=_word(event.get("id")))
        if (counts := event.get("usage")) is not None:
            chunk.usage = usage(counts)
        for key, value in event.items():
            if key not in _OWN_KEYS and value is not None:
                chunk.extra[key] = value
        return chunk


def usage(reported: Any) -> Usage | None:
    """Disjoint classes from OpenAI's `usage`, where `prompt_tokens` contains what was cached.

    DeepSeek reports cache hits as `prompt_cache_hit_tokens` (api-docs.deepseek.com, read November 2026), Moonshot as
    `cached_tokens`, OpenRouter adds `cache_write_tokens`. xAI counts reasoning beside `completion_tokens` instead of inside:
    then, and only then, the total is the sum of all three.
    """
    if not isinstance(reported, dict):
        return None
    prompt = _count(reported, "prompt_tokens")
    completion = _count(reported, "completion_tokens")
    details = reported.get("prompt_tokens_details") or {}
    output = reported.get("completion_tokens_details") or {}
    cached = (
        _count(details, "cached_tokens") or _count(reported, "prompt_cache_hit_tokens") or _count(reported, "cached_tokens")
    )
    written = _count(details, "cache_write_tokens") or _count(details, "cache_creation_tokens")
    audio_in = _count(details, "audio_tokens")
    reasoning = _count(output, "reasoning_tokens")
    audio_out = _count(output, "audio_tokens")
    image_out = _count(output, "image_tokens")
    if reasoning and _count(reported, "total_tokens") == prompt + completion + reasoning:
        completion += reasoning
    return Usage(
        prompt_uncached=max(0, prompt - cached - written - audio_in),
        cache_read=cached,
        cache_write=written,
        prompt_audio=audio_in,
        completion_text=max(0, completion - reasoning - audio_out - image_out),
        reasoning=reasoning,
        completion_audio=audio_out,
        completion_image=image_out,
    )


def _count(counts: JSON, key: str) -> int:
    value = counts.get(key)
    return value if isinstance(value, int) and value > 0 else 0


def _choice(choice: JSON, part: str) -> JSON:
    """A choice in canonical form, whether its `part` is a `delta` or a `message`."""
    said = choice.get(part) or {}
    native = choice.get("finish_reason")
    content = said.get("content")
    message: JSON = {"role": "assistant", "content": content if part == "message" else content or ""}
    if reasoning := said.get("reasoning") or said.get("reasoning_content"):
        message["reasoning"] = reasoning
        message["reasoning_details"] = said.get("reasoning_details") or [
            {"type": "reasoning.text", "text": reasoning, "format": "unknown", "index": 0}
        ]
    elif details := said.get("reasoning_details"):
        message["reasoning_details"] = details
    if calls := said.get("tool_calls"):
        message["tool_calls"] = [_tool_call(call, position, part) for position, call in enumerate(calls)]
    elif call := said.get("function_call"):
        message["tool_calls"] = [_tool_call({"index": 0, "function": call}, 0, part)]
    for key, value in said.items():
        if key not in _DELTA_KEYS and value is not None:
            message[key] = value
    result: JSON = {
        "index": choice.get("index") or 0,
        part: message,
        "finish_reason": FINISH_REASONS.get(native, "stop") if native else None,
        "native_finish_reason": native,
    }
    if (logprobs := choice.get("logprobs")) is not None:
        result["logprobs"] = logprobs
    return result


def _tool_call(call: JSON, position: int, part: str) -> JSON:
    """A tool call without nulls. In streams only the first fragment has an id, a type and a name (openrouter.md 9.1)."""
    function = {key: value for key, value in (call.get("function") or {}).items() if value is not None}
    if not isinstance(function.get("arguments", ""), str):  # Ollama before 0.5 and others send an object.
        function["arguments"] = orjson.dumps(function["arguments"]).decode()
    index = call.get("index")
    result: JSON = {"index": position if index is None else index}
    if call.get("id"):
        result["id"] = call["id"]
    if part == "message" or function.get("name"):
        result["type"] = "function"
        function.setdefault("arguments", "")
        result.setdefault("id", f"call_{position}")
    result["function"] = function
    for key, value in call.items():
        if key not in ("index", "id", "type", "function") and value is not None:
            result[key] = value
    return result


def _error_inside(event: JSON, data: bytes) -> ProviderError | None:
    """The error that a 200 answer or a stream event carries, None if it carries none."""
    if event.get("error") is None and event.get("object") != "error":
        return None
    message, code = _message(event)
    status = int(code) if code and code.isdigit() and 400 <= int(code) < 600 else 502
    return classify(status, message or "Provider sent an error inside its answer", raw=_text(data), code=code)


def _message(body: Any) -> tuple[str, str | None]:
    """Message and code from the shapes in use: {"error": {message, code|type}}, {"error": "…"}, {"message"}, {"detail"}, [..]."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return "", None
    error = body.get("error", body)
    if isinstance(error, str):
        return error, None
    if not isinstance(error, dict):
        return "", None
    code = error.get("code") or error.get("type")
    message = error.get("message") or error.get("detail") or body.get("message") or body.get("detail") or ""
    return message if isinstance(message, str) else orjson.dumps(message).decode(), str(code) if code else None


def _text(body: bytes) -> str:
    return body[:8000].decode("utf-8", "replace").strip()


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None
