"""A journal line as a row of `api_logs`: typed, checked against what the columns can hold, and JSON left as the text it is.

Nearly every line fits as it is, and is read and checked in one go. One that does not is changed until it does.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

import msgspec
from django.db import models
from django.db.backends.base.operations import BaseDatabaseOperations

from accounting import lines
from accounting.lines import Line
from accounting.models import RequestLog
from accounting.record import COLUMNS, Record

_END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
_FIELDS = {field.attname: field for field in RequestLog._meta.concrete_fields if field.attname in COLUMNS}
_TEXTS = tuple(
    (name, field.max_length or 1 << 31)
    for name, field in _FIELDS.items()
    if isinstance(field, models.CharField | models.TextField)
)
_INTEGERS = tuple(
    (name, *BaseDatabaseOperations.integer_field_ranges[kind])
    for name, field in _FIELDS.items()
    if (kind := "BigIntegerField" if field.is_relation else field.get_internal_type())
    in BaseDatabaseOperations.integer_field_ranges
)
_FLOATS = tuple(name for name, field in _FIELDS.items() if isinstance(field, models.FloatField))
FLAGS = tuple(name for name, field in _FIELDS.items() if isinstance(field, models.BooleanField))
"""The columns that hold booleans."""
JSON = tuple(name for name, field in _FIELDS.items() if isinstance(field, models.JSONField))
"""The columns that hold JSON."""


class Row(Protocol):
    """What a request is counted by. All other columns are attributes as well; those of `JSON` are bytes of JSON."""

    request_id: str
    timestamp: float
    model_id: str
    provider: str
    adapter_id: int | None
    api_key_id: int | None
    status_code: int
    error_type: str | None
    error_domain: str | None
    stream: bool
    is_cancelled: bool
    is_estimated: bool
    latency_ms: int
    ttft_ms: int | None
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    total_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    audio_tokens: int
    image_tokens: int
    cost_usd: str
    attempts: msgspec.Raw


def read(raw: bytes) -> Row:
    """The row of a journal line: texts are cut, numbers brought into range.

    Raises `ValueError`, `TypeError` or `ArithmeticError` for what is no line, or has a value of the wrong kind altogether.
    """
    if not lines.has_nul(raw):
        try:
            return _decoder.decode(raw)  # type: ignore[no-any-return]
        except (ValueError, RecursionError):
            pass  # what is wrong with it is put right, or told, below
    return _decoder.decode(lines.write(_fitted(lines.decode(raw))))  # type: ignore[no-any-return]


def _fitted(line: Line) -> Line:
    for name, longest in _TEXTS:
        if line[name] is not None:
            line[name] = str(line[name])[:longest]
    for name, lowest, highest in _INTEGERS:
        if line[name] is not None:
            line[name] = min(max(int(line[name]), lowest), highest)
    for name in _FLOATS:
        if line[name] is not None:
            line[name] = float(line[name])
    for name in FLAGS:
        line[name] = bool(line[name])
    line["cost_usd"] = str(line["cost_usd"])
    if not 0 <= line["timestamp"] < _END_OF_TIME:
        raise ValueError(f"timestamp is {line['timestamp']}, which is no time of this era in epoch seconds")
    return line


def _types() -> dict[str, Any]:
    """What each column holds, as its type in Python with the bounds of the column."""
    types: dict[str, Any] = {
        **{name: Annotated[str, msgspec.Meta(max_length=longest)] for name, longest in _TEXTS},
        **{name: Annotated[int, msgspec.Meta(ge=lowest, le=highest)] for name, lowest, highest in _INTEGERS},
        **dict.fromkeys(_FLOATS, float),
        **dict.fromkeys(FLAGS, bool),
    }
    types = {name: kind | None if _FIELDS[name].null else kind for name, kind in types.items()}
    return types | {
        **dict.fromkeys(JSON, msgspec.Raw),
        "request_id": Annotated[str, msgspec.Meta(min_length=1, max_length=_FIELDS["request_id"].max_length)],
        "timestamp": Annotated[float, msgspec.Meta(ge=0, lt=_END_OF_TIME)],
        # Whether it is an amount shows when it is added up.
        "cost_usd": str,
    }


def _decoder_of_rows() -> msgspec.json.Decoder[Any]:
    types = _types()
    required, optional = COLUMNS[:2], COLUMNS[2:]
    empty = Record("", 0.0)
    defaults = {name: msgspec.Raw(msgspec.json.encode(getattr(empty, name))) for name in JSON}
    fields: list[Any] = [(name, types[name]) for name in required]
    fields += [(name, types[name], defaults.get(name, getattr(empty, name))) for name in optional]
    return msgspec.json.Decoder(msgspec.defstruct("Row", fields))


_decoder = _decoder_of_rows()
