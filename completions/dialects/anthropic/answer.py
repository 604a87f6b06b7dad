"""A whole answer of the Messages API in canonical form, and the words that streams share with it. Pure.

Blocks become: text -> `content`, thinking -> `reasoning` and `reasoning_details`, tool_use -> `tool_calls`, citations of web
pages -> `annotations`. Anthropic's own tools are kept as reasoning details. A block of a type not known here goes to
`extra.blocks`, and a citation of something without a URL to `extra.citations`.
"""

from __future__ import annotations

from typing import Any

import orjson

from completions.dialects.anthropic import counts, details, failures
from completions.dialects.base import JSON, Completion, parse_json
from gateway_project.errors import ProviderUnavailable

FINISH_REASONS = {
    "end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls", "max_tokens": "length",
    "model_context_window_exceeded": "length", "refusal": "content_filter",
    # A long turn with Anthropic's own tools was interrupted: sent back as it is, it goes on.
    "pause_turn": "stop",
}  # fmt: skip
_KEPT = ("container", "stop_sequence", "stop_details")


def finish_reason(stop_reason: Any) -> str:
    """The normalised reason. One that is not known here counts as "stop"; the native reason is kept beside it."""
    return FINISH_REASONS.get(str(stop_reason), "stop")


def refusal(stop_details: Any) -> str:
    """What is told of a refusal: Anthropic's explanation, else the category."""
    told = stop_details if isinstance(stop_details, dict) else {}
    if told.get("explanation"):
        return str(told["explanation"])
    category = f" (category: {told['category']})" if told.get("category") else ""
    return f"The provider's safety classifiers stopped this answer{category}."


def kept(message: JSON) -> JSON:
    """What of a message, or of a `message_delta`, has no home in the canonical form."""
    return {key: message[key] for key in _KEPT if message.get(key) is not None}


def annotation(citation: JSON, start: int, end: int) -> JSON | None:
    """The citation as `url_citation` of the text from `start` to `end`; None where it has no URL."""
    url = citation.get("url") or (citation.get("source") if citation.get("type") == "search_result_location" else None)
    if not isinstance(url, str):
        return None
    cited = {
        "url": url,
        "title": citation.get("title") or "",
        "content": citation.get("cited_text") or "",
        "start_index": start,
        "end_index": end,
    }
    return {"type": "url_citation", "url_citation": cited}


def decode(body: bytes) -> Completion:
    """The canonical form of an answer with status 200. Raises `ProviderError` if it is none."""
    answer = parse_json(body, "an answer")
    if answer.get("type") == "error":
        raise failures.inside(answer, body)
    content = answer.get("content")
    if not isinstance(content, list):
        raise ProviderUnavailable("Provider sent an answer without content", raw=body[:4000].decode("utf-8", "replace"))
    reader = _Reader()
    try:
        for block in content:
            reader.read(block)
        message = reader.message()
    except (AttributeError, TypeError) as error:  # a value of a type that the API does not have there
        raise ProviderUnavailable(
            f"Provider sent an answer that cannot be read: {error}", raw=body[:4000].decode("utf-8", "replace")
        ) from error
    stop_reason = answer.get("stop_reason")
    if stop_reason == "refusal":
        message["refusal"] = refusal(answer.get("stop_details"))
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": finish_reason(stop_reason),
        "native_finish_reason": stop_reason,
        "logprobs": None,
    }
    return Completion(
        choices=[choice],
        usage=counts.usage(answer.get("usage")),
        upstream_id=answer.get("id"),
        extra={**reader.extra, **kept(answer), **counts.told_beside(answer.get("usage"))},
    )


class _Reader:
    """Collects the blocks of one message."""

    def __init__(self) -> None:
        self.extra: JSON = {}
        self._texts: list[str] = []
        self._characters = 0
        self._thoughts: list[str] = []
        self._details: list[JSON] = []
        self._calls: list[JSON] = []
        self._annotations: list[JSON] = []
        self._pending: dict[str, tuple[int, JSON]] = {}

    def read(self, block: Any) -> None:
        kind = str(block.get("type")) if isinstance(block, dict) else ""
        if kind == "text":
            self._read_text(block)
        elif kind == "thinking":
            thought = block.get("thinking") or ""
            self._thoughts.append(thought)
            self._details.append(details.thinking(*self._place(), text=thought, signature=block.get("signature")))
        elif kind == "redacted_thinking":
            self._details.append(details.redacted(*self._place(), block.get("data") or ""))
        elif kind == "tool_use":
            self._calls.append(tool_call(len(self._calls), block, orjson.dumps(block.get("input") or {}).decode()))
        elif kind == "server_tool_use":
            self._pending[block.get("id") or ""] = (self._characters, block)
        elif details.is_server_result(kind) and block.get("tool_use_id") in self._pending:
            offset, use = self._pending.pop(block["tool_use_id"])
            self._details.append(details.server_tool(len(self._details), offset, use, block))
        else:
            self.extra.setdefault("blocks", []).append(block)

    def message(self) -> JSON:
        for offset, use in self._pending.values():
            self._details.append(details.server_tool(len(self._details), offset, use, None))
        message: JSON = {
            "role": "assistant",
            "content": "".join(self._texts) or None,
            "refusal": None,
            "reasoning": "".join(self._thoughts) or None,
        }
        optional = {"reasoning_details": self._details, "tool_calls": self._calls, "annotations": self._annotations}
        return {**message, **{key: value for key, value in optional.items() if value}}

    def _place(self) -> tuple[int, int]:
        return len(self._details), self._characters

    def _read_text(self, block: JSON) -> None:
        text = block.get("text") or ""
        start = self._characters
        self._characters += len(text)
        self._texts.append(text)
        for citation in block.get("citations") or ():
            found = annotation(citation, start, self._characters)
            if found is None:
                self.extra.setdefault("citations", []).append(citation)
            else:
                self._annotations.append(found)


def tool_call(index: int, block: JSON, arguments: str) -> JSON:
    """A tool_use block as a canonical tool call."""
    function = {"name": block.get("name") or "", "arguments": arguments}
    return {"index": index, "id": block.get("id") or "", "type": "function", "function": function}
