"""Server-sent events: bytes in, event data out. Pure; knows nothing of JSON or of dialects.

Follows the WHATWG event-stream rules as far as model providers use them: CR, LF and CR LF line ends (also split over two
reads), comments skipped, several `data:` lines joined by LF. `id:` and `retry:` are ignored.
"""

from __future__ import annotations

MAX_EVENT_BYTES = 32 * 1024 * 1024
"""Past this an upstream's event is taken for garbage instead of filling the memory."""


class EventTooLargeError(ValueError):
    """An event outgrew `MAX_EVENT_BYTES` without ending."""


class SSEDecoder:
    """Feed it bytes as they come; it gives whole events as `(event name, data)`. The name is b"" where none was given."""

    __slots__ = ("_buffer", "_pending_cr")

    def __init__(self) -> None:
        self._buffer = b""
        self._pending_cr = False

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """The events that `data` completes."""
        if self._pending_cr:
            data = b"\r" + data
            self._pending_cr = False
        if b"\r" in data:
            if data.endswith(b"\r"):
                self._pending_cr = True
                data = data[:-1]
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        text = self._buffer + data if self._buffer else data
        blocks = text.split(b"\n\n")
        self._buffer = blocks.pop()
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"an event of more than {MAX_EVENT_BYTES} bytes")
        return [event for block in blocks if (event := _parse(block)) is not None]

    def flush(self) -> list[tuple[bytes, bytes]]:
        """The last event of a stream that ended without a blank line."""
        block, self._buffer, self._pending_cr = self._buffer, b"", False
        event = _parse(block)
        return [event] if event else []


def _parse(block: bytes) -> tuple[bytes, bytes] | None:
    if block.startswith(b"data: ") and b"\n" not in block:
        return b"", block[6:]
    name, data = b"", []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return (name, b"\n".join(data)) if data else None


def event(data: bytes) -> bytes:
    """`data` as one event on the wire."""
    return b"data: " + data + b"\n\n"


DONE = event(b"[DONE]")
COMMENT = b": OPENROUTER PROCESSING\n\n"
