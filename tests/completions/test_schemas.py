"""Requests: what is refused, what is unified, and that nothing is dropped."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from completions import bodies, intake, reasoning, schemas
from completions.schemas import MAX_LEVELS, ChatRequest
from gateway_project.errors import InvalidRequest

HELLO = [{"role": "user", "content": "Hello"}]


def test_fields_that_nobody_knows_travel_on():
    raw = {
        "model": "m",
        "messages": [{"role": "user", "content": "x", "odd": 1}],
        "future": {"a": [1]},
        "guided_regex": "a+",
    }
    ChatRequest.model_validate(raw)
    chat = schemas.canonical(raw)
    assert chat["future"] == {"a": [1]}
    assert chat["guided_regex"] == "a+"
    assert chat["messages"][0]["odd"] == 1


def test_nulls_mean_not_given():
    assert schemas.canonical({"model": "m", "messages": HELLO, "temperature": None, "seed": None}) == {"messages": HELLO}


def test_a_legacy_prompt_becomes_a_message():
    assert schemas.canonical({"model": "m", "prompt": "Hi"})["messages"] == [{"role": "user", "content": "Hi"}]


def test_both_names_of_the_token_limit_are_one():
    assert (
        schemas.canonical({"model": "m", "messages": HELLO, "max_completion_tokens": 5, "max_tokens": 9})["max_tokens"] == 5
    )


@pytest.mark.parametrize(
    ("raw", "unified"),
    [
        ({"reasoning_effort": "low"}, {"effort": "low"}),
        ({"include_reasoning": False}, {"exclude": True}),
        ({"include_reasoning": True}, None),
        ({"reasoning": {"max_tokens": 5, "effort": None}}, {"max_tokens": 5}),
        ({"reasoning": {"effort": "high"}, "reasoning_effort": "high"}, {"effort": "high"}),
    ],
)
def test_spellings_of_reasoning_are_one(raw, unified):
    assert schemas.canonical({"model": "m", "messages": HELLO, **raw}).get("reasoning") == unified


def test_efforts_that_contradict_each_other_are_refused():
    with pytest.raises(pydantic.ValidationError, match="differ"):
        ChatRequest.model_validate(
            {"model": "m", "messages": HELLO, "reasoning": {"effort": "low"}, "reasoning_effort": "high"}
        )


@pytest.mark.parametrize(
    "raw",
    [{"messages": HELLO}, {"model": "m"}, {"model": "m", "messages": []}, {"model": "m", "messages": [{"content": "x"}]}],
)
def test_what_cannot_be_answered_is_refused(raw):
    with pytest.raises(pydantic.ValidationError):
        ChatRequest.model_validate(raw)


def test_models_are_tried_after_model_and_each_once():
    request = ChatRequest.model_validate({"model": "a", "models": ["b", "a", "c"], "messages": HELLO})
    assert request.asked_models == ("a", "b", "c")


def nested(levels: int, kind: type[dict] | type[list]) -> Any:
    """A value of so many levels of objects or lists around a word."""
    value: Any = "deep"
    for _ in range(levels):
        value = {"a": value} if kind is dict else [value]
    return value


@pytest.mark.parametrize("field", ["metadata", "reasoning", "tool_choice", "verbosity", "web_search_options"])
@pytest.mark.parametrize("kind", [dict, list])
def test_what_is_kept_of_a_request_is_not_nested_for_ever(field, kind):
    def request(levels: int) -> dict[str, Any]:
        return {"model": "m", "messages": HELLO, field: {"odd": nested(levels - 1, kind)}}

    kept = bodies.checked(ChatRequest, request(MAX_LEVELS))
    assert kept.model_dump()[field]["odd"] == nested(MAX_LEVELS - 1, kind)
    for levels in (MAX_LEVELS + 1, 100, 990):
        with pytest.raises(InvalidRequest, match=rf"^{field}: nested deeper than {MAX_LEVELS} levels") as refused:
            bodies.checked(ChatRequest, request(levels))
        assert [problem["path"] for problem in refused.value.metadata["errors"]] == [field]


def test_no_field_that_is_recorded_is_nested_for_ever():
    """Whatever it is: one that is added to the record's parameters without a bound is found here."""
    for field in [*sorted(intake._RECORDED_PARAMETERS), "metadata", "plugins"]:
        for deep in (nested(100, dict), nested(100, list), {"odd": nested(100, list)}, [nested(100, dict)]):
            with pytest.raises(InvalidRequest):
                bodies.checked(ChatRequest, {"model": "m", "messages": HELLO, field: deep})


@pytest.mark.parametrize("field", ["future", "response_format"])
def test_schemas_and_what_nobody_knows_may_be_nested(field):
    bodies.checked(ChatRequest, {"model": "m", "messages": HELLO, field: nested(100, dict)})


def test_a_strict_schema_counts_as_structured_outputs():
    chat = {"response_format": {"type": "json_schema"}, "tools": [], "foo": 1}
    assert schemas.parameters_of(chat) == {"response_format", "structured_outputs", "tools"}


def test_measuring_counts_text_and_names_modalities():
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "12345"}, {"type": "image_url", "image_url": {"url": "u"}}]},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "ok"},
    ]
    assert schemas.measure(messages) == (9, frozenset({"text", "image"}))


@pytest.mark.parametrize(
    ("effort", "max_tokens", "budget"),
    [("high", 10_000, 8_000), ("max", 1_000_000, 128_000), ("minimal", 100, 1_024), ("medium", 4_096, 2_048)],
)
def test_the_reasoning_budget_follows_openrouters_rule(effort, max_tokens, budget):
    assert reasoning.budget_tokens(effort, max_tokens) == budget
