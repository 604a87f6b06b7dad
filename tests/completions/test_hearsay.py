"""Which hints of other processes count: those learned at the same address with the same keys, and not too long ago."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from completions import hearsay
from completions.hearsay import Hearsay, is_loopback
from completions.hint_lines import Hint, Told
from completions.upstream import prepare
from routingapp.breaker import Answering, Paused
from routingapp.capacity import Capacity
from routingapp.health import Health
from routingapp.keypool import Fault, KeyOut
from routingapp.stickiness import Pinned, Stickiness
from tests.routingapp.world import NOW, adapter, provider

KEYS = {"ACME_A": "sk-one", "ACME_B": "sk-two"}
PAUSED = Paused(1, 10.0, False, "boom")
A_OUT = KeyOut(1, "${ACME_A}", Fault.RATE_LIMITED, 30.0, 1)
PINNED = Pinned((None, "acme/falcon", "session:a"), 1)


def process(environment: dict[str, str] = KEYS, **fields: Any) -> Hearsay:
    """The state of one process that serves one adapter with two keys."""
    served_by = provider("acme", 1, api_keys=("${ACME_A}", "${ACME_B}"), **fields)
    endpoints = MappingProxyType({1: prepare(adapter(served_by, 1), environment.get)})
    capacity = Capacity(lambda: 0.0)
    capacity.revision = 1
    return Hearsay(Health(), capacity, Stickiness(), lambda: endpoints)


def told_by(other: Hearsay, hint: Hint) -> Told:
    mark = other.mark(hint)
    assert mark is not None
    return Told(hint, mark)


def is_paused(at: Hearsay, now: float = NOW) -> bool:
    return at.health.is_open(1, now)


def keys_out(at: Hearsay, now: float = NOW) -> int:
    entry = at.endpoints()[1].adapter.provider
    return sum(at.capacity.pools.out(entry, now, 1).values())


def test_hints_of_a_process_like_this_one_count():
    one, other = process(), process()
    for hint in (PAUSED, A_OUT, PINNED):
        one.hear(told_by(other, hint), 1.0, NOW)

    assert is_paused(one)
    assert keys_out(one) == 1
    assert one.stickiness.get(PINNED.conversation, NOW) == 1

    one.hear(told_by(other, Answering(1)), 0.0, NOW)
    assert not is_paused(one)


def test_what_was_learned_at_another_address_does_not_count():
    one, other = process(), process(base_url="http://10.0.0.7:8000/v1")
    for hint in (PAUSED, A_OUT):
        one.hear(told_by(other, hint), 0.0, NOW)

    assert not is_paused(one)
    assert keys_out(one) == 0


def test_what_befell_a_key_that_has_another_value_here_does_not_count():
    one, other = process(), process({**KEYS, "ACME_A": "sk-being-replaced"})
    for hint in (PAUSED, A_OUT):
        one.hear(told_by(other, hint), 0.0, NOW)
    assert not is_paused(one)
    assert keys_out(one) == 0

    one.hear(told_by(other, KeyOut(1, "${ACME_B}", Fault.RATE_LIMITED, 30.0, 1)), 0.0, NOW)
    assert keys_out(one) == 1, "the other key is the same"


def test_the_engine_on_another_machines_loopback_is_another_engine(monkeypatch):
    one = process(base_url="http://localhost:8000/v1")
    monkeypatch.setattr(hearsay, "machine", lambda: "another machine")
    there = told_by(one, PAUSED)
    monkeypatch.undo()
    one.hear(there, 0.0, NOW)
    assert not is_paused(one)

    one.hear(told_by(one, PAUSED), 0.0, NOW)
    assert is_paused(one)


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.2/v1", True),
        ("http://[::1]:8000", True),
        ("http://engine.localhost", True),
        ("https://api.acme.test/v1", False),
        ("http://10.0.0.7", False),
    ],
)
def test_a_loopback_address_is_known(base_url, expected):
    assert is_loopback(base_url) is expected


def test_age_shortens_what_is_heard_and_ends_it():
    one, other = process(), process()
    one.hear(told_by(other, PAUSED), 7.0, NOW)
    assert is_paused(one, NOW + 2.9)
    assert not is_paused(one, NOW + 3)

    late = process()
    late.hear(told_by(other, PAUSED), 10.0, NOW)
    late.hear(told_by(other, A_OUT), 30.0, NOW)
    late.hear(told_by(other, PINNED), 601.0, NOW)
    assert not is_paused(late)
    assert keys_out(late) == 0
    assert late.stickiness.get(PINNED.conversation, NOW) is None


def test_what_this_process_does_not_have_is_neither_told_nor_heard():
    one, other = process(), process()
    unknown: list[Hint] = [
        Paused(9, 10.0, False, ""),
        KeyOut(9, "${ACME_A}", Fault.REFUSED, 1.0, 1),
        KeyOut(1, "${GONE}", Fault.REFUSED, 1.0, 1),
    ]
    assert [other.mark(hint) for hint in unknown] == [None] * 3

    one.hear(Told(unknown[0], "mark"), 0.0, NOW)
    assert not one.health.has_tripped()


def test_a_mark_shows_neither_address_nor_key():
    mark = process().mark(A_OUT)

    assert mark is not None
    assert "sk-one" not in mark
    assert "acme" not in mark
