"""Properties of the OpenAI dialect: nothing a caller says is lost on the way out, and nothing a provider says on the way back."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.entries import DialectName, Quirks, ReasoningEcho
from completions.dialects import DIALECTS
from completions.dialects.base import Chunk
from gateway_project.errors import ProviderError
from tests.completions.dialects.test_contract import adapter_with

OPENAI = DIALECTS[DialectName.OPENAI]
PLAIN = adapter_with(DialectName.OPENAI, Quirks(accepts_developer_role=True))

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
numbers = st.integers(0, 5000)
arguments = st.dictionaries(names, st.integers(-9, 9) | words, max_size=2).map(lambda value: orjson.dumps(value).decode())

# --- Out ---------------------------------------------------------------------------------------------------------------

parts = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, words),
    st.builds(lambda url: {"type": "image_url", "image_url": {"url": url, "detail": "low"}}, words.filter(bool)),
    st.builds(lambda data: {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}, words),
    st.builds(lambda data: {"type": "file", "file": {"file_data": data}}, words),
)
calls = st.builds(
    lambda name, args, n: {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": args}},
    names, arguments, numbers,
)  # fmt: skip
messages = st.one_of(
    st.builds(lambda role, said: {"role": role, "content": said}, st.sampled_from(["system", "developer", "user"]), words),
    st.builds(lambda said: {"role": "user", "content": said}, st.lists(parts, min_size=1, max_size=3)),
    st.builds(lambda said: {"role": "assistant", "content": said}, words),
    st.builds(lambda made: {"role": "assistant", "content": None, "tool_calls": made}, st.lists(calls, min_size=1, max_size=3)),
    st.builds(lambda said, n: {"role": "tool", "tool_call_id": f"call_{n}", "content": said}, words, numbers),
)  # fmt: skip
fields = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2), "top_p": st.floats(0, 1), "top_k": numbers, "seed": numbers, "stop": st.lists(words),
        "max_tokens": st.integers(1, 9000), "guided_json": st.dictionaries(names, words), "unheard_of": words | numbers,
        "logit_bias": st.dictionaries(names, st.floats(-100, 100)), "user": words,
        "response_format": st.just({"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}),
        "tools": st.just([{"type": "function", "function": {"name": "look", "parameters": {}}}]),
    },
)  # fmt: skip


@given(said=st.lists(messages, min_size=1, max_size=5), asked=fields, stream=st.booleans())
def test_a_conversation_passes_through_as_it_is(said, asked, stream):
    chat = {**asked, "messages": said}
    body = orjson.loads(OPENAI.encode(chat, PLAIN, stream=stream).body)
    assert body.pop("model") == "test-model"
    assert body.pop("stream") is stream
    assert body.pop("stream_options", None) == ({"include_usage": True} if stream else None)
    assert body == orjson.loads(orjson.dumps(chat))


@given(said=st.lists(messages, min_size=1, max_size=5), thought=words.filter(bool))
def test_reasoning_comes_back_where_it_is_wanted_and_nowhere_else(said, thought):
    chat = {"messages": [{**message, "reasoning": thought} for message in said]}
    for echo in (ReasoningEcho.NOTHING, ReasoningEcho.REASONING, ReasoningEcho.REASONING_CONTENT):
        adapter = adapter_with(DialectName.OPENAI, Quirks(reasoning_echo=echo))
        for before, after in zip(
            said, orjson.loads(OPENAI.encode(chat, adapter, stream=False).body)["messages"], strict=True
        ):
            found = {key: after[key] for key in ("reasoning", "reasoning_content") if key in after}
            is_wanted = before["role"] == "assistant" and echo is not ReasoningEcho.NOTHING
            assert found == ({str(echo): thought} if is_wanted else {})


# --- Back --------------------------------------------------------------------------------------------------------------


@dataclass
class Spoken:
    """An answer, as a provider would tell it piece by piece, and as a client puts it together again."""

    content: str = ""
    reasoning: str = ""
    calls: list[dict[str, str]] = field(default_factory=list)
    finish: str | None = None


@st.composite
def answers(draw: st.DrawFn) -> tuple[Spoken, list[dict[str, Any]]]:
    """An answer and the deltas in which it is told, in one of the spellings that are in use."""
    spoken = Spoken(finish="stop")
    deltas: list[dict[str, Any]] = []
    thinks_in = draw(st.sampled_from(["reasoning", "reasoning_content"]))
    for piece in draw(st.lists(words, max_size=3)):
        spoken.reasoning += piece
        deltas.append({thinks_in: piece, "content": draw(st.sampled_from([None, ""]))})
    for piece in draw(st.lists(words, max_size=4)):
        spoken.content += piece
        deltas.append({"content": piece})
    has_index, repeats_id = draw(st.booleans()), draw(st.booleans())
    for number, (name, args) in enumerate(draw(st.lists(st.tuples(names, arguments), max_size=3))):
        identifier = f"call_{number}"
        spoken.calls.append({"id": identifier, "name": name, "arguments": args})
        cut = draw(st.integers(0, len(args)))
        first: dict[str, Any] = {"id": identifier, "type": "function", "function": {"name": name, "arguments": args[:cut]}}
        later: dict[str, Any] = {"function": {"arguments": args[cut:]}} | ({"id": identifier} if repeats_id else {})
        for fragment in (first, later):
            deltas.append({"tool_calls": [fragment | ({"index": number} if has_index else {})]})
    if spoken.calls:
        spoken.finish = "tool_calls"
    return spoken, deltas


def wire(deltas: list[dict[str, Any]], native: str, usage: dict[str, Any], newline: bytes, *, has_done: bool) -> bytes:
    told: list[dict[str, Any]] = [
        {"id": "c-1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    told.append({"id": "c-1", "choices": [{"index": 0, "delta": {}, "finish_reason": native}]})
    told.append({"id": "c-1", "choices": [], "usage": usage})
    lines = [b"data: " + orjson.dumps(event) for event in told] + ([b"data: [DONE]"] if has_done else [])
    return b"".join(line + newline * 2 for line in lines)


def heard(chunks: list[Chunk]) -> Spoken:
    """What a client that follows OpenAI's rules makes of `chunks`."""
    spoken = Spoken()
    for chunk in chunks:
        for choice in chunk.choices:
            delta = choice["delta"]
            spoken.content += delta["content"]
            spoken.reasoning += delta.get("reasoning", "")
            spoken.finish = choice["finish_reason"] or spoken.finish
            for call in delta.get("tool_calls", ()):
                if call["index"] == len(spoken.calls):
                    spoken.calls.append({"id": call["id"], "name": call["function"]["name"], "arguments": ""})
                else:
                    assert "id" not in call
                spoken.calls[call["index"]]["arguments"] += call["function"].get("arguments", "")
    return spoken


