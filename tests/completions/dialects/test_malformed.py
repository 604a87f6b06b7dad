"""Bodies that are malformed where `completions.schemas` and `completions.shape` do not look: dialects encode or refuse them."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from catalog.entries import DialectName, Quirks, ReasoningEcho, ReasoningInput
from completions import schemas, shape
from completions.dialects import DIALECTS
from completions.dialects.base import Encoded
from gateway_project.errors import InvalidRequest
from tests.completions.dialects.test_contract import adapter_with

MODELS = {
    DialectName.OPENAI: "acme-1",
    DialectName.GEMINI: "gemini-3.5-flash",
    DialectName.ANTHROPIC: "claude-sonnet-4-5",
}
STRICT = Quirks(
    accepts_unknown_fields=False,
    accepts_json_schema=False,
    reasoning_input=ReasoningInput.CHAT_TEMPLATE,
    reasoning_efforts=("low", "high"),
    reasoning_echo=ReasoningEcho.REASONING_CONTENT,
    requires_reasoning_echo=True,
    tool_call_id_length=9,
    field_names={"seed": "random_seed", "user": None},
)
WHOLE: dict[str, Any] = {
    "model": "acme/falcon",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is here?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "reasoning": "Hm.",
            "reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "format": "unknown", "index": 0}],
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "A cat."},
        {"role": "assistant", "content": "A cat.", "refusal": None},
    ],
    "tools": [
        {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {}}}}},
    ],
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "cat", "schema": {"type": "object"}, "strict": True}},
    "reasoning": {"effort": "low"},
    "plugins": [{"id": "web", "max_results": 3}],
    "provider": {"options": {"acme": {"best_of": 2}}},
    "prediction": {"type": "content", "content": "A"},
    "stop": ["."],
    "max_tokens": 2000,
    "service_tier": "auto",
    "verbosity": "low",
    "cache_control": {"type": "ephemeral"},
    "web_search_options": {"search_context_size": "low"},
    "image_config": {"aspect_ratio": "1:1"},
    "modalities": ["text"],
    "chat_template_kwargs": {"enable_thinking": True},
    "metadata": {"a": "b"},
    "user": "u-1",
}  # fmt: skip

AUDIO: dict[str, Any] = {
    **WHOLE,
    "messages": [
        {"role": "assistant", "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]},
    ],
    "tools": [{"type": "openrouter:web_search", "parameters": {"max_results": 3}}],
    "tool_choice": "auto",
    "audio": {"voice": "alloy", "format": "pcm16"},
}
"""What some dialects refuse whole."""

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 70_000)
    | st.just("")
    | st.text(max_size=3)
    | st.just(1.5)
    | st.just("http://[")
)
junk = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "id", "url", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything inside `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in [(*path, key), *places(inner, (*path, key))]]


PLACES = {id(body): places(body) for body in (WHOLE, AUDIO)}


@st.composite
def malformed(draw: st.DrawFn) -> dict[str, Any]:
    """A body with one to three of its values replaced or taken out."""
    origin = draw(st.sampled_from([WHOLE, WHOLE, WHOLE, AUDIO]))
    body = copy.deepcopy(origin)
    for path in draw(st.lists(st.sampled_from(PLACES[id(origin)]), min_size=1, max_size=3)):
        target: Any = body
        try:
            for key in path[:-1]:
                target = target[key]
            target[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # An earlier change has taken the place away.
        if isinstance(target, str):
            continue
        if draw(st.booleans()):
            target[path[-1]] = draw(junk)
        else:
            del target[path[-1]]
    return body


def canonical(body: dict[str, Any]) -> dict[str, Any] | None:
    """What the pipeline would hand to a dialect, None where `body` is refused before."""
    try:
        schemas.ChatRequest.model_validate(body)
        chat = schemas.canonical(body)
        shape.check(chat)
    except (ValidationError, InvalidRequest):
        return None
    return chat


@pytest.mark.parametrize("name", list(DIALECTS), ids=str)
def test_the_whole_body_is_taken_by_every_dialect(name):
    adapter = dataclasses.replace(adapter_with(name, STRICT), upstream_model=MODELS[name])
    assert DIALECTS[name].encode(schemas.canonical(WHOLE), adapter, stream=True).body


@pytest.mark.parametrize("name", list(DIALECTS), ids=str)
@pytest.mark.parametrize("quirks", [Quirks(), STRICT, Quirks(speaks_openrouter=True)], ids=["plain", "strict", "router"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=malformed())
def test_a_malformed_body_is_encoded_or_refused(name, quirks, body):
    chat = canonical(body)
    if chat is None:
        return
    adapter = dataclasses.replace(adapter_with(name, quirks), upstream_model=MODELS[name])
    with contextlib.suppress(InvalidRequest):
        assert isinstance(DIALECTS[name].encode(chat, adapter, stream=True), Encoded)


@pytest.mark.parametrize("name", list(DIALECTS), ids=str)
@pytest.mark.parametrize("link", ["http://[", {"url": "http://["}, "https://example.com/cat.png"], ids=str)
def test_a_link_in_any_spelling_is_encoded_or_refused(name: DialectName, link: Any):
    parts = [{"type": "image_url", "image_url": link}, {"type": "file", "file": {"file_data": link, "filename": "a.png"}}]
    said = [{"role": "assistant", "content": "A cat.", "images": parts[:1]}]
    said += [{"role": "user", "content": [part]} for part in parts]
    adapter = dataclasses.replace(adapter_with(name, Quirks()), upstream_model=MODELS[name])
    for message in said:
        chat = canonical({"model": "acme/falcon", "messages": [message]})
        if chat is not None:
            with contextlib.suppress(InvalidRequest):
                assert DIALECTS[name].encode(chat, adapter, stream=True).body


@pytest.mark.parametrize("name", list(DIALECTS), ids=str)
def test_what_is_nested_deeper_than_json_is_written_is_refused(name: DialectName):
    nested: Any = []
    for _ in range(300):
        nested = [nested]
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "x": nested}}}
    adapter = dataclasses.replace(adapter_with(name, Quirks()), upstream_model=MODELS[name])
    with pytest.raises(InvalidRequest, match="nested deeper than 254 levels"):
        DIALECTS[name].encode(schemas.canonical({**WHOLE, "tools": [tool]}), adapter, stream=False)
