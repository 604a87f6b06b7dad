"""The event stream of the Messages API as canonical chunks. Pure.

`message_start` tells the prompt's tokens, each content block comes as start, deltas and stop, `message_delta` tells the stop
reason and the final counts, `message_stop` ends (platform.claude.com/docs/en/build-with-claude/streaming, read November
2026). `ping` and events and deltas of types not known here are skipped: that page announces that there will be new ones.
Blocks not known here go to `extra.blocks` of the finishing chunk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from completions.dialects.anthropic import answer, counts, details, failures
from completions.dialects.base import JSON, Chunk, EventStreamDecoder


@dataclass(slots=True)
class _Block:
    """A content block that is being received. `position` is its place among the calls or the reasoning details."""

    kind: str
    start: JSON
    offset: int
    position: int = 0
    arguments: list[str] = field(default_factory=list)
    citations: list[JSON] = field(default_factory=list)


class AnthropicDecoder(EventStreamDecoder):
    """Chunks of one stream. Finished once a stop reason was seen, done at `message_stop`."""

    def __init__(self) -> None:
        super().__init__()
        self._id: str | None = None
        self._reported: JSON = {}
        self._blocks: dict[Any, _Block] = {}
        self._pending: dict[str, _Block] = {}
        self._characters = 0
        self._calls = 0
        self._details = 0
        self._extra: JSON = {}

    def on_event(self, name: bytes, data: bytes) -> Chunk | None:
        event = self.parse(data)
        if event is None:
            return None
        if event.get("type") == "error":
            raise failures.inside(event, data)
        return self._chunk(event)

    def _chunk(self, event: JSON) -> Chunk | None:
        kind = event.get("type")
        if kind == "content_block_delta":
            return self._delta(event.get("index"), _object(event, "delta"))
        if kind == "content_block_start":
            return self._start(event.get("index"), _object(event, "content_block"))
        if kind == "content_block_stop":
            return self._stop(event.get("index"))
        if kind == "message_delta":
            return self._finish(_object(event, "delta"), event.get("usage"))
        if kind == "message_start":
            return self._open(_object(event, "message"))
        if kind == "message_stop":
            self.is_finished = self.is_done = True
        return None

    def _open(self, message: JSON) -> Chunk:
        self._id = message.get("id")
        self._reported = counts.merged(self._reported, message.get("usage"))
        return Chunk([], counts.usage(self._reported), self._id)

    def _start(self, index: Any, start: JSON) -> Chunk | None:
        kind = str(start.get("type"))
        block = self._blocks[index] = _Block(kind, start, self._characters)
        if kind == "text":
            block.citations += start.get("citations") or ()
            return self._text(start.get("text"))
        if kind == "thinking":
            block.position = self._next_detail()
            return self._thought(block, start.get("thinking"), start.get("signature"))
        if kind == "redacted_thinking":
            detail = details.redacted(self._next_detail(), block.offset, start.get("data") or "")
            return self._say(reasoning_details=[detail])
        if kind == "tool_use":
            block.position = self._calls
            self._calls += 1
            return self._say(tool_calls=[answer.tool_call(block.position, start, "")])
        if kind == "server_tool_use":
            self._pending[start.get("id") or ""] = block
            return None
        if details.is_server_result(kind) and start.get("tool_use_id") in self._pending:
            return self._say(reasoning_details=[self._server_tool(self._pending.pop(start["tool_use_id"]), start)])
        self._extra.setdefault("blocks", []).append(start)
        return None

    def _delta(self, index: Any, delta: JSON) -> Chunk | None:
        kind = delta.get("type")
        if kind == "text_delta":
            return self._text(delta.get("text"))
        block = self._blocks.get(index)
        if block is None:
            return None
        if kind == "input_json_delta":
            return self._arguments(block, delta.get("partial_json"))
        if kind == "thinking_delta":
            return self._thought(block, delta.get("thinking"), None)
        if kind == "signature_delta":
            return self._thought(block, None, delta.get("signature"))
        if kind == "citations_delta":
            block.citations.append(_object(delta, "citation"))
        return None

    def _stop(self, index: Any) -> Chunk | None:
        block = self._blocks.pop(index, None)
        if block is None:
            return None
        if block.kind == "tool_use" and not block.arguments:
            # A call without arguments has no deltas, or its input came whole with the start (Anthropic-compatible servers).
            return self._arguments(block, orjson.dumps(block.start.get("input") or {}).decode())
        found = []
        for citation in block.citations:
            annotation = answer.annotation(citation, block.offset, self._characters)
            if annotation is None:
                self._extra.setdefault("citations", []).append(citation)
            else:
                found.append(annotation)
        return self._say(annotations=found) if found else None

    def _finish(self, delta: JSON, reported: Any) -> Chunk:
        self._reported = counts.merged(self._reported, reported)
        usage = counts.usage(self._reported)
        stop_reason = delta.get("stop_reason")
        if stop_reason is None:
            return Chunk([], usage, self._id)
        self.is_finished = True
        said: JSON = {}
        if stop_reason == "refusal":
            said["refusal"] = answer.refusal(delta.get("stop_details"))
        if self._pending:
            said["reasoning_details"] = [self._server_tool(block, None) for block in self._pending.values()]
        chunk = self._say(**said)
        chunk.choices[0]["finish_reason"] = answer.finish_reason(stop_reason)
        chunk.choices[0]["native_finish_reason"] = stop_reason
        chunk.usage = usage
        chunk.extra = {**self._extra, **answer.kept(delta), **counts.told_beside(self._reported)}
        return chunk

    def _text(self, received: Any) -> Chunk | None:
        text = _string(received)
        if not text:
            return None
        self._characters += len(text)
        return self._say(content=text)

    def _thought(self, block: _Block, received: Any, signature: Any) -> Chunk | None:
        text = _string(received)
        signature = _string(signature)
        if not text and not signature:
            return None
        detail = details.thinking(block.position, block.offset, text=text or None, signature=signature or None)
        said = {"reasoning": text} if text else {}
        return self._say(**said, reasoning_details=[detail])

    def _arguments(self, block: _Block, received: Any) -> Chunk | None:
        piece = _string(received)
        if not piece:
            return None
        block.arguments.append(piece)
        if block.kind != "tool_use":
            return None
        return self._say(tool_calls=[{"index": block.position, "function": {"arguments": piece}}])

    def _server_tool(self, block: _Block, result: JSON | None) -> JSON:
        use = block.start
        if block.arguments:
            use = {**use, "input": _parsed("".join(block.arguments))}
        return details.server_tool(self._next_detail(), block.offset, use, result)

    def _next_detail(self) -> int:
        self._details += 1
        return self._details - 1

    def _say(self, **said: Any) -> Chunk:
        delta = {"role": "assistant", "content": "", **said}
        choice = {"index": 0, "delta": delta, "finish_reason": None, "native_finish_reason": None}
        return Chunk([choice], upstream_id=self._id)


def _object(event: JSON, key: str) -> JSON:
    value = event.get(key)
    return value if isinstance(value, dict) else {}


def _string(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise TypeError(f"{type(value).__name__} where a string belongs")


def _parsed(text: str) -> Any:
    """The input of one of Anthropic's own tools; cut short, it is of no use to anyone, and is sent back empty."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
