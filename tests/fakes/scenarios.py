"""What the fake provider can do, one function per scenario. The model's name chooses: `ok?tokens=20`, `tools?calls=2`.

Owns the registry, what answers consist of, and the good ones, odd or not; `tests.fakes.faults` has the bad ones.

A scenario answers one call, streamed or whole as the call asks, and may break any rule of HTTP, SSE or OpenAI's API. Its
docstring is its description (`python -m tests.fakes.provider --list`).
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from tests.fakes.call import Call, Reply

Scenario = Callable[[Reply], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}
JSON_HEADERS = {"content-type": "application/json"}


def scenario(name: str) -> Callable[[Scenario], Scenario]:
    def register(function: Scenario) -> Scenario:
        SCENARIOS[name] = function
        return function

    return register


# --- What an answer consists of ---------------------------------------------------------------------------------------


def tokens_of(call: Call) -> list[str]:
    """The answer in pieces: `tokens` times " token", or the words of the last message."""
    if "tokens" in call.options:
        return [f" token{number}" for number in range(int(call.option("tokens", 1)))]
    return re.findall(r"\s*\S+", call.last_words()) or ["Hello."]


def usage_of(call: Call, completion_tokens: int) -> dict[str, Any]:
    """12 prompt tokens, of which `cached`, and one completion token per piece, plus `thinking` reasoning tokens."""
    reasoning = int(call.option("thinking", 0))
    return {
        "prompt_tokens": 12,
        "completion_tokens": completion_tokens + reasoning,
        "total_tokens": 12 + completion_tokens + reasoning,
        "prompt_tokens_details": {"cached_tokens": int(call.option("cached", 0))},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def chunk(call: Call, delta: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    choices = [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]
    return envelope(call, "chat.completion.chunk", choices, **more)


def envelope(call: Call, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    upstream_id = f"chatcmpl-{id(call)}"
    return {"id": upstream_id, "object": kind, "created": 1795000000, "model": call.model, "choices": choices, **more}


def completion(call: Call, message: dict[str, Any], finish: str = "stop", **more: Any) -> dict[str, Any]:
    choices = [
        {"index": index, "message": {"role": "assistant", **message}, "logprobs": None, "finish_reason": finish}
        for index in range(int(call.json.get("n") or 1))
    ]
    return envelope(call, "chat.completion", choices, **more)


def text_chunks(call: Call) -> list[dict[str, Any]]:
    """The deltas of a text answer, one per token and choice, without the finish."""
    indexes = range(int(call.json.get("n") or 1))
    first = [chunk(call, {"role": "assistant", "content": ""}, index=index) for index in indexes]
    return first + [chunk(call, {"content": token}, index=index) for token in tokens_of(call) for index in indexes]


def last_chunks(call: Call, finish: str = "stop", *, with_usage: bool = True) -> list[dict[str, Any]]:
    """The finish of every choice and, as OpenAI does, a chunk of its own for the usage."""
    chunks = [chunk(call, {}, finish, index=index) for index in range(int(call.json.get("n") or 1))]
    if with_usage:
        usage = usage_of(call, len(tokens_of(call)))
        chunks.append(envelope(call, "chat.completion.chunk", [], usage=usage))
    return chunks


async def send_stream(reply: Reply, chunks: list[dict[str, Any]], *, done: bool = True) -> None:
    """`chunks` as events, `delay` seconds before each but the first, then [DONE]."""
    delay = reply.call.option("delay", 0)
    await reply.begin()
    for number, data in enumerate(chunks):
        if delay and number:
            await asyncio.sleep(delay)
        await reply.event(data)
    if done:
        await reply.event("[DONE]")
    await reply.end()


async def send_answer(reply: Reply, message: dict[str, Any], deltas: list[dict[str, Any]], finish: str) -> None:
    """One answer both ways: `message` when whole, `deltas` when streamed."""
    call = reply.call
    if not call.is_stream:
        await reply.json(completion(call, message, finish, usage=usage_of(call, len(tokens_of(call)))))
        return
    await send_stream(reply, [*(chunk(call, delta) for delta in deltas), *last_chunks(call, finish)])


# --- Good answers -----------------------------------------------------------------------------------------------------


@scenario("ok")
async def ok(reply: Reply) -> None:
    """Repeats the last message. Options: tokens, delay (s), cached, thinking."""
    call = reply.call
    if call.is_stream:
        await send_stream(reply, text_chunks(call) + last_chunks(call))
        return
    await asyncio.sleep(call.option("delay", 0))
    tokens = tokens_of(call)
    await reply.json(completion(call, {"content": "".join(tokens)}, usage=usage_of(call, len(tokens))))


def tool_call(number: int, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": {"name": f"tool_{number}", "arguments": arguments}}


@scenario("tools")
async def tools(reply: Reply) -> None:
    """Calls `calls` tools (default 1); streamed arguments come in pieces, parallel calls interleaved."""
    count = int(reply.call.option("calls", 1))
    whole = [tool_call(number, '{"city": "Oslo"}') for number in range(count)]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    deltas += [{"tool_calls": [{"index": number, **tool_call(number, "")}]} for number in range(count)]
    for part in ('{"city"', ": ", '"Oslo"}'):
        deltas += [{"tool_calls": [{"index": number, "function": {"arguments": part}}]} for number in range(count)]
    await send_answer(reply, {"content": None, "tool_calls": whole}, deltas, "tool_calls")


@scenario("reasoning")
async def reasoning(reply: Reply) -> None:
    """Thinks before it answers. Option: field (reasoning_content or reasoning)."""
    field = reply.call.options.get("field", "reasoning_content")
    deltas = [{"role": "assistant", field: "Let me"}, {field: " think."}, {"content": "42"}]
    await send_answer(reply, {"content": "42", field: "Let me think."}, deltas, "stop")


@scenario("filtered")
async def filtered(reply: Reply) -> None:
    """An answer that ends with finish_reason content_filter."""
    await send_answer(reply, {"content": "I"}, [{"role": "assistant", "content": "I"}], "content_filter")


@scenario("huge")
async def huge(reply: Reply) -> None:
    """An answer of `kb` kilobytes (default 2048), streamed in pieces of 64 kB."""
    pieces = [{"content": "x" * 65536}] * (int(reply.call.option("kb", 2048)) // 64)
    await send_answer(reply, {"content": "".join(piece["content"] for piece in pieces)}, pieces, "stop")


@scenario("embed")
async def embed(reply: Reply) -> None:
    """Answers /embeddings, whatever the model: the length of each input, and 1."""
    given = reply.call.json.get("input", "")
    inputs = given if isinstance(given, list) else [given]
    data = [
        {"object": "embedding", "index": index, "embedding": [float(len(text)), 1.0]} for index, text in enumerate(inputs)
    ]
    usage = {"prompt_tokens": 5 * len(inputs), "total_tokens": 5 * len(inputs)}
    await reply.json({"object": "list", "data": data, "model": reply.call.model, "usage": usage})


# --- Odd but valid answers --------------------------------------------------------------------------------------------


@scenario("slow-first")
async def slow_first(reply: Reply) -> None:
    """Answers well, `delay` seconds late (default 1); the head of a stream comes at once."""
    call = reply.call
    if not call.is_stream:
        await asyncio.sleep(call.option("delay", 1))
        await ok(reply)
        return
    await reply.begin()
    await asyncio.sleep(call.option("delay", 1))
    for data in text_chunks(call) + last_chunks(call):
        await reply.event(data)
    await reply.event("[DONE]")
    await reply.end()


@scenario("gzip")
async def gzipped(reply: Reply) -> None:
    """A whole answer, compressed although nobody asked for it."""
    body = json.dumps(completion(reply.call, {"content": "small"}, usage=usage_of(reply.call, 1))).encode()
    await reply.whole(gzip.compress(body), 200, {**JSON_HEADERS, "content-encoding": "gzip"})


def as_bytes(chunks: list[dict[str, Any]], line_end: str = "\n", comment: str = "") -> bytes:
    events = [json.dumps(data, ensure_ascii=False) for data in chunks] + ["[DONE]"]
    return "".join(f"{comment}data: {text}{line_end * 2}" for text in events).encode()


async def send_bytes(reply: Reply, data: bytes, size: int) -> None:
    await reply.begin()
    for start in range(0, len(data), size):
        await reply.piece(data[start : start + size])
        await asyncio.sleep(0)
    await reply.end()


@scenario("bytewise")
async def bytewise(reply: Reply) -> None:
    """A stream whose HTTP chunks hold one byte each, so that characters and events are split everywhere."""
    chunks = text_chunks(reply.call) + last_chunks(reply.call)
    await send_bytes(reply, as_bytes(chunks), 1)


@scenario("crlf")
async def crlf(reply: Reply) -> None:
    """A stream with CR LF line ends, in pieces of 7 bytes."""
    await send_bytes(reply, as_bytes(text_chunks(reply.call) + last_chunks(reply.call), "\r\n"), 7)


@scenario("comments")
async def comments(reply: Reply) -> None:
    """A stream with a comment before each event."""
    chunks = text_chunks(reply.call) + last_chunks(reply.call)
    await send_bytes(reply, as_bytes(chunks, comment=": OPENROUTER PROCESSING\n\n"), 4096)


@scenario("nulls")
async def nulls(reply: Reply) -> None:
    """Null wherever a field could be left out."""
    call = reply.call
    empty = {"refusal": None, "tool_calls": None, "function_call": None, "reasoning_content": None, "annotations": None}
    if not call.is_stream:
        await reply.json(completion(call, {"content": "Hello.", **empty}, usage=usage_of(call, 1), error=None))
        return
    deltas = [chunk(call, {"role": "assistant", "content": "Hello.", **empty}, usage=None, error=None)]
    await send_stream(reply, deltas + last_chunks(call))


@scenario("no-usage")
async def no_usage(reply: Reply) -> None:
    """A good answer that reports no tokens."""
    call = reply.call
    if call.is_stream:
        await send_stream(reply, text_chunks(call) + last_chunks(call, with_usage=False))
    else:
        await reply.json(completion(call, {"content": "".join(tokens_of(call))}))


@scenario("no-done")
async def no_done(reply: Reply) -> None:
    """A complete stream without [DONE]."""
    await send_stream(reply, text_chunks(reply.call) + last_chunks(reply.call), done=False)


@scenario("no-finish")
async def no_finish(reply: Reply) -> None:
    """A complete stream without finish_reason: its tokens are counted, and [DONE] follows."""
    *_, usage = last_chunks(reply.call)
    await send_stream(reply, [*text_chunks(reply.call), usage])
