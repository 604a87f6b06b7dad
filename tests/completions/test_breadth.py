"""Wide bodies: whatever is wrong with them, and however often, refusing them costs next to nothing for each byte."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import orjson
import pydantic
import pytest
from django.http import HttpRequest

from completions import bodies, breadth
from completions.breadth import MAX_MESSAGES, MAX_TOOLS, MAX_VALUES, MAX_WORDS
from completions.schemas import ChatRequest
from gateway_project.errors import GatewayError, InvalidRequest
from routingapp import preferences

HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
MANY = 200_000


def wrong(number: int) -> dict[str, dict[str, Any]]:
    """Requests with so many wrong items, by where these are."""
    ones: list[Any] = [1] * number
    return {
        "messages": {"messages": ones},
        "messages[0].role": {"messages": [{"role": 1, "content": "a", "name": 1}] * number},
        "messages[0].content[0]": {"messages": [{"role": "user", "content": ones}]},
        "messages[0].tool_calls[0]": {"messages": [{"role": "assistant", "tool_calls": ones}]},
        "models": {"models": ones},
        "plugins[0]": {"plugins": ones},
        "tools[0]": {"tools": ones},
        "stop[0]": {"stop": ones},
        "modalities[0]": {"modalities": ones},
        "logit_bias": {"logit_bias": {str(token): "x" for token in range(number)}},
    }


def read(body: bytes) -> dict[str, Any]:
    return bodies.read(cast(HttpRequest, SimpleNamespace(META={}, body=body)))


@pytest.mark.parametrize("place", wrong(1))
def test_of_thousands_of_wrong_items_only_the_first_is_complained_of(place):
    body = {**HELLO, **wrong(MANY)[place]}
    with pytest.raises(pydantic.ValidationError) as refused:
        ChatRequest.model_validate(body)
    assert refused.value.error_count() <= 4
    with pytest.raises(GatewayError, match=place.replace("[", r"\[")):
        bodies.checked(ChatRequest, body)


@pytest.mark.parametrize("place", wrong(1))
def test_a_body_with_more_values_than_one_may_have_is_refused_before_it_is_read(place, monkeypatch):
    body = orjson.dumps({**HELLO, **wrong(MANY)[place]})
    monkeypatch.setattr(orjson, "loads", lambda text: pytest.fail("was read"))
    with pytest.raises(InvalidRequest, match=f"more than {MAX_VALUES} values .* send fewer"):
        read(body)


@pytest.mark.parametrize(
    ("item", "values"),
    [
        ("[]", 1),
        ("{}", 1),
        ('{"":1}', 2),
        ('""', 1),
        ('"\\""', 1),
        ('"\\\\"', 1),
        ("null", 1),
        ("[[[[[[]]]]]]", 6),
        ('{"a":{"a":"b"}}', 3),
    ],
)
def test_values_are_counted_whatever_they_are(item, values):
    def body(number: int) -> bytes:
        # The space behind makes it long enough to be looked at.
        return f'{{"a":[{",".join([item] * number)}]}}'.encode() + b" " * 2 * MAX_VALUES

    with pytest.raises(InvalidRequest, match="values"):
        read(body(MAX_VALUES // values + 1))
    # What is empty counts as one more.
    assert read(body(MAX_VALUES // (values + 1) - 1))


@pytest.mark.parametrize("text", [", [{", '\\",\\"', "\\\\,\\\\", '"'])
def test_what_stands_in_a_text_is_no_value(text):
    said = text * MANY
    assert read(orjson.dumps({"a": said, "b": [1, said]})) == {"a": said, "b": [1, said]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"messages": HELLO["messages"] * (MAX_MESSAGES + 1)},
            f"messages: must have at most {MAX_MESSAGES} items, not 10001",
        ),
        ({"tools": [{"type": "function"}] * (MAX_TOOLS + 1)}, f"tools: must have at most {MAX_TOOLS} items, not 2001"),
        ({"stop": ["a"] * (MAX_WORDS + 1)}, f"stop: must have at most {MAX_WORDS} items, not 1001"),
        ({"plugins": [{"id": "web"}] * (MAX_WORDS + 1)}, f"plugins: must have at most {MAX_WORDS} items, not 1001"),
        ({"modalities": ["text"] * 21}, "modalities: must have at most 20 items, not 21"),
    ],
)
def test_a_list_longer_than_any_use_is_refused_with_its_bound(fields, message):
    with pytest.raises(GatewayError) as refused:
        bodies.checked(ChatRequest, {**HELLO, **fields})
    assert refused.value.message == message


def test_names_of_providers_have_a_bound():
    with pytest.raises(InvalidRequest, match=r"provider.order: must have at most 1000 names, not 1001"):
        preferences.parse({"order": ["a"] * 1001})


def test_the_wrong_bias_among_right_ones_is_named():
    with pytest.raises(InvalidRequest, match=r"^logit_bias.z: must be a number, not an array"):
        bodies.checked(ChatRequest, {**HELLO, "logit_bias": {"1": 5, "2": "1.5", "z": [], "3": 2}})
    right = bodies.checked(ChatRequest, {**HELLO, "logit_bias": {"1": 5, "2": "1.5"}})
    assert right.logit_bias == {"1": 5.0, "2": 1.5}


def test_ordinary_bodies_are_not_counted(monkeypatch):
    monkeypatch.setattr(breadth, "_separators", lambda body: pytest.fail("was counted"))
    assert read(orjson.dumps({"a": "b" * 150_000}))
