"""OpenAI's own SDK as the judge: what is encoded is what it may send, and what clients are given is what it reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import orjson
import pytest
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionMessageParam,
    ChatCompletionToolUnionParam,
)
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import TypeAdapter

from accounting.usage import Usage
from catalog.entries import DialectName, Prices
from completions import relay, sse
from completions.dialects import DIALECTS
from completions.relay import Identity, StreamRelay
from gateway_project.errors import ProviderError
from tests.completions.dialects.test_contract import Case, _cases

OPENAI = DIALECTS[DialectName.OPENAI]
IDENTITY = Identity(id="gen-1-x", created=1, model="acme/falcon", provider="Acme")
NON_STREAMING = TypeAdapter(CompletionCreateParamsNonStreaming)
STREAMING = TypeAdapter(CompletionCreateParamsStreaming)
ROLES = ("developer", "system", "user", "assistant", "tool")
EXTRAS = {
    "chat_template_kwargs", "guided_json", "include_stop_str_in_output", "min_p", "plugins", "provider", "random_seed",
    "reasoning", "reasoning_format", "reasoning_split", "repetition_penalty", "session_id", "structured_outputs", "thinking",
    "tool_stream", "top_k", "best_of", "cache_control",
}  # fmt: skip
"""What recorded requests say beyond OpenAI's API, each to a provider that knows it."""
MESSAGE_EXTRAS = {"reasoning", "reasoning_content", "reasoning_details"}


def cases(*kinds: str) -> list[Any]:
    return [case for case in _cases(*kinds) if case.values[0].dialect == "openai"]


def exhausted(value: Any) -> Any:
    """`value` with every lazily validated iterable read to its end, so that all of it has been judged."""
    if isinstance(value, dict):
        return {key: exhausted(inner) for key, inner in value.items()}
    if isinstance(value, str | bytes | int | float | bool | None):
        return value
    return [exhausted(inner) for inner in value]


def encoded(case: Case) -> dict[str, Any]:
    chat = case.json("request.json")
    body: dict[str, Any] = orjson.loads(OPENAI.encode(chat, case.adapter, stream=bool(chat.get("stream"))).body)
    return body


@pytest.mark.parametrize("case", cases("request.json"))
def test_encoded_bodies_are_what_the_sdk_may_send(case):
    body = encoded(case)
    # Video is no part of OpenAI's; the union of parts is otherwise closed.
    for message in body["messages"]:
        if isinstance(message.get("content"), list):
            message["content"] = [part for part in message["content"] if part["type"] != "video_url"] or "-"
    exhausted((STREAMING if body["stream"] else NON_STREAMING).validate_python(body))
    extras = body.keys() - CompletionCreateParamsNonStreaming.__annotations__.keys() - {"stream"}
    if not case.adapter.provider.quirks.speaks_openrouter:
        assert extras <= EXTRAS - {"plugins", "provider", "reasoning", "session_id"}
    assert extras <= EXTRAS
    known = {
        role: set(kind.__annotations__) for role, kind in zip(ROLES, get_args(ChatCompletionMessageParam), strict=False)
    }
    for message in body["messages"]:
        assert message.keys() - known[message["role"]] <= MESSAGE_EXTRAS


@pytest.mark.parametrize("case", [case for case in cases("request.json") if case.id.startswith("openai-openai-")])
def test_nothing_unknown_is_sent_to_openai_itself(case):
    body = encoded(case)
    assert body.keys() <= CompletionCreateParamsNonStreaming.__annotations__.keys() | {"stream"}
    tool_fields = set().union(*(kind.__annotations__ for kind in get_args(ChatCompletionToolUnionParam)))
    for tool in body.get("tools", ()):
        assert tool.keys() <= tool_fields
    for message in body["messages"]:
        assert not message.keys() & MESSAGE_EXTRAS
        for call in message.get("tool_calls", ()):
            assert call.keys() == {"id", "type", "function"}


@pytest.mark.parametrize("case", cases("response.json"))
def test_whole_answers_are_what_the_sdk_reads(case):
    try:
        completion = OPENAI.decode(case.path("response.json").read_bytes(), case.adapter)
    except ProviderError:
        return
    usage = completion.usage or Usage()
    body = orjson.loads(orjson.dumps(relay.body(completion, IDENTITY, usage, relay.charge(usage, Prices(), "stop"))))
    parsed = ChatCompletion.model_validate(openai_only(body))
    assert parsed.usage is not None
    assert parsed.usage.total_tokens == usage.total_tokens
    for read, sent in zip(parsed.choices, body["choices"], strict=True):
        assert read.message.content == sent["message"]["content"]


@pytest.mark.parametrize("case", cases("stream.txt"))
def test_streamed_answers_are_what_the_sdk_reads(case):
    relaying = StreamRelay(IDENTITY)
    decoder = OPENAI.decoder(case.adapter)
    sent = b""
    try:
        sent += relaying.events(decoder.feed(case.path("stream.txt").read_bytes()))
        sent += relaying.events(decoder.flush())
    except ProviderError as error:
        sent += relaying.error(error)
    for event in events(sent):
        chunk = ChatCompletionChunk.model_validate(openai_only(event))
        assert chunk.object == "chat.completion.chunk"
        for choice in chunk.choices:
            assert choice.delta.content is not None


def openai_only(body: dict[str, Any]) -> dict[str, Any]:
    """`body` without OpenRouter's fifth finish reason, which the SDK reads but its types do not name."""
    for choice in body["choices"]:
        if choice["finish_reason"] == "error":
            choice["finish_reason"] = "stop"
    return body


def events(data: bytes) -> Iterator[Any]:
    for _, payload in sse.SSEDecoder().feed(data):
        if payload != b"[DONE]":
            yield orjson.loads(payload)
