"""The SDKs that people use, unmodified, with nothing but the base URL changed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest
from openrouter import OpenRouter
from openrouter import errors as openrouter_errors

TOOL = {
    "type": "function",
    "function": {
        "name": "tool_0",
        "description": "Weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
def openai_client(gateway, key) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
def openrouter_client(gateway, key) -> Iterator[OpenRouter]:
    with OpenRouter(api_key=key, server_url=f"{gateway.url}/api/v1", timeout_ms=10_000, retry_config=None) as client:
        yield client


def messages(text: str = "one two three") -> list:
    return [{"role": "user", "content": text}]


# --- openai ---


def test_openai_lists_and_retrieves_models(openai_client):
    assert "fake/ok" in {model.id for model in openai_client.models.list()}
    assert openai_client.models.retrieve("fake/ok").id == "fake/ok"


def test_openai_chats(openai_client):
    completion = openai_client.chat.completions.create(model="fake/ok", messages=messages())
    assert completion.choices[0].message.content == "one two three"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.total_tokens == 15
    assert completion.usage.model_extra["cost"] > 0


def test_openai_streams(openai_client):
    with openai_client.chat.completions.create(
        model="fake/ok", messages=messages(), stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
    assert chunks[-1].usage.completion_tokens == 3


def test_openai_assembles_streamed_tool_calls(openai_client):
    with openai_client.chat.completions.stream(model="fake/parallel-tools", messages=messages(), tools=[TOOL]) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["tool_0", "tool_1"]
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == [{"city": "Oslo"}] * 2


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("fake/unknown", openai.NotFoundError),
        ("openai/only-429", openai.RateLimitError),
        ("openai/only-500", openai.InternalServerError),
        ("callers/too-long-whole", openai.BadRequestError),
    ],
)
def test_openai_raises_the_class_that_fits_the_status(openai_client, model, error):
    with pytest.raises(error) as raised:
        openai_client.chat.completions.create(model=model, messages=messages())
    assert raised.value.body["metadata"]["error_type"]


def test_openai_raises_when_the_key_is_bad(gateway):
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-or-v1-wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model="fake/ok", messages=messages())


def test_openai_raises_when_a_stream_breaks(openai_client):
    received = []

    def read() -> None:
        for chunk in openai_client.chat.completions.create(model="fake/late-cut", messages=messages(), stream=True):
            received.append(chunk.choices[0].delta.content)

    with pytest.raises(openai.APIError):
        read()
    assert "".join(received) == " token0 token1 token2"


# --- openrouter ---


def test_openrouter_lists_models(openrouter_client):
    listed = openrouter_client.models.list()
    pages = listed.result if hasattr(listed, "result") else listed
    model = next(model for model in pages.data if model.id == "fake/ok")
    assert (model.context_length, model.pricing.prompt) == (32768, "0.000001")


def test_openrouter_chats(openrouter_client):
    completion = openrouter_client.chat.send(model="fake/ok", messages=messages())
    assert completion.choices[0].message.content == "one two three"
    assert completion.usage.cost > 0
    assert completion.id.startswith("gen-")


def test_openrouter_streams(openrouter_client):
    with openrouter_client.chat.send(model="fake/ok", messages=messages(), stream=True) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
    assert chunks[-1].usage.completion_tokens == 3
    assert all(chunk.error is None for chunk in chunks)


def test_openrouter_calls_tools(openrouter_client):
    message = openrouter_client.chat.send(model="fake/tools", messages=messages(), tools=[TOOL]).choices[0].message
    assert message.tool_calls[0].function.name == "tool_0"


def test_openrouter_reads_the_error_chunk_of_a_broken_stream(openrouter_client):
    with openrouter_client.chat.send(model="fake/late-cut", messages=messages(), stream=True) as stream:
        last = list(stream)[-1]
    assert last.error.code == 502
    assert last.choices[0].finish_reason == "error"


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("fake/unknown", openrouter_errors.NotFoundResponseError),
        ("openrouter/only-429", openrouter_errors.TooManyRequestsResponseError),
        ("openrouter/only-500", openrouter_errors.BadGatewayResponseError),
        ("callers/too-long-whole", openrouter_errors.BadRequestResponseError),
    ],
)
def test_openrouter_raises_the_class_that_fits_the_status(openrouter_client, model, error):
    with pytest.raises(error) as raised:
        openrouter_client.chat.send(model=model, messages=messages())
    assert raised.value.data.error.message
