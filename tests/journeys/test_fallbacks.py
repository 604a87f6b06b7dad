"""What happens when a provider fails: before any content another one answers, after it the caller is told."""

from __future__ import annotations

import time

import pytest

from tests.fakes.catalogue import provider_name, provider_slug
from tests.journeys import rules
from tests.journeys.conftest import CALLERS_FAULTS, EARLY_FAULTS

NOT_ASKED_AGAIN = {"status-400": "invalid_request", "status-422": "invalid_request"} | {
    "too-long": "context_length_exceeded",
    "refused": "content_policy_violation",
}


PASSING_FAULTS = {"status-500", "reset", "hang-up", "html-502"}
"""Fast faults that may pass: the same provider is asked once more before another one is."""


@pytest.mark.parametrize("fault", sorted(set(EARLY_FAULTS) - {"only-comments"}))
def test_another_provider_answers_a_whole_request(ask, fake, fault):
    model = f"early/{fault}-whole"
    began = time.monotonic()
    response = ask.chat(model)
    assert time.monotonic() - began < 4
    body = response.json()
    rules.is_chat(body)
    assert body["provider"] == provider_name(model, 2)
    assert_second_attempt_answered(ask, model)
    *failed, _ = ask.row()["attempts"]
    answered = 0 if fault == "refused-connection" else len(failed)
    assert len(fake.calls_with(ask.marker)) == answered + 1
    assert len(failed) == (2 if fault in PASSING_FAULTS | {"cut", "error-200"} else 1)


@pytest.mark.parametrize("fault", EARLY_FAULTS)
def test_another_provider_answers_a_streamed_request(ask, fault):
    model = f"early/{fault}-streamed"
    stream = ask.stream(model)
    rules.is_stream(stream.chunks)
    assert stream.is_done
    assert stream.text == "one two three"
    assert stream.chunks[0]["provider"] == provider_name(model, 2)
    assert_second_attempt_answered(ask, model)


def assert_second_attempt_answered(ask, model):
    """The row names every attempt, why the first failed, and charges the last alone."""
    row = ask.row()
    assert (row["status_code"], row["error"], row["provider"]) == (200, None, provider_slug(model, 2))
    assert (row["prompt_tokens"], row["completion_tokens"]) == (12, 3)
    *failed, last = row["attempts"]
    assert 1 <= len(failed) <= 2
    for attempt in failed:
        assert attempt["provider"] == provider_slug(model, 1)
        assert attempt["error_type"]
        assert attempt["error"]
        assert "sk-secret" not in attempt["error"]
        assert "internal.example" not in attempt["error"]
    assert (last["status"], last["error"]) == (200, None)


@pytest.mark.parametrize("fault", ["silence", "mute"])
def test_a_silent_provider_is_left_at_once_when_its_time_is_up(ask, fake, fault):
    model = f"early/{fault}-streamed"
    ask.stream(model)
    call = fake.call_with(ask.marker, until=lambda call: call.scenario == fault and call.is_over)
    assert call.client_left_at is not None
    assert call.client_left_at - call.arrived_at < 1


@pytest.mark.parametrize("fault", CALLERS_FAULTS)
@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_what_is_wrong_with_the_request_is_not_asked_twice(ask, fake, fault, way):
    model = f"callers/{fault}-{way}"
    response = ask.chat(model, stream=way == "streamed")
    expected = {"status-422": (400, 422), "refused": (403,)}.get(fault, (400,))
    assert response.status_code in expected
    error = rules.is_error(response.json(), response.status_code, NOT_ASKED_AGAIN[fault])
    assert error["metadata"]["provider_name"] == provider_name(model)
    assert len(fake.calls_with(ask.marker)) == 1
    assert len(ask.row()["attempts"]) == 1


@pytest.mark.parametrize(
    ("model", "status", "error_type", "upstream_status"),
    [
        ("books/only-500", 502, "provider_unavailable", "500"),
        ("books/only-401", 502, "provider_unavailable", "401"),
        ("books/only-429", 429, "rate_limit_exceeded", "429"),
    ],
)
def test_the_last_providers_error_reaches_the_caller_scrubbed(ask, model, status, error_type, upstream_status):
    response = ask.chat(model)
    assert response.status_code == status
    error = rules.is_error(response.json(), status, error_type)
    assert error["metadata"]["provider_name"] == provider_name(model)
    assert f"upstream says {upstream_status}" in error["metadata"]["raw"]
    for hidden in ("internal.example", "sk-secret", "sk-fake", "127.0.0.1"):
        assert hidden not in response.text
    row = ask.row()
    assert (row["status_code"], row["error_type"]) == (status, error_type)
    assert float(row["cost_usd"]) == 0
    assert response.headers.get("retry-after") == ("1" if status == 429 else None)


def test_a_limit_that_is_soon_over_is_waited_for_where_nobody_else_can_answer(ask, fake):
    began = time.monotonic()
    assert ask.chat("chain/only-429").status_code == 429
    first, second = fake.calls_with(ask.marker)
    assert second.arrived_at - first.arrived_at >= 1
    assert time.monotonic() - began < 4


