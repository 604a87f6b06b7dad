"""Whatever is said gets through the Gemini dialect, in both directions and at any chunking."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.usage import Usage
from catalog.entries import DialectName, Quirks
from completions.dialects.gemini import Gemini
from tests.completions.dialects.test_contract import adapter_with

MODELS = st.sampled_from(["gemini-2.5-flash", "gemini-3.8-flash", "gemini-flash-latest"])
TEXTS = st.text(min_size=1, max_size=30)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
SIGNATURES = st.none() | st.binary(min_size=1, max_size=12).map(lambda data: data.hex())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
ARGUMENTS = st.dictionaries(TEXTS, VALUES, max_size=3)


def _adapter(model: str):
    return dataclasses.replace(adapter_with(DialectName.GEMINI, Quirks()), upstream_model=model)


@st.composite
def conversations(draw) -> list[dict[str, Any]]:
    """Valid canonical conversations: system words anywhere, calls that are each answered at once."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": text} for text in draw(st.lists(TEXTS, max_size=2))]
    messages.append({"role": "user", "content": draw(TEXTS)})
    for turn in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["user", "parts", "system", "assistant", "tools"]))
        if kind == "parts":
            parts = [{"type": "text", "text": text} for text in draw(st.lists(TEXTS, min_size=1, max_size=3))]
            messages.append({"role": "user", "content": parts})
        elif kind != "tools":
            messages.append({"role": kind, "content": draw(TEXTS)})
        else:
            made = draw(st.lists(st.tuples(NAMES, ARGUMENTS, TEXTS | ARGUMENTS.map(json.dumps)), min_size=1, max_size=3))
            calls = [
                {
                    "id": f"call_{turn}_{n}",
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(arguments)},
                }
                for n, (name, arguments, _) in enumerate(made)
            ]
            messages.append({"role": "assistant", "content": draw(st.none() | TEXTS), "tool_calls": calls})
            for n, (_, _, result) in enumerate(made):
                messages.append({"role": "tool", "tool_call_id": f"call_{turn}_{n}", "content": result})
    return messages


