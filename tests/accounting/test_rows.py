"""Lines that do not fit their columns become rows all the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from accounting import rows
from accounting.lines import encode, write
from accounting.record import COLUMNS, Record


def read(**columns: Any) -> Any:
    return rows.read(write({"request_id": "gen-1", "timestamp": 1_763_851_000.25, **columns}))


@pytest.mark.parametrize(
    ("name", "written", "kept"),
    [
        ("user_agent", "x" * 1000, "x" * 300),
        ("user_agent", 5, "5"),
        ("upstream_id", 123, "123"),
        ("error", "a\x00b", "a\ufffdb"),
        ("status_code", 10**9, 32767),
        ("latency_ms", -5, 0),
        ("latency_ms", 12.9, 12),
        ("max_tokens", 10**30, 2**63 - 1),
        ("temperature", 1, 1.0),
        ("temperature", "0.5", 0.5),
        ("stream", 1, True),
        ("cost_usd", 0.25, "0.25"),
    ],
)
def test_what_does_not_fit_is_made_to_fit(name: str, written: Any, kept: Any):
    found = getattr(read(**{name: written}), name)
    assert (found, type(found)) == (kept, type(kept))


def test_what_a_line_leaves_out_has_its_default_and_what_is_unknown_is_left_out():
    row, empty = read(of_a_version_to_come=1), Record("gen-1", 1_763_851_000.25)
    assert {name: getattr(row, name) for name in COLUMNS if name not in rows.JSON} == {
        name: getattr(empty, name) for name in COLUMNS if name not in rows.JSON
    }
    assert {name: bytes(getattr(row, name)) for name in rows.JSON} == {
        name: msgspec.json.encode(getattr(empty, name)) for name in rows.JSON
    }


def test_json_is_left_as_it_was_written():
    metadata = {"deep": [{"ä": 10**30}, None, "\u2028"]}
    assert msgspec.json.decode(bytes(read(metadata=metadata).metadata)) == metadata


def test_what_json_cannot_say_is_replaced():
    record = Record("gen-1", 1.0, error="\ud800!", metadata={"\udfff": object, "n": float("nan")})
    row: Any = rows.read(encode(record))
    assert row.error == "?!"
    assert set(msgspec.json.decode(bytes(row.metadata))) == {"?", "n"}


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"{}", b'{"request_id":"gen-1"}', b'{"request_id":"","timestamp":1}', b'{"request_id":"gen-1","timesta',
        b'{"request_id":"gen-1","timestamp":-1}', b'{"request_id":"gen-1","timestamp":1e18}',
        b'{"request_id":"gen-1","timestamp":1,"status_code":null}', b'{"request_id":"gen-1","timestamp":1,"seed":"x"}',
    ],
)  # fmt: skip
def test_what_is_no_line_or_has_no_sense_is_refused(raw: bytes):
    with pytest.raises((ValueError, TypeError)):
        rows.read(raw)
