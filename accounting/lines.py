"""The journal line of a record: one JSON object, written once and read back by the writer. Pure.

Whatever a caller or provider put into a record, it has a line: what JSON or a database cannot hold (lone surrogates, NUL
characters, integers of more than 64 bits) is replaced, never refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import orjson

from accounting.record import COLUMNS, Record

Line = dict[str, Any]

REPLACEMENT = "\ufffd"

_DEFAULTS = {name: value for name, value in asdict(Record("", 0.0)).items() if name in COLUMNS}


def encode(record: Record) -> bytes:
    """The line of `record`, with its newline."""
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        plain = {name: value for name, value in asdict(record).items() if name in COLUMNS}
        return orjson.dumps(_mapped(plain, _storable), default=str, option=orjson.OPT_APPEND_NEWLINE)


def decode(raw: bytes) -> Line:
    """The columns in a line, each present. Raises `ValueError` for what is not a whole line."""
    line: Any = orjson.loads(raw)
    if not isinstance(line, dict) or not line.get("request_id") or "timestamp" not in line:
        raise ValueError("not the line of a record")
    # PostgreSQL refuses NUL in text and in JSON.
    if b"\\u0000" in raw:
        line = _mapped(line, _without_nul)
    return line if line.keys() == _DEFAULTS.keys() else {**_DEFAULTS, **line}


def start(request_id: str) -> bytes:
    """How the line of that request begins."""
    return orjson.dumps({"request_id": request_id})[:-1] + b","


def _without_nul(value: Any) -> Any:
    return value.replace("\x00", REPLACEMENT) if isinstance(value, str) else value


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        return str(value)
    return value


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with `change` applied to every leaf and every key, however deep."""
    if isinstance(value, dict):
        return {change(str(key)): _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    return change(value)
