"""Server-sent events, whatever the sizes they arrive in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from completions import sse
from completions.sse import EventTooLargeError, SSEDecoder


def decode(stream: bytes, size: int) -> list[tuple[bytes, bytes]]:
    decoder = SSEDecoder()
    events = []
    for start in range(0, len(stream), size):
        events += decoder.feed(stream[start : start + size])
    return events + decoder.flush()


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_it_gives_whole_events_at_any_size_and_line_end(size, newline):
    stream = newline.join(
        [b": comment", b"", b"event: ping", b"data: one", b"data: two", b"id: 7", b"", b"data:three", b"", b"data: last"]
    )
    assert decode(stream, size) == [(b"ping", b"one\ntwo"), (b"", b"three"), (b"", b"last")]


def test_a_line_end_split_over_two_reads_is_one_line_end():
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\r\n\r") == []
    assert decoder.feed(b"\ndata: b\r\n\r\n") == [(b"", b"a"), (b"", b"b")]


def test_comments_and_blank_lines_are_no_events():
    assert decode(b"\n\n: OPENROUTER PROCESSING\n\n\n\n: x\n\n", 3) == []


def test_an_event_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    decoder = SSEDecoder()
    with pytest.raises(EventTooLargeError):
        decoder.feed(b"data: " + b"x" * 101)


@given(st.lists(st.binary(min_size=1).filter(lambda data: not set(data) & {10, 13})), st.integers(1, 20))
def test_what_is_written_is_read_back(payloads, size):
    stream = b"".join(map(sse.event, payloads))
    assert [data for _, data in decode(stream, size)] == payloads
