"""The scenarios in which the fake provider fails: before the first content, or inside a stream. See `tests.fakes.scenarios`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.fakes.call import Reply
from tests.fakes.scenarios import (
    JSON_HEADERS,
    chunk,
    completion,
    last_chunks,
    ok,
    scenario,
    text_chunks,
    tokens_of,
    tool_call,
)

FOREVER_S = 3600
HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


async def send_error(reply: Reply, status: int, message: str, code: str, **headers: str) -> None:
    error = {"message": message, "type": code, "param": None, "code": code}
    await reply.json({"error": error}, status, headers)


# --- Faults before the first content ----------------------------------------------------------------------------------


@scenario("silence")
async def silence(reply: Reply) -> None:
    """Accepts the request and never answers."""
    await asyncio.sleep(FOREVER_S)


@scenario("mute")
async def mute(reply: Reply) -> None:
    """Sends the head of a stream and then nothing; with option beat, a comment every `beat` seconds."""
    await reply.begin()
    beat = reply.call.option("beat", 0)
    while beat:
        await asyncio.sleep(beat)
        await reply.piece(b": PROCESSING\n\n")
    await asyncio.sleep(FOREVER_S)


@scenario("reset")
async def reset(reply: Reply) -> None:
    """Resets the connection instead of answering."""
    reply.reset()


@scenario("hang-up")
async def hang_up(reply: Reply) -> None:
    """Closes the connection instead of answering."""
    reply.hang_up()


@scenario("html")
async def html(reply: Reply) -> None:
    """A web page. Option: status (default 502)."""
    await reply.whole(HTML, int(reply.call.option("status", 502)), {"content-type": "text/html"})


@scenario("empty")
async def empty(reply: Reply) -> None:
    """200 and nothing in it."""
    kind = "text/event-stream" if reply.call.is_stream else "application/json"
    await reply.whole(b"", 200, {"content-type": kind})


@scenario("status")
async def status(reply: Reply) -> None:
    """An error of status `code` (default 500), with Retry-After where `after` is given. The text holds a URL and a key."""
    code = int(reply.call.option("code", 500))
    headers = {"retry-after": reply.call.options["after"]} if "after" in reply.call.options else {}
    text = f"upstream says {code} at https://internal.example/v1 for sk-secret0123456789abcdef"
    await send_error(reply, code, text, f"upstream_{code}", **headers)


@scenario("too-long")
async def too_long(reply: Reply) -> None:
    """400: the context length is exceeded, in OpenAI's words."""
    text = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    await send_error(reply, 400, text, "context_length_exceeded")


@scenario("refused")
async def refused(reply: Reply) -> None:
    """400: the prompt is refused by a content filter."""
    await send_error(reply, 400, "The prompt was flagged by our content policy.", "content_filter")


@scenario("error-200")
async def error_200(reply: Reply) -> None:
    """200 with an error object where the answer should be."""
    await reply.json({"error": {"message": "The model crashed", "code": 500, "type": "server_error"}})


@scenario("flapping")
async def flapping(reply: Reply) -> None:
    """Fails with 500 every other time, the first time included."""
    if reply.nth % 2:
        await send_error(reply, 500, "flapping", "server_error")
    else:
        await ok(reply)


@scenario("by-key")
async def by_key(reply: Reply) -> None:
    """Answers by the key that is sent, `…pool_a…`: with the status that option `a` says, else well."""
    letter = reply.call.headers.get("authorization", "").partition("pool_")[2][:1]
    status = int(reply.call.option(letter, 200)) if letter else 200
    if status == 200:
        await ok(reply)
    else:
        await reply.json({"error": {"message": "not with this key", "code": str(status)}}, status)


# --- Faults inside a stream: after `after` tokens ---------------------------------------------------------------------


async def begin_and_send(reply: Reply, default_after: int = 2) -> list[dict[str, Any]]:
    """Sends the opening chunk and `after` tokens; gives what is left to send."""
    chunks = text_chunks(reply.call)
    until = 1 + int(reply.call.option("after", default_after))
    await reply.begin()
    for data in chunks[:until]:
        await reply.event(data)
    return chunks[until:]


@scenario("stall")
async def stall(reply: Reply) -> None:
    """Goes silent after some tokens, connection open."""
    await begin_and_send(reply)
    await asyncio.sleep(FOREVER_S)


@scenario("cut")
async def cut(reply: Reply) -> None:
    """Closes the socket after some tokens; a whole answer breaks off half-way."""
    if reply.call.is_stream:
        await begin_and_send(reply)
    else:
        body = json.dumps(completion(reply.call, {"content": "".join(tokens_of(reply.call))})).encode()
        await reply.whole(body[: len(body) // 2], 200, JSON_HEADERS, announced_bytes=len(body))
    reply.hang_up()


@scenario("truncated")
async def truncated(reply: Reply) -> None:
    """Ends the stream properly after some tokens, but with no finish_reason and no [DONE]."""
    await begin_and_send(reply)
    await reply.end()


@scenario("done-early")
async def done_early(reply: Reply) -> None:
    """Says [DONE] after some tokens, with no finish_reason and no usage, as a proxy does whose upstream broke off."""
    await begin_and_send(reply)
    await reply.event("[DONE]")
    await reply.end()


@scenario("malformed")
async def malformed(reply: Reply) -> None:
    """One event in the middle is not JSON; the stream goes on."""
    rest = await begin_and_send(reply)
    await reply.event('{"id": "chatcmpl-')
    for data in rest + last_chunks(reply.call):
        await reply.event(data)
    await reply.event("[DONE]")
    await reply.end()


@scenario("error-frame")
async def error_frame(reply: Reply) -> None:
    """An error object inside a 200 stream after some tokens (after=0: before any content)."""
    await begin_and_send(reply, default_after=2)
    await reply.event({"error": {"message": "The engine ran out of memory", "code": 500, "type": "server_error"}})
    await reply.event("[DONE]")
    await reply.end()


@scenario("cut-tools")
async def cut_tools(reply: Reply) -> None:
    """Begins the call that `tools` makes, and closes the socket within its arguments."""
    await reply.begin()
    await reply.event(chunk(reply.call, {"tool_calls": [{"index": 0, **tool_call(0, "")}]}))
    await reply.event(chunk(reply.call, {"tool_calls": [{"index": 0, "function": {"arguments": '{"ci'}}]}))
    reply.hang_up()


@scenario("cut-reasoning")
async def cut_reasoning(reply: Reply) -> None:
    """Begins to think as `reasoning` does, and closes the socket."""
    await reply.begin()
    await reply.event(chunk(reply.call, {"role": "assistant", "reasoning_content": "Let me t"}))
    reply.hang_up()


# --- Faults that pass -------------------------------------------------------------------------------------------------


@scenario("slow-start")
async def slow_start(reply: Reply) -> None:
    """Answers well, the first time at once and later after `delay` seconds (default 5)."""
    if reply.nth > 1:
        await asyncio.sleep(reply.call.option("delay", 5))
    await ok(reply)


@scenario("down-for")
async def down_for(reply: Reply) -> None:
    """429 with Retry-After: 1 for `seconds` after the first call, then good answers."""
    if reply.since_first_s < reply.call.option("seconds", 1):
        await send_error(reply, 429, "away for a while", "rate_limited", **{"retry-after": "1"})
    else:
        await ok(reply)