def _said(messages: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What `messages` say, one item per text, call and result, in order."""
    said: list[tuple[Any, ...]] = []
    names: dict[str, str] = {}
    for position, message in enumerate(messages):
        role = message["role"]
        leads = role == "system" and all(earlier["role"] == "system" for earlier in messages[:position])
        speaker = "system" if leads else "model" if role == "assistant" else "user"
        content = message["content"] or ""
        if role == "tool":
            said.append(("result", message["tool_call_id"], names[message["tool_call_id"]], _result(content)))
            continue
        for text in [content] if isinstance(content, str) else [part["text"] for part in content]:
            said += [(speaker, text)] if text else []
        for call in message.get("tool_calls", ()):
            names[call["id"]] = call["function"]["name"]
            said.append(("call", call["id"], names[call["id"]], json.loads(call["function"]["arguments"])))
    return said


def _result(content: str) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"output": content}


def _heard(body: dict[str, Any]) -> list[tuple[Any, ...]]:
    """What Google would hear: the inverse of the encoding."""
    heard: list[tuple[Any, ...]] = [
        ("system", part["text"]) for part in body.get("systemInstruction", {"parts": ()})["parts"]
    ]
    for content in body["contents"]:
        for part in content["parts"]:
            if "functionCall" in part:
                call = part["functionCall"]
                heard.append(("call", call["id"], call["name"], call["args"]))
            elif "functionResponse" in part:
                response = part["functionResponse"]
                heard.append(("result", response["id"], response["name"], response["response"]))
            else:
                heard.append((content["role"], part["text"]))
    return heard


@settings(max_examples=60, deadline=None)
@given(messages=conversations(), model=MODELS)
def test_a_conversation_is_encoded_without_loss(messages, model):
    body = json.loads(Gemini().encode({"messages": messages}, _adapter(model), stream=True).body)
    assert _heard(body) == _said(messages)
    kinds = [(c["role"], "functionResponse" in c["parts"][0]) for c in body["contents"]]
    assert all(first != second for first, second in itertools.pairwise(kinds)), "neighbours are joined"


THOUGHT = st.fixed_dictionaries({"text": TEXTS, "thought": st.just(True), "thoughtSignature": SIGNATURES})
TEXT = st.fixed_dictionaries({"text": TEXTS, "thoughtSignature": SIGNATURES})
CALL = st.fixed_dictionaries(
    {
        "functionCall": st.fixed_dictionaries({"name": NAMES, "args": ARGUMENTS}),
        "thoughtSignature": SIGNATURES,
    }
)
COUNTS = st.integers(0, 10**6)


@st.composite
def answers(draw) -> tuple[list[dict[str, Any]], Usage]:
    """The events of one answer in Google's words, and the usage they report."""
    parts = draw(st.lists(THOUGHT | TEXT | CALL, max_size=6))
    for position, part in enumerate(parts):
        if "functionCall" in part and draw(st.booleans()):
            part["functionCall"]["id"] = f"id{position}"
        if part["thoughtSignature"] is None:
            del part["thoughtSignature"]
    prompt, cached, tools, thoughts, answer = (draw(COUNTS) for _ in range(5))
    metadata = {
        "promptTokenCount": prompt + cached, "cachedContentTokenCount": cached, "toolUsePromptTokenCount": tools,
        "thoughtsTokenCount": thoughts, "candidatesTokenCount": answer,
        "totalTokenCount": prompt + cached + tools + thoughts + answer,
    }  # fmt: skip
    cut = draw(st.integers(0, len(parts)))
    events: list[dict[str, Any]] = [
        {"candidates": [{"content": {"role": "model", "parts": half}, "index": 0}]} for half in (parts[:cut], parts[cut:])
    ]
    events[1]["candidates"][0]["finishReason"] = "STOP"
    apart = draw(st.booleans())
    if apart:
        events.append({})
    events[-1]["usageMetadata"] = metadata
    for event in events:
        event["responseId"] = "answer"
    return events, Usage(prompt_uncached=prompt + tools, cache_read=cached, completion_text=answer, reasoning=thoughts)


def _expected(events: list[dict[str, Any]]) -> dict[str, Any]:
    parts = [
        part for event in events for candidate in event.get("candidates", ()) for part in candidate["content"]["parts"]
    ]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    return {
        "content": "".join(part.get("text", "") for part in parts if "thought" not in part),
        "reasoning": "".join(part["text"] for part in parts if "thought" in part),
        "calls": [(call.get("id"), call["name"], call["args"]) for call in calls],
        "signatures": [part["thoughtSignature"] for part in parts if "thoughtSignature" in part],
        "finish": "tool_calls" if calls else "stop",
    }


def _gathered(pieces: list[dict[str, Any]], calls_given_ids: list[Any]) -> dict[str, Any]:
    calls = [call for piece in pieces for call in piece.get("tool_calls", ())]
    details = [detail for piece in pieces for detail in piece.get("reasoning_details", ())]
    ids = [call["id"] for call in calls]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    return {
        "content": "".join(piece["content"] or "" for piece in pieces),
        "reasoning": "".join(piece.get("reasoning") or "" for piece in pieces),
        "calls": [
            (call["id"] if given[0] else None, call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call, given in zip(calls, calls_given_ids, strict=True)
        ],
        "signatures": [
            detail.get("signature") or detail.get("data") for detail in details if detail.keys() & {"signature", "data"}
        ],
    }


@settings(max_examples=60, deadline=None)
@given(answer=answers(), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5), end=st.sampled_from([b"\n", b"\r\n"]))
def test_a_stream_is_decoded_without_loss_at_any_chunking(answer, sizes, end):
    events, usage = answer
    data = b"".join(b"data: " + json.dumps(event).encode() + end + end for event in events)
    decoder = Gemini().decoder(_adapter("gemini-3.8-flash"))
    chunks, position, step = [], 0, 0
    while position < len(data):
        size = sizes[step % len(sizes)]
        chunks += decoder.feed(data[position : position + size])
        position, step = position + size, step + 1
    chunks += decoder.flush()
    expected = _expected(events)
    finish = expected.pop("finish")
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert _gathered([choice["delta"] for choice in choices], expected["calls"]) == expected
    assert choices[-1]["finish_reason"] == finish
    assert [chunk.usage for chunk in chunks if chunk.usage][-1] == usage
    assert decoder.is_finished
    assert decoder.malformed == 0


@settings(max_examples=40, deadline=None)
@given(answer=answers())
def test_a_whole_answer_is_decoded_without_loss(answer):
    events, usage = answer
    parts = [
        part for event in events for candidate in event.get("candidates", ()) for part in candidate["content"]["parts"]
    ]
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}
    body = {"candidates": [candidate], "usageMetadata": events[-1]["usageMetadata"], "responseId": "answer"}
    completion = Gemini().decode(json.dumps(body).encode(), _adapter("gemini-3.8-flash"))
    expected = _expected(events)
    assert completion.choices[0]["finish_reason"] == expected.pop("finish")
    assert _gathered([completion.choices[0]["message"]], expected["calls"]) == expected
    assert completion.usage == usage


@settings(max_examples=40, deadline=None)
@given(answer=answers())
def test_an_answer_that_returns_as_history_keeps_its_calls_and_signatures(answer):
    events, _ = answer
    parts = [
        part for event in events for candidate in event.get("candidates", ()) for part in candidate["content"]["parts"]
    ]
    body = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "responseId": "answer"}
    message = Gemini().decode(json.dumps(body).encode(), _adapter("gemini-3.8-flash")).choices[0]["message"]
    chat = {"messages": [{"role": "user", "content": "?"}, message]}
    returned = json.loads(Gemini().encode(chat, _adapter("gemini-2.5-flash"), stream=False).body)["contents"][1:]
    again = returned[0]["parts"] if returned else []
    signed = [
        part["functionCall"] | {"id": None} for part in parts if "functionCall" in part and "thoughtSignature" in part
    ]
    assert [p["functionCall"] | {"id": None} for p in again if "functionCall" in p and "thoughtSignature" in p] == signed
    assert sorted(p["thoughtSignature"] for p in again if "thoughtSignature" in p) == sorted(
        part["thoughtSignature"] for part in parts if "thoughtSignature" in part
    )
