"""Chat requests that do not stream: what the caller reads, what the provider saw, what is in the books."""

from __future__ import annotations

import json
import time
from decimal import Decimal

import pytest

from tests.fakes.catalogue import provider_name
from tests.journeys import rules


def test_the_answer_has_every_field_and_its_row_the_same_facts(ask, gateway):
    response = ask.chat("fake/ok")
    body = response.json()
    rules.is_chat(body)
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["x-generation-id"] == body["id"]
    assert body["model"] == "fake/ok"
    assert body["provider"] == provider_name("fake/ok")
    choice = body["choices"][0]
    assert choice["message"]["content"] == "one two three"
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("stop", "stop")

    row = ask.row()
    assert row["request_id"] == body["id"]
    assert (row["model_id"], row["requested_model"], row["upstream_model"]) == ("fake/ok", "fake/ok", "ok")
    assert (row["status_code"], row["finish_reason"], row["error"]) == (200, "stop", None)
    assert (row["stream"], row["is_cancelled"], row["is_estimated"]) == (0, 0, 0)
    assert (row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]) == (12, 3, 15)
    assert row["upstream_id"].startswith("chatcmpl-")
    assert row["prompt"] is None
    assert row["response"] is None
    assert [attempt["status"] for attempt in row["attempts"]] == [200]


def test_every_token_class_is_charged_once_at_its_own_price(ask):
    usage = ask.chat("fake/priced").json()["usage"]
    # 12 prompt tokens of which 5 cached; 8 visible and 3 reasoning tokens.
    expected = Decimal(7) * Decimal("0.000001") + 5 * Decimal("0.0000001") + 11 * Decimal("0.000002")
    assert usage["cost"] == float(expected)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 5
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 3
    row = ask.row()
    assert Decimal(str(row["cost_usd"])) == expected
    assert (row["cache_read_tokens"], row["reasoning_tokens"], row["completion_tokens"]) == (5, 3, 11)
    assert row["prices"]["input_cache_read"] == "0.0000001"


@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
def test_both_prefixes_serve_the_same(ask, gateway, prefix):
    response = gateway.client.post(f"{prefix}/chat/completions", json=ask.body("fake/ok"))
    rules.is_chat(response.json())


@pytest.mark.parametrize("alias", ["ok-alias", "fake/ok-too", "Fake/OK"])
def test_an_alias_is_answered_and_booked_as_the_model_itself(ask, alias):
    assert ask.chat(alias).json()["model"] == "fake/ok"
    row = ask.row()
    assert (row["model_id"], row["requested_model"]) == ("fake/ok", alias)


def test_the_provider_gets_its_own_model_name_and_our_key_but_never_the_callers(ask, fake, gateway):
    ask.chat("fake/ok", headers={"X-Secret": "caller"}, temperature=0.5, made_up_field={"kept": True})
    call = fake.call_with(ask.marker)
    assert call.path == "/fake-ok-1/v1/chat/completions"
    assert call.headers["authorization"] == f"Bearer {gateway.environment['FAKE_KEY']}"
    assert "x-secret" not in call.headers
    assert "cookie" not in call.headers
    assert call.json["model"] == "ok"
    assert (call.json["temperature"], call.json["made_up_field"]) == (0.5, {"kept": True})


def test_several_choices_are_all_there(ask):
    choices = ask.chat("fake/ok", n=3).json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]


def test_parallel_tool_calls_arrive_whole(ask):
    body = ask.chat("fake/parallel-tools", tools=[tool()]).json()
    rules.is_chat(body)
    choice = body["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    calls = choice["message"]["tool_calls"]
    assert [(call["id"], call["type"], call["function"]["name"]) for call in calls] == [
        ("call_0", "function", "tool_0"),
        ("call_1", "function", "tool_1"),
    ]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"city": "Oslo"}] * 2


def tool() -> dict[str, object]:
    return {"type": "function", "function": {"name": "tool_0", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize("model", ["fake/reasoning", "fake/reasoning-renamed"])
def test_reasoning_has_one_name_whatever_the_provider_calls_it(ask, model):
    body = ask.chat(model).json()
    rules.is_chat(body)
    message = body["choices"][0]["message"]
    assert (message["reasoning"], message["content"]) == ("Let me think.", "42")
    assert "reasoning_content" not in message


def test_reasoning_can_be_hidden(ask):
    message = ask.chat("fake/reasoning", reasoning={"exclude": True}).json()["choices"][0]["message"]
    assert not message.get("reasoning")
    assert "reasoning_details" not in message
    assert message["content"] == "42"


def test_a_content_filter_is_told_as_such(ask):
    assert ask.chat("fake/filtered").json()["choices"][0]["finish_reason"] == "content_filter"
    assert ask.row()["finish_reason"] == "content_filter"


@pytest.mark.parametrize("model", ["fake/nulls", "fake/gzip"])
def test_an_odd_but_valid_answer_is_made_regular(ask, model):
    rules.is_chat(ask.chat(model).json())


def test_usage_that_the_provider_kept_to_itself_is_estimated_and_marked(ask):
    usage = ask.chat("fake/no-usage").json()["usage"]
    rules.is_usage(usage)
    assert usage["completion_tokens"] > 0
    assert ask.row()["is_estimated"] == 1


def test_an_answer_of_two_megabytes_arrives_whole(ask):
    content = ask.chat("fake/huge").json()["choices"][0]["message"]["content"]
    assert content == "x" * 2 * 1024 * 1024


def test_any_script_survives_the_way_through(ask):
    text = 'Ærø – 東京 – 🦉 – \u200f\u2028 \\ " \u0000 end'
    answer = ask.chat("fake/ok", messages=[{"role": "user", "content": text}]).json()
    assert answer["choices"][0]["message"]["content"].split() == text.split()


def test_the_next_model_answers_when_the_first_does_not_exist_or_fails(ask):
    body = ask.chat("chain/only-500", models=["fake/other"]).json()
    rules.is_chat(body)
    assert body["model"] == "fake/other"
    row = ask.row()
    assert row["model_id"] == "fake/other"
    assert [attempt["status"] for attempt in row["attempts"]] == [500, 500, 200], "the passing fault is tried again once"


def test_contents_are_kept_where_the_operator_says_so(ask_strictly):
    ask_strictly.chat("fake/ok")
    row = ask_strictly.row()
    assert "one two three" in row["prompt"]
    assert row["response"] == "one two three"


def test_requests_are_served_and_booked_later_while_the_database_is_locked(ask, gateway):
    with gateway.database.locked():
        began = time.monotonic()
        assert ask.chat("fake/ok").status_code == 200
        assert time.monotonic() - began < 1
        time.sleep(0.5)  # More than the pause between two batches: the writer has tried, and waits.
        assert gateway.sql("SELECT 1 FROM api_logs WHERE user_id = ?", ask.marker) == []
    assert ask.row(within_s=10)["status_code"] == 200
