"""Whatever is said, nothing of it is lost: on the way to Anthropic, on the way back, and on the way there again."""

from __future__ import annotations

import contextlib
import itertools
import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.usage import Usage
from catalog.entries import AdapterEntry, DialectName, Prices, ProviderEntry
from completions.dialects.anthropic import Anthropic, turns
from gateway_project.errors import ProviderError

PROVIDER = ProviderEntry(
    id=1, slug="anthropic", name="Anthropic", dialect=DialectName.ANTHROPIC, base_url="http://127.0.0.1:9/v1", api_keys=(),
    is_local=False, connect_timeout_s=1, first_byte_timeout_s=1, idle_timeout_s=1, total_timeout_s=1, extra_headers={},
)  # fmt: skip
MODELS = ("claude-haiku-4-5", "claude-sonnet-4-6", "claude-opus-4-8", "claude-sonnet-5-5", "deepseek-chat")


def adapter(model: str) -> AdapterEntry:
    return AdapterEntry(
        id=1, model_id="anthropic/claude", provider=PROVIDER, upstream_model=model, is_enabled=True, prices=Prices(),
        context_length=200_000, max_output_length=None, quantization=None, supported_parameters=frozenset(),
        unconfigured=None,
    )  # fmt: skip


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(str.strip)
identifiers = st.text("abcXYZ019-.:é/", min_size=1, max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
inputs = st.dictionaries(words, values, max_size=3)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Messages as a well-behaved client sends them: the results of all calls stand right after the calls."""
    messages: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 6))):
        role = draw(st.sampled_from(["system", "developer", "user", "assistant", "calls"]))
        if role != "calls":
            content: Any = draw(words)
            if draw(st.booleans()):
                content = [{"type": "text", "text": text} for text in draw(st.lists(words, min_size=1, max_size=3))]
            messages.append({"role": role, "content": content})
            continue
        ids = draw(st.lists(identifiers, min_size=1, max_size=3, unique=True))
        calls = [
            {
                "id": identifier,
                "type": "function",
                "function": {
                    "name": draw(st.sampled_from(["look", "go"])),
                    "arguments": orjson.dumps(draw(inputs)).decode(),
                },
            }
            for identifier in ids
        ]
        messages.append({"role": "assistant", "content": draw(st.none() | words), "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": identifier, "content": draw(words)} for identifier in ids]
    messages.append({"role": "user", "content": draw(words)})
    return messages


Atom = tuple[Any, ...]


def said(messages: list[dict[str, Any]]) -> list[Atom]:
    """What a canonical conversation says, in order."""
    atoms: list[Atom] = []
    for message in messages:
        role = "system" if message["role"] == "developer" else message["role"]
        if role == "tool":
            atoms.append(("result", message["tool_call_id"], message["content"]))
            continue
        content = message["content"]
        texts = [content] if isinstance(content, str) else [part["text"] for part in content or ()]
        atoms += [(role, text) for text in texts]
        for call in message.get("tool_calls", ()):
            atoms.append(("call", call["id"], call["function"]["name"], orjson.loads(call["function"]["arguments"])))
    return atoms


def heard(body: dict[str, Any]) -> list[Atom]:
    """What a Messages request says, in order: the inverse of encoding."""
    atoms: list[Atom] = [("system", block["text"]) for block in body.get("system", ())]
    for turn in body["messages"]:
        for block in turn["content"]:
            if block["type"] == "tool_use":
                atoms.append(("call", _original(block["id"]), block["name"], block["input"]))
            elif block["type"] == "tool_result":
                atoms.append(("result", _original(block["tool_use_id"]), block["content"]))
            else:
                reminder = re.fullmatch(r"<system-reminder>\n(.*)\n</system-reminder>", block["text"], re.DOTALL)
                atoms.append(("system", reminder[1]) if reminder else (turn["role"], block["text"]))
    return atoms


def _original(identifier: str) -> str:
    return re.sub(r"_([0-9a-f]+)_", lambda found: chr(int(found[1], 16)), identifier)


@settings(max_examples=150, deadline=None)
@given(conversations(), st.sampled_from(MODELS))
def test_a_conversation_is_encoded_without_loss(messages, model):
    chat = {"messages": messages, "tools": [{"type": "function", "function": {"name": "look"}}]}
    body = orjson.loads(Anthropic().encode(chat, adapter(model), stream=False).body)
    atoms = heard(body)
    begins_with_user = next(message["role"] for message in messages if message["role"] not in ("system", "developer"))
    if begins_with_user == "assistant":
        atoms.remove(("user", turns.OPENING))
    assert atoms == said(messages)
    roles = [turn["role"] for turn in body["messages"] if turn["role"] != "system"]
    assert roles[0] == "user"
    assert all(before != after for before, after in itertools.pairwise(roles))
    for turn in body["messages"]:
        results = [block["type"] == "tool_result" for block in turn["content"]]
        assert results == sorted(results, reverse=True), "results come first"


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """Messages as Anthropic sends them: thinking and texts in any order, calls last."""
    content: list[dict[str, Any]] = []
    for kind in draw(st.lists(st.sampled_from(["text", "thinking", "redacted_thinking"]), max_size=5)):
        if kind == "text" and not (content and content[-1]["type"] == "text"):
            content.append({"type": "text", "text": draw(words)})
        elif kind == "thinking":
            content.append({"type": "thinking", "thinking": draw(st.just("") | words), "signature": draw(words)})
        elif kind == "redacted_thinking":
            content.append({"type": "redacted_thinking", "data": draw(words)})
    for number in range(draw(st.integers(0, 3))):
        content.append({"type": "tool_use", "id": f"toolu_{number}", "name": draw(words), "input": draw(inputs)})
    tokens = st.integers(0, 10**6)
    output = draw(st.integers(1, 10**6))
    lifetimes = {"ephemeral_5m_input_tokens": draw(tokens), "ephemeral_1h_input_tokens": draw(tokens)}
    usage = {
        "input_tokens": draw(tokens),
        "cache_read_input_tokens": draw(tokens),
        "cache_creation_input_tokens": sum(lifetimes.values()),
        "cache_creation": lifetimes,
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": draw(st.integers(0, output))},
    }
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "content": content,
            "stop_reason": draw(st.sampled_from(["end_turn", "tool_use", "max_tokens"])), "usage": usage}  # fmt: skip


def pieces(text: str, cut: int) -> list[str]:
    return [text[:cut], text[cut:]]


EMPTY: dict[str, dict[str, Any]] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}
"""What of a block is still empty when it starts."""


def streamed(message: dict[str, Any], cut: int, newline: str) -> bytes:
    """`message` as the event stream that it would have come in."""
    usage = message["usage"]
    opening = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    opening["usage"].pop("output_tokens_details")
    events: list[dict[str, Any]] = [{"type": "message_start", "message": opening}, {"type": "ping"}]
    for index, block in enumerate(message["content"]):
        kind = block["type"]
        deltas: list[dict[str, Any]] = []
        if kind == "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"], cut)]
        elif kind == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"], cut)]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif kind == "tool_use":
            arguments = orjson.dumps(block["input"]).decode() if block["input"] else ""
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(arguments, cut)]
        events.append({"type": "content_block_start", "index": index, "content_block": {**block, **EMPTY.get(kind, {})}})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    final = {key: usage[key] for key in ("output_tokens", "output_tokens_details")}
    events.append({"type": "message_delta", "delta": {"stop_reason": message["stop_reason"]}, "usage": final})
    events.append({"type": "message_stop"})
    lines = (f"event: {event['type']}\ndata: {orjson.dumps(event).decode()}\n\n" for event in events)
    return "".join(lines).replace("\n", newline).encode()


def collected(data: bytes, sizes: list[int]) -> tuple[dict[str, Any], str | None, Usage | None]:
    """Message, finish reason and usage as a client collects them, with the pieces of reasoning kept as they came."""
    decoder = Anthropic().decoder(adapter("claude-opus-5-5"))
    chunks, position = [], 0
    while position < len(data):
        size = sizes[position % len(sizes)]
        chunks += decoder.feed(data[position : position + size])
        position += size
    chunks += decoder.flush()
    assert decoder.is_finished
    assert decoder.is_done
    text, reasoning, finish, usage = "", "", None, None
    details: list[dict[str, Any]] = []
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            delta = choice["delta"]
            finish = choice["finish_reason"] or finish
            text += delta["content"]
            reasoning += delta.get("reasoning", "")
            details += delta.get("reasoning_details", ())
            for piece in delta.get("tool_calls", ()):
                if "id" in piece:
                    calls[piece["index"]] = {**piece, "function": dict(piece["function"])}
                else:
                    calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "reasoning": reasoning or None}
    optional = {"reasoning_details": details, "tool_calls": [calls[index] for index in sorted(calls)]}
    return {**message, **{key: value for key, value in optional.items() if value}}, finish, usage


def blocks_again(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The assistant turn that `message` becomes when it is sent back."""
    chat = {"messages": [{"role": "user", "content": "Go"}, message, {"role": "user", "content": "On"}]}
    body = orjson.loads(Anthropic().encode(chat, adapter("claude-opus-5-5"), stream=False).body)
    return [block for turn in body["messages"] if turn["role"] == "assistant" for block in turn["content"]]


@settings(max_examples=120, deadline=None)
@given(answers(), st.integers(0, 6), st.lists(st.integers(1, 40), min_size=1, max_size=4), st.sampled_from(["\n", "\r\n"]))
def test_an_answer_is_decoded_without_loss_and_comes_back_as_it_was(message, cut, sizes, newline):
    completion = Anthropic().decode(orjson.dumps(message), adapter("claude-opus-5-5"))
    whole = completion.choices[0]["message"]
    streamed_message, finish, usage = collected(streamed(message, cut, newline), sizes)
    assert finish == completion.choices[0]["finish_reason"]
    assert usage == completion.usage
    reported = message["usage"]
    counted = completion.usage
    assert counted is not None
    assert counted.completion_tokens == reported["output_tokens"]
    assert counted.reasoning == reported["output_tokens_details"]["thinking_tokens"]
    assert counted.prompt_uncached == reported["input_tokens"]
    assert counted.cache_read == reported["cache_read_input_tokens"]
    assert counted.cache_write == reported["cache_creation"]["ephemeral_5m_input_tokens"]
    assert counted.cache_write_1h == reported["cache_creation"]["ephemeral_1h_input_tokens"]
    for decoded in (whole, streamed_message):
        assert decoded["content"] == ("".join(block.get("text", "") for block in message["content"]) or None)
        assert blocks_again(decoded) == message["content"]


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "id", "url"]), inner),
    max_leaves=4,
)
odd_blocks = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "thinking", "tool_use", "server_tool_use", "web_search_tool_result"])},
    optional=dict.fromkeys(("text", "thinking", "signature", "id", "tool_use_id", "input", "citations"), junk),
)
odd_deltas = st.fixed_dictionaries(
    {"type": st.sampled_from(["text_delta", "input_json_delta", "thinking_delta", "signature_delta", "citations_delta"])},
    optional=dict.fromkeys(("text", "partial_json", "thinking", "signature", "citation", "stop_reason"), junk),
)
odd_events = st.fixed_dictionaries(
    {"type": st.sampled_from(["message_start", "content_block_start", "content_block_delta", "content_block_stop",
                              "message_delta", "error"])},
    optional={"index": junk, "message": junk, "content_block": junk | odd_blocks, "delta": junk | odd_deltas,
              "usage": junk, "error": junk},
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(odd_events, min_size=1, max_size=4), junk | st.lists(odd_blocks, max_size=3), junk)
def test_values_of_wrong_types_are_the_providers_fault(events, content, usage):
    decoder = Anthropic().decoder(adapter("claude-opus-5-5"))
    with contextlib.suppress(ProviderError):
        chunks = decoder.feed(b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events))
        for chunk in chunks:
            assert all(isinstance(choice["delta"]["content"], str) for choice in chunk.choices)
        decoder.flush()
    with contextlib.suppress(ProviderError):
        Anthropic().decode(orjson.dumps({"content": content, "usage": usage}), adapter("claude-opus-5-5"))


@pytest.mark.parametrize("model", MODELS)
def test_the_pieces_of_a_text_keep_their_order_around_calls(model):
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}]},
        {"role": "user", "content": "d"},
        {"role": "tool", "tool_call_id": "c1", "content": "c"},
    ]  # fmt: skip
    body = orjson.loads(Anthropic().encode({"messages": messages}, adapter(model), stream=False).body)
    assert heard(body) == [
        ("user", "a"),
        ("assistant", "b"),
        ("call", "c1", "look", {}),
        ("result", "c1", "c"),
        ("user", "d"),
    ]
