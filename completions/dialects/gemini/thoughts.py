"""Thoughts and their signatures: Google's `thought` and `thoughtSignature` as `reasoning_details`, and back. Pure.

A thought is a `reasoning.text`, with its `signature` where it has one. A signature on anything else is a
`reasoning.encrypted`, whose `id` says on what: the tool call of that id, `image_<n>` for the n-th image of the message, or
nothing for its text. That is how OpenRouter sends Gemini's (observed 2026), so histories may move between the two. A call
that Google ran itself is a `reasoning.server_tool_call`, with the part as it was in `arguments` or `result`. What another
maker's model thought (`format` of another name) is not sent: Google cannot read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from completions.dialects.base import JSON
from gateway_project.errors import InvalidRequest

FORMAT = "google-gemini-v1"
UNSIGNED = "skip_thought_signature_validator"


def thought(text: str, signature: str | None, index: int) -> JSON:
    """A thought as an item of `reasoning_details`."""
    detail: JSON = {"type": "reasoning.text", "text": text, "format": FORMAT, "index": index}
    if signature:
        detail["signature"] = signature
    return detail


def signed(signature: str, index: int, on: str | None = None) -> JSON:
    """A signature as an item of `reasoning_details`; `on` is the id of what carried it, None for text."""
    detail: JSON = {"type": "reasoning.encrypted", "data": signature, "format": FORMAT, "index": index}
    if on is not None:
        detail["id"] = on
    return detail


def server_tool(part: Mapping[str, Any], index: int) -> JSON:
    """A `toolCall` or `toolResponse` part as an item of `reasoning_details`.

    Google wants both back as they were (ai.google.dev/gemini-api/docs/tool-combination, 2026).
    """
    is_call = "toolCall" in part
    ran = part["toolCall" if is_call else "toolResponse"]
    written = orjson.dumps(part).decode()
    detail: JSON = {
        "type": "reasoning.server_tool_call",
        "tool_name": ran.get("toolType") or "",
        "format": FORMAT,
        "index": index,
    }
    if ran.get("id"):
        detail["tool_call_id"] = ran["id"]
    return detail | {"arguments": written if is_call else "", "result": "" if is_call else written}


def image_id(position: int) -> str:
    """How a signature refers to the image at `position` of its message."""
    return f"image_{position}"


def ours(details: Any) -> list[JSON]:
    """The items of `details` that came from Google."""
    return [detail for detail in details or () if isinstance(detail, dict) and detail.get("format") == FORMAT]


def spoken(details: Iterable[JSON]) -> list[JSON]:
    """The thoughts in `details`, and the calls Google ran between them, as parts."""
    parts = []
    for detail in details:
        if detail.get("type") == "reasoning.server_tool_call":
            parts.append(_as_it_was(detail))
        elif detail.get("type") == "reasoning.text":
            part: JSON = {"text": detail.get("text") or "", "thought": True}
            if detail.get("signature"):
                part["thoughtSignature"] = detail["signature"]
            parts.append(part)
    return parts


def _as_it_was(detail: Mapping[str, Any]) -> JSON:
    try:
        part = orjson.loads(detail.get("arguments") or detail.get("result") or "")
    except orjson.JSONDecodeError:
        part = None
    if not isinstance(part, dict):
        raise InvalidRequest("reasoning_details: a reasoning.server_tool_call was changed; send it back as it came")
    return part


def sign(texts: list[JSON], calls: list[JSON], images: list[JSON], details: Iterable[JSON]) -> list[JSON]:
    """All parts of a message in order (texts, images, calls), each with the signature in `details` that is its own.

    Signatures of the text go to its last part, earlier ones to empty parts before it. Where there is no text, and none of
    the calls has found a signature, the calls take them in order: some clients give calls new ids.
    """
    carriers = {part["functionCall"]["id"]: part for part in calls}
    carriers |= {image_id(position): part for position, part in enumerate(images)}
    loose: list[str] = []
    for detail in details:
        if detail.get("type") != "reasoning.encrypted" or not detail.get("data"):
            continue
        carrier = carriers.get(detail.get("id") or "")
        if carrier is None or "thoughtSignature" in carrier:
            loose.append(detail["data"])
        else:
            carrier["thoughtSignature"] = detail["data"]
    if texts and loose:
        texts[-1]["thoughtSignature"] = loose.pop()
    elif not texts and not any("thoughtSignature" in call for call in calls):
        for call in calls[: len(loose)]:
            call["thoughtSignature"] = loose.pop(0)
    return [{"text": "", "thoughtSignature": signature} for signature in loose] + texts + images + calls
