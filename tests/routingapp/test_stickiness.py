"""Conversations that stay where their prompt is cached."""

from __future__ import annotations

from typing import Any

import pytest

from catalog.entries import AdapterEntry, Prices
from routingapp.stickiness import TELL_EVERY_S, Conversation, Pinned, Stickiness, is_worthwhile, key_of
from tests.routingapp.world import NOW, adapter, provider

CACHING = Prices.parse({"prompt": "0.000001", "input_cache_read": "0.0000001"})
SYSTEM: dict[str, Any] = {"role": "system", "content": "Answer in Dutch."}
HELLO: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
TALK: Conversation = (1, "acme/model", "session:a")
OTHER: Conversation = (1, "acme/model", "session:b")
THIRD: Conversation = (2, "acme/model", "session:a")


def caching(number: int = 1) -> AdapterEntry:
    return adapter(provider("one", 1), number, prices=CACHING)


def test_a_session_goes_before_everything_and_the_bodys_before_the_headers():
    assert key_of("a", "b", "c", [HELLO]) == key_of(None, "a", None, []) == "session:a"
    assert key_of(None, "b", "c", [HELLO]) == "session:b"
    assert key_of(None, None, "c", [HELLO]) == "cache:c"


def test_a_conversation_keeps_its_key_while_it_grows():
    longer = [SYSTEM, HELLO, {"role": "assistant", "content": "Hoi"}, {"role": "user", "content": "How are you?"}]

    assert key_of(None, None, None, [SYSTEM, HELLO]) == key_of(None, None, None, longer)


@pytest.mark.parametrize(
    "other", [[HELLO], [SYSTEM, {"role": "user", "content": "Bye"}], [{**SYSTEM, "content": "x"}, HELLO]]
)
def test_another_beginning_is_another_conversation(other: list[dict[str, Any]]):
    assert key_of(None, None, None, [SYSTEM, HELLO]) != key_of(None, None, None, other)


def test_a_name_of_any_length_takes_little_room():
    long = key_of(None, None, "x" * 1_000_000, [])

    assert len(long) < 300
    assert long != key_of(None, None, "x" * 999_999, [])
    assert key_of("x" * 256, None, None, []) == f"session:{'x' * 256}"


def test_nothing_to_go_by_is_no_key():
    assert key_of(None, None, None, []) == ""


def test_text_that_is_no_valid_unicode_has_a_key_too():
    assert key_of(None, None, None, [{"role": "user", "content": "\ud800"}]).startswith("opening:")


def test_a_pin_is_kept_for_ten_idle_minutes():
    stickiness = Stickiness()
    stickiness.put(TALK, caching(), NOW)

    assert stickiness.get(TALK, NOW + 600) == 1
    stickiness.put(TALK, caching(), NOW + 600)
    assert stickiness.get(TALK, NOW + 1200) == 1
    assert stickiness.get(TALK, NOW + 1201) is None
    assert len(stickiness) == 0


@pytest.mark.parametrize(
    ("pricing", "worthwhile"),
    [
        ({"prompt": "0.000001", "input_cache_read": "0.0000001"}, True),
        ({"prompt": "0.000001", "input_cache_read": "0.000001"}, False),
        ({"prompt": "0.000001"}, False),
        ({}, False),
    ],
)
def test_only_cheaper_cache_reads_are_worth_staying_for(pricing: dict[str, str], worthwhile: bool):
    served = adapter(provider("one", 1), 1, prices=Prices.parse(pricing))
    stickiness = Stickiness()
    stickiness.put(TALK, served, NOW)

    assert is_worthwhile(served) is worthwhile
    assert stickiness.get(TALK, NOW) == (1 if worthwhile else None)


def test_an_adapter_that_stepped_in_does_not_move_the_pin():
    stickiness = Stickiness()
    stickiness.put(TALK, caching(1), NOW)
    stickiness.put(TALK, caching(2), NOW + 300)
    assert stickiness.get(TALK, NOW + 300) == 1

    stickiness.put(TALK, caching(2), NOW + 601)
    assert stickiness.get(TALK, NOW + 601) == 2


def test_the_least_recently_used_pins_go_first():
    stickiness = Stickiness(max_conversations=2)
    for key in (TALK, OTHER, TALK, THIRD):
        stickiness.put(key, caching(), NOW)

    assert len(stickiness) == 2
    assert stickiness.get(OTHER, NOW) is None
    assert stickiness.get(TALK, NOW) == stickiness.get(THIRD, NOW) == 1


def test_a_pin_is_told_when_it_is_made_and_while_it_is_used_every_two_minutes():
    stickiness, told = Stickiness(), list[Pinned]()
    stickiness.tell = told.append
    beginning = NOW // TELL_EVERY_S * TELL_EVERY_S
    for seconds in range(0, 300, 10):
        stickiness.put(TALK, caching(), beginning + seconds)

    assert told == [Pinned(TALK, 1)] * 3


def test_a_pin_of_another_process_holds_as_long_as_it_does_there():
    stickiness = Stickiness()
    stickiness.hear(Pinned(TALK, 7), NOW - 100, NOW)

    assert stickiness.get(TALK, NOW + 500) == 7
    assert stickiness.get(TALK, NOW + 501) is None


def test_a_pin_of_this_process_stays_whatever_another_says():
    stickiness = Stickiness()
    stickiness.put(TALK, caching(1), NOW)
    stickiness.hear(Pinned(TALK, 7), NOW + 1, NOW + 1)

    assert stickiness.get(TALK, NOW + 1) == 1


def test_a_pin_heard_late_does_not_make_a_used_one_older():
    stickiness = Stickiness()
    stickiness.put(TALK, caching(1), NOW)
    stickiness.hear(Pinned(TALK, 1), NOW - 500, NOW)
    assert stickiness.get(TALK, NOW + 600) == 1

    stickiness.hear(Pinned(OTHER, 1), NOW - 601, NOW)
    assert stickiness.get(OTHER, NOW) is None
