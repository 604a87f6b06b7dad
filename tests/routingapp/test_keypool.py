"""Which of a provider's keys is sent."""

from __future__ import annotations

from collections import Counter

from routingapp.keypool import BELIEVED_S, COOL_DOWN_S, MAX_COOL_DOWN_S, RETIRED_S, Fault, KeyOut, KeyPools
from tests.routingapp.world import NOW, provider

KEYS = ("${ACME_A}", "${ACME_B}", "${ACME_C}")
ACME = provider("acme", 1, api_keys=KEYS)
ALONE = provider("alone", 2, api_keys=("${ALONE_KEY}",))
KEYLESS = provider("local", 3)


def test_the_least_used_key_is_sent_next():
    pools = KeyPools()
    chosen = Counter(pools.choose(ACME, NOW, 1) for _ in range(30))

    assert chosen == {0: 10, 1: 10, 2: 10}


def test_a_key_with_a_long_stream_is_spared():
    pools = KeyPools()
    busy = pools.choose(ACME, NOW, 1)
    for _ in range(20):
        position = pools.choose(ACME, NOW, 1)
        assert position is not None
        assert position != busy
        pools.released(ACME, position)


def test_a_rate_limited_key_rests_as_long_as_it_was_told_to():
    pools = KeyPools()
    assert pools.failed(ACME, 0, Fault.RATE_LIMITED, 12.0, NOW, 1) is True

    assert 0 not in {pools.choose(ACME, NOW + 11.9, 1) for _ in range(9)}
    assert 0 in {pools.choose(ACME, NOW + 12, 1) for _ in range(9)}


def test_a_rest_has_a_default_and_an_end():
    pools = KeyPools()
    pools.failed(ACME, 0, Fault.RATE_LIMITED, None, NOW, 1)
    pools.failed(ACME, 1, Fault.RATE_LIMITED, 1e9, NOW, 1)
    pools.failed(ACME, 2, Fault.RATE_LIMITED, 5.0, NOW, 1)

    assert pools.retry_in_s(ACME, NOW) == 5
    assert pools.choose(ACME, NOW + 6, 1) == 2
    assert 0 not in {pools.choose(ACME, NOW + COOL_DOWN_S - 1, 1) for _ in range(9)}
    assert {pools.choose(ACME, NOW + MAX_COOL_DOWN_S, 1) for _ in range(90)} == {0, 1, 2}


def test_a_refused_key_stays_out_until_the_catalogue_changes():
    pools = KeyPools()
    pools.failed(ACME, 1, Fault.REFUSED, None, NOW, revision=1)

    assert 1 not in {pools.choose(ACME, NOW + RETIRED_S - 1, 1) for _ in range(9)}
    assert 1 in {pools.choose(ACME, NOW + 1, 2) for _ in range(9)}


def test_an_account_that_was_topped_up_comes_back_by_itself():
    pools = KeyPools()
    pools.failed(ALONE, 0, Fault.REFUSED, None, NOW, 1)
    assert pools.choose(ALONE, NOW + 1, 1) is None

    assert pools.choose(ALONE, NOW + RETIRED_S, 1) == 0


def test_with_all_keys_out_it_says_why_by_name():
    pools = KeyPools()
    assert not pools.has_trouble()
    assert pools.failed(ACME, 0, Fault.REFUSED, None, NOW, 1) is True
    assert pools.failed(ACME, 1, Fault.RATE_LIMITED, 20, NOW, 1) is True
    assert pools.why_none(ACME, NOW, 1) is None
    assert pools.failed(ACME, 2, Fault.RATE_LIMITED, 40, NOW, 1) is False

    assert pools.choose(ACME, NOW, 1) is None
    reason = pools.why_none(ACME, NOW, 1) or ""
    assert "key 1 of 3 was refused" in reason
    assert "key 2 of 3 was rate limited, 20 s left" in reason
    assert "ACME_" not in reason, "callers read it"


