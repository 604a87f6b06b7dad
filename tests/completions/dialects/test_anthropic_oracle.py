"""The vendor's own SDK as the judge: of what we send, of what we have recorded, and of how we read it."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anthropic
import orjson
import pydantic
import pytest
from anthropic import types
from typing_extensions import is_typeddict

from catalog.entries import AdapterEntry, DialectName, Prices, ProviderEntry
from completions.dialects.anthropic import Anthropic
from completions.sse import SSEDecoder

WIRE = Path(__file__).parents[2] / "wire" / "anthropic"
REMOVED_FROM_THE_SDK = ("temperature", "top_p", "top_k")
"""Still part of API version 2023-06-01, which we send; the SDK speaks 2026-10-21."""
NOT_OF_TODAY = {"odd-stream"}
"""Events as they may come one day, which today's types do not know."""


def names(kind: str) -> list[str]:
    return sorted(path.name.removesuffix(f".{kind}") for path in WIRE.glob(f"*.{kind}"))


def load(name: str, kind: str) -> Any:
    return json.loads((WIRE / f"{name}.{kind}").read_bytes())


def adapter(model: str) -> AdapterEntry:
    provider = ProviderEntry(
        id=1, slug="anthropic", name="Anthropic", dialect=DialectName.ANTHROPIC, base_url="http://127.0.0.1:9/v1",
        api_keys=(), is_local=False, connect_timeout_s=1, first_byte_timeout_s=1, idle_timeout_s=1, total_timeout_s=1,
        extra_headers={},
    )  # fmt: skip
    return AdapterEntry(
        id=1, model_id="anthropic/claude", provider=provider, upstream_model=model, is_enabled=True, prices=Prices(),
        context_length=200_000, max_output_length=None, quantization=None, supported_parameters=frozenset(),
        unconfigured=None,
    )  # fmt: skip


def encoded(name: str) -> dict[str, Any]:
    chat = load(name, "request.json")
    return orjson.loads(Anthropic().encode(chat, adapter(chat["model"]), stream=bool(chat.get("stream"))).body)


def events(name: str) -> list[dict[str, Any]]:
    decoder = SSEDecoder()
    data = [data for _, data in decoder.feed((WIRE / f"{name}.stream.txt").read_bytes()) + decoder.flush()]
    return [orjson.loads(event) for event in data if not name.startswith("cut") or event != data[-1]]


@pytest.fixture(scope="module")
def closed_types() -> None:
    """Make the SDK's request types refuse keys that they do not know."""
    for value in vars(types).values():
        if is_typeddict(value):
            value.__pydantic_config__ = {**getattr(value, "__pydantic_config__", {}), "extra": "forbid"}


def check(kind: Any, value: Any) -> None:
    """Validate wholly: pydantic checks what is typed as an iterable only while it is being read."""
    _read_all(judge(kind).validate_python(value))


@functools.cache
def judge(kind: Any) -> pydantic.TypeAdapter[Any]:
    """Kept, because it is slow to build, and because the iterators that it gives need it until they are read."""
    return pydantic.TypeAdapter(kind)


def _read_all(value: Any) -> None:
    if isinstance(value, dict):
        for inner in value.values():
            _read_all(inner)
    elif not isinstance(value, str | bytes | pydantic.BaseModel) and hasattr(value, "__iter__"):
        for inner in value:
            _read_all(inner)


@pytest.mark.parametrize("name", names("request.json"))
def test_what_we_send_is_what_the_sdk_would_send(name, closed_types):
    body = encoded(name)
    for removed in REMOVED_FROM_THE_SDK:
        body.pop(removed, None)
    shape = (
        types.message_create_params.MessageCreateParamsStreaming
        if body.get("stream")
        else types.message_create_params.MessageCreateParamsNonStreaming
    )
    check(shape, body)
    for turn in body["messages"]:
        assert turn["role"] in ("user", "assistant", "system")
        for block in turn["content"]:
            check(types.ContentBlockParam, block)
    for tool in body.get("tools", ()):
        check(types.ToolUnionParam, tool)


def test_the_judge_refuses_a_key_that_anthropic_does_not_know(closed_types):
    with pytest.raises(pydantic.ValidationError):
        check(types.ContentBlockParam, {"type": "text", "text": "Hi", "detail": "low"})
    with pytest.raises(pydantic.ValidationError):
        check(types.ToolUnionParam, {"type": "function", "function": {"name": "f"}})


@pytest.mark.parametrize("name", sorted(set(names("response.json")) - {"error-in-200"}))
def test_recorded_answers_are_messages_of_the_sdk(name):
    message = types.Message.model_validate(load(name, "response.json"))
    _assert_nothing_unknown(message)


@pytest.mark.parametrize("name", sorted(set(names("stream.txt")) - NOT_OF_TODAY))
def test_recorded_events_are_events_of_the_sdk(name):
    known = judge(types.RawMessageStreamEvent)
    for event in events(name):
        if event["type"] not in ("ping", "error"):
            _assert_nothing_unknown(known.validate_python(event))


def _assert_nothing_unknown(model: pydantic.BaseModel) -> None:
    assert not model.model_extra, f"{type(model).__name__} does not know {model.model_extra}"
    for _, value in model:
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, pydantic.BaseModel):
                _assert_nothing_unknown(inner)


