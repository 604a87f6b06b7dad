"""What is tried after a failure: which candidate, how soon, and when to give up."""

from __future__ import annotations

import random

import pytest

from catalog.entries import AdapterEntry, DialectName, ModelEntry, Prices, ProviderEntry
from completions.course import BACKOFF_S, Course
from gateway_project.errors import (
    ConnectionBroken,
    ContentRefused,
    ContextLengthExceeded,
    ProviderAuthFailed,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
)
from routingapp.entries import PolicyEntry
from routingapp.plan import Candidate

PROVIDER = ProviderEntry(
    id=1, slug="acme", name="Acme", dialect=DialectName.OPENAI, base_url="http://127.0.0.1:9", api_keys=(), is_local=False,
    connect_timeout_s=1, first_byte_timeout_s=1, idle_timeout_s=1, total_timeout_s=1, extra_headers={},
)  # fmt: skip


def candidate(number: int, model: str = "m", context_length: int = 1000) -> Candidate:
    adapter = AdapterEntry(
        id=number, model_id=model, provider=PROVIDER, upstream_model="u", is_enabled=True, prices=Prices(),
        context_length=context_length, max_output_length=None, quantization=None, supported_parameters=frozenset(),
        unconfigured=None,
    )  # fmt: skip
    entry = ModelEntry(model, model, model, (), (adapter,), frozenset(), frozenset(), {})
    return Candidate(adapter, entry, PolicyEntry(), 1.0, "")


def run(course: Course, *errors, took_s: float = 0.1) -> list[int]:
    """Take candidates and fail them with `errors`, one after the other; the ids that were tried."""
    tried = []
    for error in errors:
        taken = course.take()
        if taken is None:
            break
        tried.append(taken.adapter.id)
        if course.after(taken, error, took_s=took_s, now=0, dice=random.Random(1)) is None:
            break
    return tried


def course(*candidates: Candidate, max_tries: int = 3, longest_wait_s: float = 30) -> Course:
    return Course(list(candidates), max_tries, deadline=100, longest_wait_s=longest_wait_s)


A, B, C = candidate(1), candidate(2), candidate(3)
FAULT = ProviderOverloaded("busy")
PASSING = ConnectionBroken("reset")


def test_a_fault_moves_on_to_the_next_until_the_tries_are_used_up():
    assert run(course(A, B, C), FAULT, FAULT, FAULT, FAULT) == [1, 2, 3]
    assert run(course(A, B, C, max_tries=2), FAULT, FAULT, FAULT) == [1, 2]


@pytest.mark.parametrize("error", [PASSING, ProviderUnavailable("500", upstream_status=500)])
def test_a_fast_passing_fault_is_tried_again_once_where_a_try_is_to_spare(error):
    assert run(course(A, B), error, error, error, error) == [1, 1, 2]
    assert run(course(A), error, error, error) == [1, 1]


def test_no_try_is_taken_from_another_candidate_for_it():
    assert run(course(A, B, C), PASSING, PASSING, PASSING) == [1, 2, 3]


def test_the_pause_before_it_is_short_and_random():
    chosen = course(A)
    chosen.take()
    delay = chosen.after(A, PASSING, took_s=0.1, now=0, dice=random.Random(1))
    assert delay is not None
    assert BACKOFF_S[0] <= delay <= BACKOFF_S[1]


@pytest.mark.parametrize(
    "error",
    [ProviderTimeout("silent"), ProviderUnavailable("connect"), ProviderAuthFailed("401", upstream_status=401), FAULT],
)
def test_other_faults_are_never_tried_again_at_the_same_adapter(error):
    assert run(course(A), error, error) == [1]


def test_a_slow_fault_is_not_tried_again():
    assert run(course(A), PASSING, PASSING, took_s=2) == [1]


def test_a_limit_is_waited_for_only_where_nothing_else_is_left_and_it_fits_the_deadline():
    limited = ProviderRateLimited("429", retry_after_s=7)
    assert run(course(A, B), limited, FAULT) == [1, 2]
    chosen = course(A)
    chosen.take()
    assert chosen.after(A, limited, took_s=0, now=0, dice=random.Random(1)) == 7
    assert chosen.take() is A
    late = course(A)
    late.take()
    assert late.after(A, limited, took_s=0, now=95, dice=random.Random(1)) is None


def limited_for(seconds: float) -> ProviderRateLimited:
    return ProviderRateLimited("429", retry_after_s=seconds)


def test_a_wait_longer_than_the_policy_allows_is_left_to_the_caller():
    for longest_s, retry_after_s, wait_s in ((30, 30, 30), (30, 31, None), (0, 1, None)):
        chosen = course(A, longest_wait_s=longest_s)
        chosen.take()
        assert chosen.after(A, limited_for(retry_after_s), took_s=0, now=0, dice=random.Random(1)) == wait_s


def test_of_several_that_are_rate_limited_the_first_to_return_is_waited_for_once():
    chosen = course(A, B, max_tries=5)
    dice = random.Random(1)
    assert chosen.take() is A
    assert chosen.after(A, limited_for(5), took_s=0, now=0, dice=dice) == 0
    assert chosen.take() is B
    assert chosen.after(B, limited_for(60), took_s=0, now=2, dice=dice) == 3
    assert chosen.take() is A
    assert chosen.after(A, limited_for(5), took_s=0, now=5, dice=dice) is None


def test_a_limited_provider_is_waited_for_after_another_has_failed():
    chosen = course(A, B)
    dice = random.Random(1)
    chosen.take()
    chosen.after(A, limited_for(5), took_s=0, now=0, dice=dice)
    chosen.take()
    assert chosen.after(B, FAULT, took_s=0, now=1, dice=dice) == 4
    assert chosen.take() is A


@pytest.mark.parametrize("error", [ProviderRejected("400"), ContentRefused("no")])
def test_what_is_wrong_with_the_request_is_asked_of_another_model_only(error):
    other = candidate(9, "other")
    assert run(course(A, B, other), error, FAULT) == [1, 9]
    assert run(course(A, B), error, FAULT) == [1]


def test_a_request_too_long_goes_to_a_larger_context_only():
    small, large = candidate(4, context_length=1000), candidate(5, context_length=2000)
    assert run(course(A, small, large), ContextLengthExceeded("long"), FAULT) == [1, 5]


def test_the_try_of_one_that_was_not_called_is_free_again_while_its_model_is_asked():
    other = candidate(9, "other")
    chosen = course(A, B, other, candidate(10, "other"), max_tries=1)
    assert chosen.take() is A
    chosen.give_back(A)
    assert chosen.take() is B
    assert chosen.take() is other
    chosen.give_back(B)
    assert chosen.take() is None


def test_each_named_model_has_its_tries():
    others = [candidate(number, "other") for number in (7, 8, 9, 10)]
    assert run(course(A, B, C, candidate(4), *others), *[FAULT] * 9) == [1, 2, 3, 7, 8, 9]


def test_the_deadline_ends_it():
    chosen = course(A, B)
    chosen.take()
    assert chosen.after(A, FAULT, took_s=99, now=100, dice=random.Random(1)) is None
