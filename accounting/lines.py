"""The journal line of a record: one JSON object, written once and read back by the writer. Pure.

Whatever a caller or provider put into a record, it has a line: what JSON or a database cannot hold (lone surrogates, NUL
characters, values of unknown types, what is nested beyond reason) is replaced, never refused. A column that has its default is
left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from accounting.record import COLUMNS, Record

Line = dict[str, Any]

REPLACEMENT = "\ufffd"
DEEPEST = 100
"""Levels of lists and objects of a value that is gone through here: Python takes fewer than a thousand, a caller may send more."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
_DEFAULTS = {name: getattr(Record("", 0.0), name) for name in COLUMNS}


def encode(record: Record) -> bytes:
    """The line of `record`, with its newline."""
    try:
        return _encoder.encode(record) + b"\n"
    except (TypeError, UnicodeEncodeError, RecursionError):
        return write(_mapped({name: getattr(record, name) for name in COLUMNS}, _encodable))


def write(line: Line) -> bytes:
    """What is the same as `line`, with its newline, when it is read again."""
    return _encoder.encode(line) + b"\n"


def decode(raw: bytes) -> Line:
    """The columns in a line, each present. Raises `ValueError` for what is not a whole line."""
    try:
        line: Any = _decoder.decode(raw)
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if not isinstance(line, dict) or not line.get("request_id") or "timestamp" not in line:
        raise ValueError("not the line of a record")
    if has_nul(raw):
        line = _mapped(line, _without_nul)
    return {**_DEFAULTS, **line}


def has_nul(raw: bytes) -> bool:
    """Whether something in a line may be the NUL character, which PostgreSQL refuses in text and in JSON."""
    return b"\\u0000" in raw


def start(request_id: str) -> bytes:
    """How the line of that request begins."""
    return _encoder.encode({"request_id": request_id})[:-1] + b","


def _without_nul(value: Any) -> Any:
    return value.replace("\x00", REPLACEMENT) if isinstance(value, str) else value


def _encodable(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    return str(value).encode("utf-8", "replace").decode()


def _mapped(value: Any, change: Callable[[Any], Any], levels: int = DEEPEST) -> Any:
    """`value` with `change` applied to every leaf and every key, and what lies deeper than `levels` replaced."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict | list | tuple) and not levels:
        return REPLACEMENT
    if isinstance(value, dict):
        return {change(str(key)): _mapped(item, change, levels - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, change, levels - 1) for item in value]
    return change(value)
