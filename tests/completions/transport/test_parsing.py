"""Responses, however their bytes arrive: compared with h11, split at every place, cut off, and malformed."""

from __future__ import annotations

from typing import NamedTuple

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from completions.transport.parsing import MAX_HEAD_BYTES, Headers, ResponseParser
from gateway_project.errors import ConnectionBroken

OK = b"HTTP/1.1 200 OK\r\n"


class Read(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    is_reusable: bool


def read(pieces: list[bytes], *, ends: bool = False) -> Read:
    parser, body = ResponseParser(), b""
    for piece in pieces:
        parser.feed(piece)
        body += parser.take()
    if ends and not parser.is_complete:
        parser.end()
    assert parser.is_complete
    assert parser.take() == b""
    return Read(parser.status, dict(parser.headers), body, parser.is_reusable)


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


# --- generated responses ----------------------------------------------------------------------------------------------

tokens = st.text("abcdefghijklmnopqrstuvwxyzABCDEF0123456789-_", min_size=1, max_size=12)
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
bodies = st.binary(max_size=300)


class Made(NamedTuple):
    """A valid response, and whether its body ends with the connection."""

    raw: bytes
    ends: bool


@st.composite
def responses(draw: st.DrawFn) -> Made:
    interim = draw(
        st.lists(st.sampled_from([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"]))
    )
    status = draw(st.sampled_from([200, 201, 204, 304, 400, 404, 429, 500, 503, 599]))
    lines = [f"x-{name}: {value}".encode() for name, value in draw(st.lists(st.tuples(tokens, values), max_size=8))]
    lines += [
        b"connection: " + word for word in draw(st.sampled_from([[], [b"close"], [b"keep-alive"], [b"Keep-Alive, x"]]))
    ]
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.0"]))
    body, framing = draw(bodies), draw(st.sampled_from(["length", "chunked", "close"]))
    if status in (204, 304):
        body, framing = b"", "none"
    elif framing == "chunked" and version == b"1.1":
        lines.append(b"Transfer-Encoding: chunked")
        body = draw(chunked(body))
    elif framing == "length":
        lines.append(b"content-length: %d" % len(body))
    else:
        framing = "close"
    head = b"HTTP/%b %d Words of it\r\n" % (version, status) + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    return Made(b"".join(interim) + head + body, framing == "close")


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    raw, left = b"", body
    while left:
        size = draw(st.integers(1, len(left)))
        extension = draw(st.sampled_from([b"", b"", b";a=b", b";ext"]))
        raw += b"%x%b\r\n%b\r\n" % (size, extension, left[:size])
        left = left[size:]
    return raw + b"0\r\n" + draw(st.sampled_from([b"", b"x-trailer: t\r\n", b"a: 1\r\nb: 2\r\n"])) + b"\r\n"


def read_by_h11(made: Made) -> Read:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    client.send(h11.EndOfMessage())
    client.receive_data(made.raw)
    if made.ends:
        client.receive_data(b"")
    head, body = None, b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        assert event is not h11.NEED_DATA, "h11 wants more"
        if isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
    assert head is not None
    headers: dict[str, list[str]] = {}
    for name, value in head.headers:
        headers.setdefault(name.decode(), []).append(value.decode("latin-1"))
    joined = {name: ", ".join(parts) for name, parts in headers.items()}
    return Read(head.status_code, joined, body, client.their_state is h11.DONE)


@settings(max_examples=300, deadline=None)
@given(responses())
def test_a_response_is_read_as_h11_reads_it(made):
    theirs, ours = read_by_h11(made), read([made.raw], ends=made.ends)
    assert ours[:3] == theirs[:3]
    # h11 keeps no connection of HTTP/1.0, which may say `Connection: keep-alive`, and counts one that has ended as kept.
    if b"HTTP/1.0" not in made.raw and not made.ends:
        assert ours.is_reusable == theirs.is_reusable


@settings(max_examples=100, deadline=None)
@given(made=responses(), data=st.data())
def test_a_response_reads_the_same_wherever_it_is_split(made, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(made.raw)), max_size=6)))
    pieces = [made.raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(made.raw)], strict=True)]
    whole = read([made.raw], ends=made.ends)
    assert read([piece for piece in pieces if piece], ends=made.ends) == whole
    assert read(in_pieces(made.raw, 1), ends=made.ends) == whole


