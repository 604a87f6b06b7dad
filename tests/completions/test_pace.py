"""The mean time between two tokens: which tokens it is of, and when there is none."""

from __future__ import annotations

import pytest

from accounting.record import Record
from accounting.usage import Usage
from completions import pace
from completions.relay import Tally


def tally(*deltas: dict[str, str]) -> Tally:
    counted = Tally()
    for delta in deltas:
        counted.count(delta)
    return counted


def stream(**more) -> Record:
    return Record("gen-1-x", 0.0, status_code=200, stream=True, ttft_ms=3000, latency_ms=4000, **more)


THOUGHT = Usage(completion_text=21, reasoning=2000)


def test_reasoning_that_nobody_saw_was_over_before_the_first_content():
    assert pace.streamed_tokens(THOUGHT, tally({"content": "so"})) == 21


def test_reasoning_that_was_streamed_is_content():
    assert pace.streamed_tokens(THOUGHT, tally({"reasoning": "Let me"}, {"content": "so"})) == 2021


def test_the_time_after_the_first_token_is_divided_by_the_pauses():
    assert pace.between_tokens_s(stream(), 21) == pytest.approx(0.05)


@pytest.mark.parametrize("tokens", [0, 1])
def test_a_token_alone_has_no_pace(tokens):
    assert pace.between_tokens_s(stream(), tokens) is None


def test_what_broke_off_or_was_left_has_no_pace():
    assert pace.between_tokens_s(stream(error="The client closed the request"), 4) is None


def test_a_whole_answer_has_no_pace():
    assert pace.between_tokens_s(Record("gen-1-x", 0.0, status_code=200, latency_ms=4000), 21) is None
