"""Content encodings of bodies, undone a bounded piece at a time. Pure.

None is asked for (`accept-encoding: identity`), but some providers and proxies compress all the same.
"""

from __future__ import annotations

import zlib
from typing import Protocol

from gateway_project.errors import ConnectionBroken, ProviderUnavailable

MAX_PIECE_BYTES = 256 * 1024
"""What one call of `decode` gives at most: a megabyte of zeros comes in a kilobyte, so the reader decides when it is enough."""
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class Decoder(Protocol):
    def decode(self, data: bytes) -> bytes:
        """The next piece, of `data` and what is left of earlier; b"" where more is needed. Raises `ProviderUnavailable`."""

    def end(self) -> None:
        """The body is over and all of it decoded. Raises `ConnectionBroken` where it should have gone on."""


class Inflater:
    """gzip, in one member or several, and deflate with its zlib header or, as some servers send it, without."""

    def __init__(self, encoding: str) -> None:
        self._is_gzip = encoding != "deflate"
        self._zlib = zlib.decompressobj(_GZIP) if self._is_gzip else None
        self._left = b""
        self._has_begun = False

    def decode(self, data: bytes) -> bytes:
        left = self._left + data
        self._has_begun = self._has_begun or bool(left)
        if self._zlib is None:
            if len(left) < 2:
                self._left = left
                return b""
            self._zlib = zlib.decompressobj(_ZLIB if _has_zlib_header(left) else _RAW)
        piece = b""
        try:
            while not piece:
                if self._zlib.eof:
                    if not left or not self._is_gzip:
                        break
                    self._zlib = zlib.decompressobj(_GZIP)
                piece = self._zlib.decompress(left, MAX_PIECE_BYTES)
                left = self._zlib.unused_data if self._zlib.eof else self._zlib.unconsumed_tail
                if not self._zlib.eof:
                    break
        except zlib.error as error:
            raise ConnectionBroken("Provider sent a compressed body that cannot be read", raw=f"zlib: {error}") from error
        self._left = left
        return piece

    def end(self) -> None:
        if self._has_begun and not (self._zlib is not None and self._zlib.eof):
            raise ConnectionBroken("Provider broke the connection off", raw="a compressed body without its end")


class Unknown:
    """An encoding nobody here can undo. Its reader is told, its status and headers stand."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding[:40]

    def decode(self, data: bytes) -> bytes:
        if not data:
            return b""
        raise ProviderUnavailable(
            f"Provider compressed its answer as {self._encoding!r}, which was not asked for; only gzip and deflate are read"
        )

    def end(self) -> None:
        """Nothing was said, so nothing is missing."""


def decoder(content_encoding: str) -> Decoder | None:
    """What undoes the value of a Content-Encoding header, None where there is nothing to undo."""
    encoding = content_encoding.strip().lower()
    if encoding in ("", "identity"):
        return None
    return Inflater(encoding) if encoding in ("gzip", "x-gzip", "deflate") else Unknown(encoding)


def _has_zlib_header(data: bytes) -> bool:
    """RFC 1950, 2.2: method 8 in the first byte, and both together a multiple of 31."""
    return data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0