@settings(max_examples=200)
@given(
    answer=answers(), prompt=numbers, completion=numbers, cached=numbers, thought=numbers,
    newline=st.sampled_from([b"\n", b"\r\n"]), has_done=st.booleans(), cuts=st.lists(st.integers(1, 400), max_size=40),
)  # fmt: skip
def test_no_piece_of_an_answer_is_lost_however_it_is_cut(
    answer, prompt, completion, cached, thought, newline, has_done, cuts
):
    spoken, deltas = answer
    cached, thought = min(cached, prompt), min(thought, completion)
    usage = {
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached}, "completion_tokens_details": {"reasoning_tokens": thought},
    }  # fmt: skip
    data = wire(deltas, "stop", usage, newline, has_done=has_done)
    decoder, chunks = OPENAI.decoder(PLAIN), []
    for size in [*cuts, len(data)]:
        chunks += decoder.feed(data[:size])
        data = data[size:]
    chunks += decoder.flush()
    assert heard(chunks) == spoken
    assert decoder.is_finished
    assert decoder.is_done is has_done
    assert decoder.malformed == 0
    counted = chunks[-1].usage
    assert counted is not None
    assert (counted.prompt_tokens, counted.completion_tokens) == (prompt, completion)
    assert (counted.cache_read, counted.reasoning) == (cached, thought)


@given(answer=answers(), prompt=numbers, completion=numbers)
def test_a_whole_answer_says_what_its_stream_says(answer, prompt, completion):
    spoken, _ = answer
    message = {
        "role": "assistant",
        "content": spoken.content,
        "reasoning_content": spoken.reasoning,
        "tool_calls": [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in spoken.calls
        ],
    }
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    completed = OPENAI.decode(orjson.dumps({"id": "c-1", "choices": choices, "usage": usage}), PLAIN)
    [choice] = completed.choices
    said = choice["message"]
    assert said["content"] == spoken.content
    assert said.get("reasoning", "") == spoken.reasoning
    found = [{"id": call["id"], **call["function"]} for call in said.get("tool_calls", ())]
    assert found == spoken.calls
    assert choice["finish_reason"] == spoken.finish
    assert completed.usage is not None
    assert completed.usage.total_tokens == prompt + completion


@given(st.binary(max_size=60) | st.recursive(st.none() | words | numbers, lambda v: st.lists(v) | st.dictionaries(
    st.sampled_from(["choices", "delta", "message", "content", "tool_calls", "function", "usage", "index", "error"]), v,
)).map(orjson.dumps))  # fmt: skip
def test_garbage_is_counted_or_refused_and_never_breaks_the_decoder(data):
    decoder = OPENAI.decoder(PLAIN)
    with contextlib.suppress(ProviderError):
        assert isinstance(decoder.feed(b"data: " + data.replace(b"\n", b"") + b"\n\n"), list)
    with contextlib.suppress(ProviderError):
        assert OPENAI.decode(data, PLAIN).choices
