"""Streamed chat: the order and the shape of events, and every disguise that a provider's stream may wear."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise

import aiohttp
import pytest

from tests.journeys import rules


def test_a_stream_is_chunks_then_usage_with_cost_then_done(ask):
    stream = ask.stream("fake/ok")
    rules.is_stream(stream.chunks)
    assert stream.is_done
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["x-generation-id"] == stream.chunks[0]["id"]
    assert stream.text == "one two three"
    assert stream.chunks[0]["model"] == "fake/ok"

    row = ask.row()
    assert row["request_id"] == stream.chunks[0]["id"]
    assert (row["stream"], row["status_code"], row["finish_reason"]) == (1, 200, "stop")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (12, 3)
    assert float(row["cost_usd"]) == stream.chunks[-1]["usage"]["cost"] > 0
    assert row["ttft_ms"] is not None


@pytest.mark.parametrize(
    "options",
    [{"stream_options": {"include_usage": False}}, {"stream_options": None}, {"usage": {"include": False}}],
    ids=json.dumps,
)
def test_usage_is_always_sent_whatever_the_caller_says_of_it(ask, fake, options):
    rules.is_stream(ask.stream("fake/ok", **options).chunks)
    assert fake.call_with(ask.marker).json["stream_options"] == {"include_usage": True}


def test_events_are_passed_on_when_they_come_and_not_in_batches(ask, gateway):
    arrivals: list[float] = []
    with gateway.client.stream("POST", "/v1/chat/completions", json=ask.body("fake/slow-stream", stream=True)) as response:
        for piece in response.iter_raw():
            arrivals.append(time.monotonic())
            assert piece.endswith(b"\n\n")
            if len(arrivals) == 10:
                break
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert 0.02 < sorted(gaps)[len(gaps) // 2] < 0.2


def test_parallel_tool_calls_keep_their_pieces_apart(ask):
    stream = ask.stream("fake/parallel-tools")
    rules.is_stream(stream.chunks)
    arguments = ["", ""]
    started = set()
    for delta in stream.deltas():
        for call in delta.get("tool_calls", []):
            if call["index"] not in started:
                started.add(call["index"])
                assert call["id"] == f"call_{call['index']}"
                assert (call["type"], call["function"]["name"]) == ("function", f"tool_{call['index']}")
            arguments[call["index"]] += call["function"]["arguments"]
    assert [json.loads(whole) for whole in arguments] == [{"city": "Oslo"}] * 2
    assert stream.chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("model", ["fake/reasoning", "fake/reasoning-renamed"])
def test_reasoning_streams_under_one_name(ask, model):
    stream = ask.stream(model)
    rules.is_stream(stream.chunks)
    assert "".join(delta.get("reasoning") or "" for delta in stream.deltas()) == "Let me think."
    assert stream.text == "42"


def test_choices_stream_side_by_side(ask):
    stream = ask.stream("fake/ok", n=2)
    for chunk in stream.chunks:
        rules.is_chunk(chunk)
    texts = ["".join(delta["content"] for delta in stream.deltas(index)) for index in (0, 1)]
    assert texts == ["one two three"] * 2
    assert {choice["index"] for choice in stream.chunks[-1]["choices"]} == {0, 1}


@pytest.mark.parametrize("model", ["fake/bytewise", "fake/crlf", "fake/comments", "fake/no-done", "fake/no-usage"])
def test_every_disguise_of_a_good_stream_reads_the_same(ask, model):
    stream = ask.stream(model, messages=[{"role": "user", "content": "één 🦉 owl"}])
    rules.is_stream(stream.chunks)
    assert stream.is_done
    assert stream.text == "één 🦉 owl"
    row = ask.row()
    assert (row["status_code"], row["error"]) == (200, None)
    assert row["is_estimated"] == int(model == "fake/no-usage")


def test_nulls_of_the_provider_do_not_reach_the_caller(ask):
    rules.is_stream(ask.stream("fake/nulls").chunks)


def test_an_unreadable_event_costs_only_itself(ask):
    stream = ask.stream("fake/malformed", messages=[{"role": "user", "content": "a b c d e"}])
    rules.is_stream(stream.chunks)
    assert stream.is_done
    assert stream.text == "a b c d e"


def test_two_megabytes_stream_through(ask):
    assert len(ask.stream("fake/huge").text) == 2 * 1024 * 1024


@pytest.mark.parametrize("model", ["fake/late", "fake/pausing"])
def test_a_silent_provider_is_bridged_by_comments_until_it_speaks(ask_strictly, model):
    stream = ask_strictly.stream(model)
    rules.is_stream(stream.chunks)
    assert stream.is_done
    assert set(stream.comments) == {": OPENROUTER PROCESSING"}
    assert 2 <= len(stream.comments) <= 8


def test_comments_stop_when_the_idle_deadline_has_passed(ask_strictly):
    began = time.monotonic()
    stream = ask_strictly.stream("fake/stalling")
    assert time.monotonic() - began < 3
    assert stream.chunks[-1]["error"]["code"] == 504
    assert stream.is_done


async def test_forty_streams_at_once_do_not_mix(ask, gateway):
    async def text_of(number: int) -> str:
        words = " ".join(f"{number}-{position}" for position in range(20))
        body = ask.body("fake/ok", stream=True, messages=[{"role": "user", "content": words}])
        async with session.post("/v1/chat/completions", json=body) as response:
            chunks = (await response.text()).split("\n\n")[:-2]
        deltas = [choice["delta"] for chunk in chunks for choice in json.loads(chunk.removeprefix("data: "))["choices"]]
        assert "".join(delta["content"] for delta in deltas) == words
        return words

    async with aiohttp.ClientSession(gateway.url) as session:
        assert len(set(await asyncio.gather(*map(text_of, range(40))))) == 40
