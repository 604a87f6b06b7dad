"""Messages of a canonical request as an OpenAI-compatible provider takes them. Pure. The rules are in the package's docstring."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from catalog.entries import Quirks
from completions.dialects.base import JSON
from completions.dialects.openai import reasoning
from gateway_project.errors import InvalidRequest

_LEFT_OUT = frozenset({"reasoning", "reasoning_content", "reasoning_details", "annotations", "model", "images"})
_MARKERS = ("cache_control", "prompt_cache_breakpoint")
_MESSAGE_FIELDS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio", "function_call"})
_SAID = frozenset({"role", "content"})
_PLAIN_ROLES = frozenset({"system", "user"})
_CALL_FIELDS = frozenset({"id", "type", "function", "custom"})
_NAME = "messages[].name"
"""How `field_names` speaks of the name in messages, which Groq refuses."""


def build(messages: Sequence[JSON], quirks: Quirks) -> list[JSON]:
    """All of `messages`. Raises `InvalidRequest` naming the part that the provider cannot take."""
    has_tools = any(message.get("tool_calls") for message in messages)
    return [
        _message(message, f"messages[{position}]", quirks, has_tools=has_tools) for position, message in enumerate(messages)
    ]


def _message(message: JSON, field: str, quirks: Quirks, *, has_tools: bool) -> JSON:
    role, content = message["role"], message.get("content")
    if role in _PLAIN_ROLES and message.keys() <= _SAID and isinstance(content, str):
        return message  # Most messages: there is nothing to change.
    changed = {key: value for key, value in message.items() if value is not None and key not in _LEFT_OUT}
    if not quirks.accepts_cache_control:
        for marker in _MARKERS:
            changed.pop(marker, None)
    if role == "developer" and not quirks.accepts_developer_role:
        changed["role"] = "system"
    if quirks.field_names.get(_NAME, "name") is None:
        changed.pop("name", None)
    if calls := message.get("tool_calls"):
        changed["tool_calls"] = [_call(call, quirks) for call in calls]
    if quirks.tool_call_id_length and message.get("tool_call_id"):
        changed["tool_call_id"] = _call_id(message["tool_call_id"], quirks.tool_call_id_length)
    if isinstance(content, list):
        changed["content"] = _content(content, f"{field}.content", quirks)
    if not quirks.accepts_unknown_fields:
        changed = {key: value for key, value in changed.items() if key in _MESSAGE_FIELDS or key in _MARKERS}
    if role == "assistant":
        _speak(changed, message, quirks, has_tools=has_tools)
    return changed


def _speak(changed: JSON, message: JSON, quirks: Quirks, *, has_tools: bool) -> None:
    """What is particular to the assistant's own messages."""
    reasoning.echo(changed, message, quirks, has_tools=has_tools)
    if message.get("content") is None:
        changed["content"] = None if quirks.accepts_null_content else ""
    if isinstance(audio := message.get("audio"), dict) and audio.get("id"):
        changed["audio"] = {"id": audio["id"]}


def _call(call: JSON, quirks: Quirks) -> JSON:
    known = {key: value for key, value in call.items() if key != "index" and value is not None}
    if not quirks.accepts_unknown_fields:
        known = {key: value for key, value in known.items() if key in _CALL_FIELDS}
    known.setdefault("type", "function")
    if quirks.tool_call_id_length and known.get("id"):
        known["id"] = _call_id(known["id"], quirks.tool_call_id_length)
    if function := known.get("function"):
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else orjson.dumps(arguments or {}).decode()
        known["function"] = {**function, "arguments": text}
    return known


def _call_id(identifier: str, length: int) -> str:
    """`identifier` as exactly `length` letters and digits: itself if it is so, else a digest of it.

    Mistral answers 400 "Tool call id was … but must be a-z, A-Z, 0-9, with a length of 9" to other providers' ids, which a
    conversation brings along when it moves (seen from 2024 to 2026, e.g. github.com/nearai/ironclaw/issues/1241).
    """
    if len(identifier) == length and identifier.isascii() and identifier.isalnum():
        return identifier
    return hashlib.blake2b(identifier.encode(), digest_size=32).hexdigest()[:length]


def _content(content: list[JSON], field: str, quirks: Quirks) -> str | list[JSON]:
    if quirks.accepts_content_parts:
        return [_part(part, quirks) for part in content]
    for position, part in enumerate(content):
        if part["type"] != "text":
            raise InvalidRequest(
                f"{field}[{position}].type is {part['type']!r}; this provider takes text only. Send text, or choose another."
            )
    return "\n".join(part["text"] for part in content)


def _part(part: JSON, quirks: Quirks) -> JSON:
    if not quirks.accepts_cache_control and ("cache_control" in part or "prompt_cache_breakpoint" in part):
        part = {key: value for key, value in part.items() if key not in _MARKERS}
    kind = part["type"]
    if kind == "input_video":
        part = {**part, "type": "video_url"}
    for key in ("image_url", "video_url"):
        if isinstance(url := part.get(key), str):
            part = {**part, key: {"url": url}}
    return part


def asks_in_words(messages: list[JSON], schema: Any) -> list[JSON]:
    """`messages` with an instruction to answer in JSON that follows `schema`, after the leading system messages."""
    words = (
        "Answer with a single valid JSON object and nothing else: no explanation and no code fence. "
        f"It must follow this JSON Schema:\n{orjson.dumps(schema).decode()}"
    )
    place = next((i for i, message in enumerate(messages) if message["role"] not in ("system", "developer")), len(messages))
    return [*messages[:place], {"role": "system", "content": words}, *messages[place:]]