def test_a_pool_is_rate_limited_while_all_its_keys_rest_and_none_was_refused():
    pools = KeyPools()
    for position in (0, 1):
        pools.failed(ACME, position, Fault.RATE_LIMITED, 20, NOW, 1)
    assert not pools.is_rate_limited(ACME, NOW, 1)

    pools.failed(ACME, 2, Fault.RATE_LIMITED, 40, NOW, 1)
    assert pools.is_rate_limited(ACME, NOW, 1)
    assert not pools.is_rate_limited(ACME, NOW + 20, 1)

    pools.failed(ACME, 2, Fault.REFUSED, None, NOW, 1)
    assert not pools.is_rate_limited(ACME, NOW, 1)
    assert not pools.is_rate_limited(KEYLESS, NOW, 1)


def test_a_429_to_an_only_key_is_left_to_the_breaker():
    pools = KeyPools()

    assert pools.failed(ALONE, 0, Fault.RATE_LIMITED, 60, NOW, 1) is False

    assert pools.choose(ALONE, NOW, 1) == 0
    assert pools.why_none(ALONE, NOW, 1) is None


def test_a_provider_without_keys_has_nothing_to_choose():
    pools = KeyPools()

    assert pools.choose(KEYLESS, NOW, 1) == 0
    pools.released(KEYLESS, 0)
    assert pools.failed(KEYLESS, 0, Fault.REFUSED, None, NOW, 1) is False


def test_keys_that_are_gone_are_forgotten():
    pools = KeyPools()
    pools.failed(ACME, 0, Fault.REFUSED, None, NOW, 1)
    pools.forget_others([provider("acme", 1, api_keys=KEYS[1:])])

    assert not any(reference == "${ACME_A}" for _, reference in pools._keys)


# --- what other processes say -----------------------------------------------------------------------------------------


def test_what_befalls_a_key_is_told_by_its_reference():
    pools, told = KeyPools(), list[KeyOut]()
    pools.tell = told.append
    pools.failed(ACME, 1, Fault.RATE_LIMITED, 12.0, NOW, 7)

    assert told == [KeyOut(1, "${ACME_B}", Fault.RATE_LIMITED, 12.0, 7)]


def test_a_key_that_another_process_found_limited_rests_here_too():
    pools = KeyPools()
    pools.hear(KeyOut(1, "${ACME_A}", Fault.RATE_LIMITED, 12.0, 1), NOW, 1)

    assert pools.has_trouble()
    assert 0 not in {pools.choose(ACME, NOW + 11.9, 1) for _ in range(9)}
    assert 0 in {pools.choose(ACME, NOW + 12, 1) for _ in range(9)}


def test_a_refusal_that_another_process_met_is_believed_for_a_minute():
    pools = KeyPools()
    pools.hear(KeyOut(2, "${ALONE_KEY}", Fault.REFUSED, RETIRED_S, 1), NOW, 1)

    assert pools.choose(ALONE, NOW + BELIEVED_S - 1, 1) is None
    assert pools.choose(ALONE, NOW + BELIEVED_S, 1) == 0


def test_a_refusal_under_another_revision_of_the_catalogue_says_nothing_of_this_one():
    pools = KeyPools()
    pools.hear(KeyOut(2, "${ALONE_KEY}", Fault.REFUSED, RETIRED_S, revision=1), NOW, revision=2)

    assert pools.choose(ALONE, NOW, 2) == 0


def test_no_rest_is_made_shorter_by_what_is_heard():
    pools = KeyPools()
    pools.failed(ACME, 0, Fault.RATE_LIMITED, 60.0, NOW, 1)
    pools.hear(KeyOut(1, "${ACME_A}", Fault.RATE_LIMITED, 5.0, 1), NOW, 1)

    assert 0 not in {pools.choose(ACME, NOW + 59, 1) for _ in range(9)}


def test_trouble_ends_when_every_key_may_be_sent_again():
    pools = KeyPools()
    pools.failed(ACME, 0, Fault.RATE_LIMITED, 12.0, NOW, 1)
    pools.choose(ACME, NOW + 11, 1)
    assert pools.has_trouble()

    pools.choose(ACME, NOW + 12, 1)

    assert not pools.has_trouble()
