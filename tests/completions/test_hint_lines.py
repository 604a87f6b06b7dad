"""Hints as bytes: what comes out is what went in, and what cannot be read is counted."""

from __future__ import annotations

import orjson
import pytest

from completions.hint_lines import Hint, Told, decode, encode
from routingapp.breaker import Answering, Paused
from routingapp.keypool import Fault, KeyOut
from routingapp.stickiness import Pinned

HINTS: list[Hint] = [
    KeyOut(3, "${ACME_KEY}", Fault.REFUSED, 600.0, 41),
    KeyOut(3, "${ACME_KEY}", Fault.RATE_LIMITED, 12.5, 41),
    Paused(7, 10.0, False, "ProviderUnavailable: boom"),
    Paused(7, 42.0, True, ""),
    Answering(7),
    Pinned((5, "acme/falcon", "session:a"), 7),
    Pinned((None, "acme/falcon", "opening:0123"), 7),
]


@pytest.mark.parametrize("hint", HINTS, ids=lambda hint: type(hint).__name__)
def test_a_hint_comes_out_as_it_went_in(hint):
    assert decode(encode([Told(hint, "mark", 1.25)])) == ([Told(hint, "mark", 1.25)], 0)


def test_a_line_keeps_the_order_of_its_hints():
    assert [told.hint for told in decode(encode(map(Told, HINTS)))[0]] == HINTS


@pytest.mark.parametrize(
    "part",
    [
        ["of-a-later-version", "", 0, 1],
        ["paused", "", 0, 7],
        ["paused", "", "soon", 7, 10, False, ""],
        ["key", "", 0, 3, "${ACME_KEY}", "unheard of", 1, 1],
        ["pinned", "", 0, ["too", "short"], 7],
        ["answering"],
        17,
        None,
    ],
)
def test_what_cannot_be_read_is_counted_and_the_rest_is_read(part):
    line = orjson.dumps([part, *orjson.loads(encode([Told(Answering(7))]))])

    assert decode(line) == ([Told(Answering(7))], 1)


@pytest.mark.parametrize("line", [b"", b"{", b"17", b'"paused"', b"{}"])
def test_a_line_that_is_none_has_no_hints(line):
    assert decode(line) == ([], 1)


def test_a_long_error_is_cut():
    (told,), _ = decode(encode([Told(Paused(7, 10.0, False, "x" * 5000))]))

    assert told.hint == Paused(7, 10.0, False, "x" * 300)
