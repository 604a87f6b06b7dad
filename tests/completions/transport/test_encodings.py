"""Compressed bodies that were not asked for: read whole however they arrive, and never more of them than is wanted."""

from __future__ import annotations

import gzip
import zlib

import pytest

from completions.transport.encodings import MAX_PIECE_BYTES, decoder
from gateway_project.errors import ConnectionBroken, ProviderUnavailable

TEXT = b'{"choices": []}' * 1000


def raw_deflate(data: bytes) -> bytes:
    squeezed = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeezed.compress(data) + squeezed.flush()


BODIES = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "x-gzip": (" X-GZIP ", gzip.compress(TEXT)),
    "members": ("gzip", gzip.compress(TEXT[:500]) + gzip.compress(TEXT[500:])),
    "zlib": ("deflate", zlib.compress(TEXT)),
    "raw": ("deflate", raw_deflate(TEXT)),
}


def pieces_of(encoding: str, data: bytes, size: int) -> list[bytes]:
    inflating = decoder(encoding)
    assert inflating is not None
    pieces = [inflating.decode(data[at : at + size]) for at in range(0, len(data), size)]
    while piece := inflating.decode(b""):
        pieces.append(piece)
    inflating.end()
    return pieces


@pytest.mark.parametrize("size", [1, 2, 7, 100_000])
@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_read_whole_in_pieces_of_any_size(name, size):
    encoding, data = BODIES[name]
    assert b"".join(pieces_of(encoding, data, size)) == TEXT


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_breaks_off_is_not_taken_for_whole(name):
    encoding, data = BODIES[name]
    with pytest.raises(ConnectionBroken):
        pieces_of(encoding, data[:-1] if name != "raw" else data[:-20], 100)


def test_an_empty_body_is_whole():
    assert pieces_of("gzip", b"", 1) == []


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_was_never_compressed_is_an_error(encoding):
    with pytest.raises(ConnectionBroken, match="cannot be read"):
        pieces_of(encoding, b"\xff\xfe plain text", 100)


def test_a_bomb_goes_off_a_piece_at_a_time():
    pieces = pieces_of("gzip", gzip.compress(bytes(20 * MAX_PIECE_BYTES)), 10_000)
    assert max(map(len, pieces)) <= MAX_PIECE_BYTES
    assert sum(map(len, pieces)) == 20 * MAX_PIECE_BYTES


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_identity_is_nothing_to_undo(encoding):
    assert decoder(encoding) is None


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_an_encoding_that_nobody_knows_is_named(encoding):
    unknown = decoder(encoding)
    assert unknown is not None
    with pytest.raises(ProviderUnavailable, match=encoding):
        unknown.decode(b"x")