def test_fallbacks_can_be_forbidden(ask, fake):
    response = ask.chat("early/status-500-forbidden", provider={"allow_fallbacks": False})
    rules.is_error(response.json(), 502, "provider_unavailable")
    assert {call.scenario for call in fake.calls_with(ask.marker)} == {"status"}


@pytest.mark.parametrize(
    ("model", "status", "error_type"),
    [
        ("fake/late-cut", 502, "provider_unavailable"),
        ("fake/late-truncation", 502, "provider_unavailable"),
        ("fake/late-frame", 502, "provider_unavailable"),
        ("fake/late-stall", 504, "timeout"),
    ],
)
def test_a_stream_that_breaks_says_so_and_is_not_spliced(ask, fake, model, status, error_type):
    stream = ask.stream(model)
    *content, last = stream.chunks
    assert (
        "".join(choice["delta"]["content"] for chunk in content for choice in chunk["choices"]) == " token0 token1 token2"
    )
    for chunk in stream.chunks:
        rules.is_chunk(chunk)
    assert len({(chunk["id"], chunk["model"], chunk["provider"]) for chunk in stream.chunks}) == 1
    rules.is_error(last, status, error_type)
    assert last["choices"][0]["finish_reason"] == "error"
    assert last["choices"][0]["delta"]["content"] == ""
    assert stream.is_done
    assert 2 <= len(fake.calls_with(ask.marker)) <= 3, "others were asked to go on, but said something else"
    row = ask.row()
    assert row["finish_reason"] == "error"
    assert (row["error_type"], row["is_cancelled"]) == (error_type, 0)
    assert row["error"]
    assert row["completion_tokens"] > 0
    assert row["is_estimated"] == 1


@pytest.mark.parametrize("fault", ["cut", "stall", "truncation", "frame"])
def test_a_stream_that_breaks_is_completed_by_a_provider_that_says_the_same(ask, fake, fault):
    model = f"resume/{fault}"
    stream = ask.stream(model)
    for chunk in stream.chunks:
        rules.is_chunk(chunk)
        assert "error" not in chunk
    assert stream.is_done
    assert stream.text == "".join(f" token{number}" for number in range(9))
    assert stream.chunks[-1]["provider"] == provider_name(model, 2)
    row = ask.row()
    first, second = row["attempts"]
    assert (row["status_code"], row["provider"], row["error"]) == (200, provider_slug(model, 2), None)
    assert (first["provider"], second["provider"]) == (provider_slug(model, 1), provider_slug(model, 2))
    assert first["error"]
    assert second["completion_tokens"] == 9
    assert row["completion_tokens"] == first["completion_tokens"] + 9, "what both consumed is charged"
    assert stream.chunks[-1]["usage"]["completion_tokens"] == row["completion_tokens"]
    assert row["is_estimated"] == 1


def test_a_provider_that_can_is_asked_to_continue_what_was_said(ask, fake):
    stream = ask.stream("resume/continued", max_tokens=100)
    assert stream.text == " token0 token1 token2" + " token0 token1", "the continuation follows as it came"
    _, second = fake.calls_with(ask.marker)
    assert second.json["messages"][-1] == {"role": "assistant", "content": " token0 token1 token2"}
    assert (second.json["continue_final_message"], second.json["add_generation_prompt"]) == (True, False)
    assert second.json["max_tokens"] == 95


def test_a_shorter_second_answer_is_no_continuation(ask):
    stream = ask.stream("resume/shorter")
    assert "".join(c["delta"]["content"] for chunk in stream.chunks for c in chunk["choices"]) == " token0 token1 token2"
    assert stream.chunks[-1]["error"]["code"] == 502


def test_a_whole_answer_that_breaks_off_half_way_is_answered_by_another(ask):
    body = ask.chat("early/cut-whole", messages=[{"role": "user", "content": "word " * 200}]).json()
    rules.is_chat(body)
    assert body["provider"] == provider_name("early/cut-whole", 2)


@pytest.mark.parametrize("fault", CALLERS_FAULTS)
def test_another_model_is_asked_whatever_the_first_one_said(ask, fault):
    """Also where the first model has a second provider, which must not be asked."""
    body = ask.chat(f"callers/{fault}-chained", models=["fake/other"]).json()
    rules.is_chat(body)
    assert body["model"] == "fake/other"
    assert len(ask.row()["attempts"]) == 2


def test_a_provider_that_asked_to_be_left_alone_is_left_alone(ask, fake):
    for _ in range(3):
        assert ask.chat("breaker/429").status_code == 200
    assert scenarios(fake, ask) == ["status", "ok", "ok", "ok"]


def test_a_provider_that_keeps_failing_is_not_asked_any_more(ask, fake):
    for _ in range(12):
        assert ask.chat("breaker/500").status_code == 200
    # Five faults in a row open the breaker; each may have been tried twice.
    assert 3 <= scenarios(fake, ask).count("status") <= 10


def test_a_caller_who_keeps_failing_closes_no_provider(ask, fake):
    for _ in range(12):
        assert ask.chat("breaker/400").status_code == 400
    assert scenarios(fake, ask) == ["status"] * 12


def scenarios(fake, ask):
    return [call.scenario for call in fake.calls_with(ask.marker)]
