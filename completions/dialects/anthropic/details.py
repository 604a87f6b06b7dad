"""Reasoning both ways: Anthropic's blocks as OpenRouter's `reasoning_details`, and back as they were. Pure.

Anthropic checks the blocks it is sent again: a thinking block must come back unchanged with its signature, and newer models
bind it to what stood before it (platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting, read November
2026). So a block that came after some of the answer's text carries the number of those characters in its `id`
(`after-12`), and is put back there. Calls of Anthropic's own tools travel as `reasoning.server_tool_call`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import orjson

from completions.dialects.base import JSON

FORMAT = "anthropic-claude-v1"
_AFTER = re.compile(r"after-([0-9]{1,9})")

Placed = tuple[int, JSON]
"""A block, and how many characters of the message's text stand before it."""


def _common(index: int, offset: int) -> JSON:
    place = {"id": f"after-{offset}"} if offset else {}
    return {**place, "format": FORMAT, "index": index}


def thinking(index: int, offset: int, *, text: str | None = None, signature: str | None = None) -> JSON:
    """A thinking block, or one piece of it: pieces of one block share `index`."""
    said = {"text": text} if text is not None else {}
    signed = {"signature": signature} if signature is not None else {}
    return {"type": "reasoning.text", **said, **signed, **_common(index, offset)}


def redacted(index: int, offset: int, data: str) -> JSON:
    return {"type": "reasoning.encrypted", "data": data, **_common(index, offset)}


def server_tool(index: int, offset: int, use: JSON, result: JSON | None) -> JSON:
    """A call of one of Anthropic's own tools with its result, which is empty while the call is pending."""
    caller = use.get("caller")
    return {
        "type": "reasoning.server_tool_call",
        "tool_name": use.get("name", ""),
        "tool_call_id": use.get("id", ""),
        "arguments": orjson.dumps(use.get("input") or {}).decode(),
        "result": orjson.dumps(result).decode() if result else "",
        **({"caller": caller} if isinstance(caller, dict) and caller.get("type") != "direct" else {}),
        **_common(index, offset),
    }


def is_server_result(kind: str) -> bool:
    """Whether a block of type `kind` is what one of Anthropic's own tools found."""
    return kind.endswith("_tool_result")


def blocks(reasoning_details: Any) -> list[Placed]:
    """The blocks that `reasoning_details` stand for, in order.

    Clients that only collect the pieces of a stream send them unmerged, so pieces of one thinking block are joined until
    its signature. What Anthropic could not verify is left out: unsigned thinking, summaries, other vendors' formats.
    """
    found: list[Placed] = []
    pieces: list[str] = []
    piece_index: Any = None
    for detail in reasoning_details if isinstance(reasoning_details, list) else ():
        if not isinstance(detail, dict) or detail.get("format") not in (FORMAT, None):
            continue
        offset = _offset(detail.get("id"))
        if detail.get("type") == "reasoning.text":
            if detail.get("index") != piece_index:
                pieces, piece_index = [], detail.get("index")
            pieces.append(text if isinstance(text := detail.get("text"), str) else "")
            if signature := detail.get("signature"):
                found.append((offset, {"type": "thinking", "thinking": "".join(pieces), "signature": signature}))
                pieces = []
        elif detail.get("format") == FORMAT:
            found += [(offset, block) for block in _opaque(detail)]
    return found


def _offset(place: Any) -> int:
    found = _AFTER.fullmatch(place) if isinstance(place, str) else None
    return int(found[1]) if found else 0


def _opaque(detail: JSON) -> Iterable[JSON]:
    if detail.get("type") == "reasoning.encrypted" and isinstance(detail.get("data"), str):
        yield {"type": "redacted_thinking", "data": detail["data"]}
    elif detail.get("type") == "reasoning.server_tool_call":
        use = {
            "type": "server_tool_use",
            "id": detail.get("tool_call_id") or "",
            "name": detail.get("tool_name") or "",
            "input": _object(detail.get("arguments")) or {},
        }
        yield {**use, "caller": detail["caller"]} if "caller" in detail else use
        if result := _object(detail.get("result")):
            yield result


def _object(text: Any) -> JSON | None:
    """The JSON object in `text`, None where it holds none."""
    try:
        value = orjson.loads(text) if isinstance(text, str) else None
    except orjson.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else None