@settings(max_examples=100, deadline=None)
@given(made=responses().filter(lambda made: not made.ends), data=st.data())
def test_a_response_cut_anywhere_is_broken_and_never_at_its_end(made, data):
    at = data.draw(st.integers(0, len(made.raw) - 1))
    parser = ResponseParser()
    parser.feed(made.raw[:at])
    with pytest.raises(ConnectionBroken, match="broke the connection off"):
        parser.end()


# --- single cases -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
@pytest.mark.parametrize("after", [b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nX", b"rubbish", b"\0", b"HTTP/1.1 "])
def test_what_follows_a_response_is_not_its_body_and_ends_the_connection(after, size):
    raw = OK + b"content-length: 5\r\n\r\nhello"
    parser = ResponseParser()
    for piece in in_pieces(raw, size)[:-1]:
        parser.feed(piece)
    parser.feed(in_pieces(raw, size)[-1] + after)
    assert (parser.is_complete, parser.is_reusable, parser.take()[-1:]) == (True, False, b"o")


@pytest.mark.parametrize(
    "raw",
    [
        b"not http at all\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        OK + b"content-length: -1\r\n\r\n",
        OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\n",
        OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nZZ\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhelloworld",
        OK + b"bad header\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ],
)
def test_what_is_no_response_is_a_broken_connection(raw):
    with pytest.raises(ConnectionBroken, match="broke the connection off") as caught:
        ResponseParser().feed(raw)
    assert caught.value.raw


@pytest.mark.parametrize("size", [1000, MAX_HEAD_BYTES * 4])
@pytest.mark.parametrize(
    "raw",
    [
        OK + b"x: " + b"y" * (MAX_HEAD_BYTES + 1000),
        OK + b"x: " + b"y" * (MAX_HEAD_BYTES + 1000) + b"\r\ncontent-length: 0\r\n\r\n",
        OK + b"x: y\r\n" * MAX_HEAD_BYTES,
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * MAX_HEAD_BYTES,
        OK + b"transfer-encoding: chunked\r\n\r\n1;" + b"e" * (2 * MAX_HEAD_BYTES),
        OK + b"transfer-encoding: chunked\r\n\r\n0\r\nx: " + b"t" * (2 * MAX_HEAD_BYTES),
    ],
    ids=["one header", "a whole one", "headers without end", "interim without end", "an extension", "a trailer"],
)
def test_what_only_frames_a_body_is_bounded(raw, size):
    with pytest.raises(ConnectionBroken) as caught:
        read(in_pieces(raw, size))
    assert f"more than {MAX_HEAD_BYTES} bytes" in caught.value.raw


@pytest.mark.parametrize(
    ("lines", "is_reusable", "keep_alive_s"),
    [
        (b"", True, None),
        (b"connection: close\r\n", False, None),
        (b"keep-alive: timeout=5, max=100\r\n", True, 5),
        (b"Keep-Alive: max=100\r\n", True, None),
    ],
)
def test_the_provider_says_how_long_a_connection_lasts(lines, is_reusable, keep_alive_s):
    parser = ResponseParser()
    parser.feed(OK + lines + b"content-length: 0\r\n\r\n")
    assert (parser.is_reusable, parser.keep_alive_s) == (is_reusable, keep_alive_s)


def test_http_1_0_lasts_only_where_it_says_so():
    old = b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n"
    assert not read([old + b"\r\n"]).is_reusable
    assert read([old + b"connection: keep-alive\r\n\r\n"]).is_reusable


def test_lines_that_end_with_lf_alone_are_read():
    assert read([b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok"]).body == b"ok"


def test_headers_are_found_in_any_case_and_joined_where_repeated():
    headers = Headers([(b"Retry-After", b"3"), (b"X-A", b"1"), (b"x-a", b"2"), (b"x-odd", b"\xe9")])
    assert headers.get("retry-after") == headers["RETRY-AFTER"] == "3"
    assert "Retry-after" in headers
    assert headers.get("absent", "-") == "-"
    assert "ünknown☃" not in headers
    assert dict(headers) == {"retry-after": "3", "x-a": "1, 2", "x-odd": "é"}
    assert len(headers) == 3
