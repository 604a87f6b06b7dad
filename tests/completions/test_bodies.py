"""What is wrong with a body, in the words of JSON."""

from __future__ import annotations

import gzip
import json
from typing import Any

import orjson
import pytest
from django.test import RequestFactory

from completions import bodies
from completions.schemas import ChatRequest
from gateway_project.errors import GatewayError, UnsupportedMediaType

HELLO = [{"role": "user", "content": "Hello"}]
ROLES = "'system', 'developer', 'user', 'assistant', 'tool' or 'function'"


def complaint(**fields: Any) -> GatewayError:
    """The refusal of a chat request with `fields`, read from JSON as a caller's is."""
    body = orjson.loads(json.dumps({"model": "m", "messages": HELLO, **fields}))
    with pytest.raises(GatewayError) as refused:
        bodies.checked(ChatRequest, body)
    return refused.value


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": []}, "messages: must have at least 1 item, not 0"),
        ({"messages": {}}, "messages: must be an array, not an object"),
        ({"messages": [1]}, "messages[0]: must be an object, not 1"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, f"messages[0].role: must be {ROLES}"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content: must be a string or an array, not 5"),
        ({"messages": [{"role": "user", "content": [None]}]}, "messages[0].content[0]: must be an object, not null"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type: is required"),
        ({"provider": []}, "provider: must be an object, not an array"),
        ({"reasoning": "high"}, "reasoning: must be an object, not a string"),
        ({"max_tokens": 10**26}, "max_tokens: must be an integer of at most 64 bits, not 1e+26"),
        ({"max_tokens": 1.5}, "max_tokens: must be an integer, not 1.5"),
        ({"max_tokens": True}, "max_tokens: must be an integer, not true"),
        ({"max_tokens": "5"}, "max_tokens: must be an integer, not a string"),
        ({"temperature": "hot"}, "temperature: must be a number"),
        ({"logit_bias": {"a": []}}, "logit_bias.a: must be a number, not an array"),
        ({"stream": "yes"}, "stream: must be true or false, not a string"),
        ({"stop": 5}, "stop: must be a string or an array, not 5"),
    ],
    ids=str,
)
def test_a_value_of_the_wrong_kind_is_a_400_that_names_both_kinds(fields, message):
    error = complaint(**fields)
    assert error.message == message
    assert error.status == (422 if fields == {"messages": []} else 400)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_tokens": 0}, "max_tokens: must be at least 1, not 0"),
        ({"n": 500}, "n: must be at most 128, not 500"),
        ({"temperature": 2.5}, "temperature: must be at most 2, not 2.5"),
        ({"models": ["m"] * 21}, "models: must have at most 20 items, not 21"),
        ({"model": ""}, "model: must have at least 1 character"),
        ({"session_id": "x" * 300}, "session_id: must have at most 256 characters"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_out_of_its_range_is_a_422_that_names_the_bound(fields, message):
    error = complaint(**fields)
    assert (error.status, error.message) == (422, message)


def test_every_complaint_is_told_in_the_metadata_in_the_same_words():
    told = complaint(stop=5, n=0).metadata["errors"]
    assert [(each["path"], each["message"]) for each in told] == [
        ("n", "must be at least 1, not 0"),
        ("stop", "must be a string, not 5"),
        ("stop", "must be an array, not 5"),
    ]


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_a_compressed_body_is_refused_by_its_encoding(encoding):
    content = gzip.compress(b"{}")
    request = RequestFactory().generic("POST", "/", content, "application/json", headers={"Content-Encoding": encoding})
    with pytest.raises(
        UnsupportedMediaType, match=f"Content-Encoding '{encoding}' is not taken; send the body unc"
    ) as refused:
        bodies.read(request)
    assert refused.value.headers == {"Accept-Encoding": "identity"}


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_a_body_that_says_it_is_not_compressed_is_read(encoding):
    request = RequestFactory().generic("POST", "/", "{}", "application/json", headers={"Content-Encoding": encoding})
    assert bodies.read(request) == {}


@pytest.mark.parametrize(("body", "kind"), [("[]", "an array"), ("7", "7"), ("null", "null"), ('"a"', "a string")])
def test_a_body_that_is_no_object_is_named_for_what_it_is(body, kind):
    with pytest.raises(GatewayError, match=f"must be a JSON object, not {kind}"):
        bodies.read(RequestFactory().generic("POST", "/", body, "application/json"))