class Replay(ThreadingHTTPServer):
    """Answers every request with one recorded answer, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"")
        self.asked: list[tuple[str, dict[str, str], Any]] = []

    def client(self) -> anthropic.Anthropic:
        return anthropic.Anthropic(
            base_url=f"http://127.0.0.1:{self.server_address[1]}",
            api_key="not-a-key",
            max_retries=0,
            http_client=anthropic.DefaultHttpxClient(trust_env=False),
        )


class _Handler(BaseHTTPRequestHandler):
    server: Replay

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, headers, orjson.loads(body)))
        status, answer_headers, content = self.server.answer
        self.send_response(status)
        for name, value in {**answer_headers, "content-length": str(len(content)), "connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def replay() -> Iterator[Replay]:
    server = Replay()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


HELLO: dict[str, Any] = {
    "model": "claude-opus-5-5", "max_tokens": 10, "messages": [{"role": "user", "content": "Hello"}],
}  # fmt: skip


@pytest.mark.parametrize("name", names("request.json"))
def test_the_client_sends_our_body_to_our_path(name, replay):
    body = encoded(name)
    replay.answer = (200, {"content-type": "application/json"}, (WIRE / "text.response.json").read_bytes())
    if body.get("stream"):
        replay.answer = (200, {"content-type": "text/event-stream"}, (WIRE / "stream.stream.txt").read_bytes())
    removed = {key: body[key] for key in REMOVED_FROM_THE_SDK if key in body}
    said = {key: value for key, value in body.items() if key not in removed}
    with replay.client() as client:
        client.messages.create(**said, extra_body=removed)
    path, _, asked = replay.asked[-1]
    ours = adapter(body["model"])
    assert path == "/v1" + Anthropic().path(ours, stream=False)
    assert asked == body


@pytest.mark.parametrize("name", sorted(set(names("response.json")) - {"error-in-200"}))
def test_the_client_reads_an_answer_as_we_do(name, replay):
    body = (WIRE / f"{name}.response.json").read_bytes()
    replay.answer = (200, {"content-type": "application/json"}, body)
    with replay.client() as client:
        theirs = client.messages.create(**HELLO)
    completion = Anthropic().decode(body, adapter("claude-opus-5-5"))
    message = completion.choices[0]["message"]
    _assert_same(
        theirs, message["content"] or "", message["reasoning"] or "", message.get("tool_calls", []), completion.usage
    )


@pytest.mark.parametrize("name", sorted(set(names("stream.txt")) - NOT_OF_TODAY - {"cut-stream", "overloaded-stream"}))
def test_the_client_reads_a_stream_as_we_do(name, replay):
    data = (WIRE / f"{name}.stream.txt").read_bytes()
    replay.answer = (200, {"content-type": "text/event-stream"}, data)
    with replay.client() as client:
        if name == "error-first-stream":
            with pytest.raises(anthropic.APIStatusError), client.messages.stream(**HELLO) as failing:
                failing.get_final_message()
            return
        with client.messages.stream(**HELLO) as stream:
            theirs = stream.get_final_message()
    decoder = Anthropic().decoder(adapter("claude-opus-5-5"))
    text, reasoning, usage = "", "", None
    calls: dict[int, dict[str, Any]] = {}
    for chunk in decoder.feed(data) + decoder.flush():
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice["delta"]["content"]
            reasoning += choice["delta"].get("reasoning", "")
            for call in choice["delta"].get("tool_calls", ()):
                known = calls.setdefault(call["index"], {**call, "function": {**call["function"], "arguments": ""}})
                known["function"]["arguments"] += call["function"]["arguments"]
    _assert_same(theirs, text, reasoning, [calls[index] for index in sorted(calls)], usage)


def _assert_same(theirs: types.Message, text: str, reasoning: str, calls: list[dict[str, Any]], usage: Any) -> None:
    assert text == "".join(block.text for block in theirs.content if block.type == "text")
    assert reasoning == "".join(block.thinking for block in theirs.content if block.type == "thinking")
    assert [(call["id"], call["function"]["name"], orjson.loads(call["function"]["arguments"])) for call in calls] == [
        (block.id, block.name, block.input) for block in theirs.content if block.type == "tool_use"
    ]
    assert usage.completion_tokens == theirs.usage.output_tokens
    assert usage.prompt_tokens == theirs.usage.input_tokens + (theirs.usage.cache_creation_input_tokens or 0) + (
        theirs.usage.cache_read_input_tokens or 0
    )


@pytest.mark.parametrize("name", names("error.json"))
def test_the_client_reads_an_error_as_we_do(name, replay):
    recorded = load(name, "error.json")
    body = recorded["body"] if isinstance(recorded["body"], str) else json.dumps(recorded["body"])
    replay.answer = (recorded["status"], recorded["headers"], body.encode())
    with replay.client() as client, pytest.raises(anthropic.APIStatusError) as theirs:
        client.messages.create(**HELLO)
    ours = Anthropic().error(recorded["status"], recorded["headers"], body.encode())
    assert ours.upstream_status == theirs.value.status_code
    if isinstance(recorded["body"], dict):
        assert ours.message == theirs.value.api_message
        assert ours.provider_code == theirs.value.type
