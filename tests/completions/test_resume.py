"""Going on with a broken answer: whatever was said, the rest follows once and to the letter, or nothing does."""

from __future__ import annotations

import copy
import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from catalog.entries import Continuation
from completions.dialects.base import Chunk
from completions.resume import AnswersDiffer, Replay, Said, continuation

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}


def chunk(finish=None, index=0, usage=None, **delta) -> Chunk:
    delta = {"role": "assistant", "content": "", **delta}
    if "reasoning" in delta:
        delta.setdefault("reasoning_details", [{"type": "reasoning.text", "text": delta["reasoning"], "index": 0}])
    choice = {"index": index, "delta": delta, "finish_reason": finish, "native_finish_reason": finish}
    return Chunk([choice], usage)


def begun(number: int, name: str) -> Chunk:
    call = {"index": number, "id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": ""}}
    return chunk(tool_calls=[call])


def argued(number: int, text: str) -> Chunk:
    return chunk(tool_calls=[{"index": number, "function": {"arguments": text}}])


def said_in(chunks: list[Chunk]) -> dict[str, str]:
    """All that chunks say, by part, and the finish."""
    parts: dict[str, str] = {}
    for piece in chunks:
        for choice in piece.choices:
            delta = choice["delta"]
            told = {"reasoning": delta.get("reasoning"), "content": delta["content"], "finish": choice["finish_reason"]}
            for detail in delta.get("reasoning_details") or ():
                told["details"] = (told.get("details") or "") + detail["text"]
            for call in delta.get("tool_calls") or ():
                function = call["function"]
                told |= {f"id {call['index']}": call.get("id"), f"name {call['index']}": function.get("name")}
                told[f"arguments {call['index']}"] = function.get("arguments")
            for name, text in told.items():
                if text:
                    parts[name] = parts.get(name, "") + text
    return parts


def joined(*parts: dict[str, str]) -> dict[str, str]:
    whole: dict[str, str] = {}
    for part in parts:
        for name, text in part.items():
            whole[name] = whole.get(name, "") + text
    return whole


def replay(sent: list[Chunk], again: list[Chunk], batch: int = 1) -> list[Chunk]:
    """What is new in `again`, fed `batch` chunks at a time, for a caller who has `sent`."""
    said = Said()
    said.add(sent)
    replayed = Replay(said)
    new = []
    for at in range(0, len(again), batch):
        new += replayed.feed(copy.deepcopy(again[at : at + batch]))
    assert replayed.is_caught_up
    return new


texts = st.text("ab \n\u00e9", min_size=1, max_size=6)


def cut(text: str, at: list[int]) -> list[str]:
    """`text` in pieces, cut at the places `at`, none of them empty."""
    places = sorted({place % len(text) for place in at} | {0, len(text)})
    return [text[begin:end] for begin, end in itertools.pairwise(places)]


@st.composite
def answers(draw) -> tuple[list[Chunk], list[Chunk]]:
    """One answer, twice, in pieces of different sizes."""
    parts = draw(st.tuples(st.one_of(st.none(), texts), st.one_of(st.none(), texts)))
    calls = draw(st.lists(st.tuples(texts, texts), max_size=2))
    assume(calls or any(parts))
    told: list[list[Chunk]] = []
    for _ in range(2):
        places = draw(st.lists(st.integers(0, 5), max_size=3))
        pieces = [chunk(**{kind: piece}) for kind, text in zip(("reasoning", "content"), parts, strict=True) if text
                  for piece in cut(text, places)]  # fmt: skip
        for number, (name, arguments) in enumerate(calls):
            pieces += [begun(number, name), *(argued(number, piece) for piece in cut(arguments, places))]
        told.append([*pieces, chunk("tool_calls" if calls else "stop")])
    return told[0], told[1]


@given(answers(), st.integers(0, 20), st.integers(1, 9))
def test_the_same_answer_again_gives_exactly_the_rest_wherever_the_first_one_broke(told, broken_at, batch):
    first, again = told
    sent = first[: min(broken_at, len(first) - 1)]
    new = replay(sent, again, batch)
    assert joined(said_in(sent), said_in(new)) == said_in(again)
    assert [choice["finish_reason"] for piece in new for choice in piece.choices if choice["finish_reason"]]


@given(answers(), st.integers(0, 20), st.integers(0, 99))
def test_an_answer_that_deviates_in_what_was_sent_is_never_gone_on_with(told, broken_at, place):
    first, again = told
    sent = first[: min(broken_at, len(first) - 1)]
    parts = [name for name in ("reasoning", "content", "arguments 0", "name 0") if name in said_in(sent)]
    assume(parts)
    part = parts[place % len(parts)]
    again = copy.deepcopy(again)
    change_at(again, part, place % len(said_in(sent)[part]))
    with pytest.raises(AnswersDiffer):
        replay(sent, again)


def change_at(chunks: list[Chunk], part: str, place: int) -> None:
    """Make the character at `place` of a part of the answer another one."""
    for piece in chunks:
        delta = piece.choices[0]["delta"]
        holder, key = delta, part
        if " " in part:
            (call,) = delta.get("tool_calls") or [{"index": None}]
            if call["index"] != int(part[-1]):
                continue
            holder, key = call["function"], part[:-2]
        text = holder.get(key) or ""
        if place < len(text):
            holder[key] = text[:place] + "#" + text[place + 1 :]
            return
        place -= len(text)
    raise AssertionError(f"{part} has no such place")


def test_parallel_calls_that_are_told_in_another_order_lose_nothing():
    sent = [begun(0, "look"), argued(0, '{"a"')]
    again = [begun(0, "look"), begun(1, "find"), argued(1, "{}"), argued(0, '{"a": 1}'), chunk("tool_calls")]
    assert joined(said_in(sent), said_in(replay(sent, again))) == said_in(again)


@pytest.mark.parametrize(
    ("sent", "again"),
    [
        ([chunk(content="one two")], [chunk(content="one"), chunk("stop")]),
        ([chunk(reasoning="Hmm")], [chunk(content="one"), chunk("stop")]),
        ([chunk(reasoning="Hmm"), chunk(content="one")], [chunk(reasoning="Hmm, well"), chunk(content="one")]),
        ([chunk(content="one"), begun(0, "look")], [chunk(content="one two"), begun(0, "look")]),
        ([chunk(content="one")], [begun(0, "look"), chunk("tool_calls")]),
        ([begun(0, "look")], [begun(0, "find"), chunk("tool_calls")]),
        ([chunk(content="one")], [chunk(content="one", index=1)]),
    ],
    ids=[
        "shorter",
        "no-reasoning",
        "more-reasoning",
        "more-before-a-call",
        "a-call-instead",
        "another-tool",
        "another-choice",
    ],
)
def test_another_answer_is_none(sent, again):
    with pytest.raises(AnswersDiffer):
        replay(sent, again)


@pytest.mark.parametrize(
    "piece",
    [
        chunk(images=[{"type": "image_url"}]),
        chunk(refusal="I cannot"),
        chunk(content="two", index=1),
        chunk(reasoning_details=[{"type": "reasoning.text", "text": "", "signature": "c2ln"}]),
        chunk(reasoning_details=[{"type": "reasoning.encrypted", "data": "ZGF0YQ=="}]),
    ],
    ids=["image", "refusal", "second-choice", "signature", "encrypted"],
)
def test_what_nobody_repeats_is_not_resumed(piece):
    said = Said()
    said.add([chunk(content="one"), piece])
    assert said.has_other


def test_a_continuation_hands_over_what_was_said_in_the_providers_way():
    said = Said(content=["one ", "two"])
    asked = continuation(CHAT, said, Continuation.VLLM)
    assert asked is not None
    assert asked["messages"][-1] == {"role": "assistant", "content": "one two"}
    assert (asked["continue_final_message"], asked["add_generation_prompt"], asked["max_tokens"]) == (True, False, 99)
    asked = continuation(CHAT, said, Continuation.DEEPSEEK)
    assert asked is not None
    assert asked["messages"][-1] == {"role": "assistant", "content": "one two", "prefix": True}
    assert CHAT["messages"] == [{"role": "user", "content": "Hi"}], "the caller's request stays as it was"


@pytest.mark.parametrize(
    ("chat", "said", "way"),
    [
        (CHAT, Said(content=["one"]), Continuation.NONE),
        (CHAT, Said(), Continuation.VLLM),
        (CHAT, Said(reasoning=["Hm"]), Continuation.VLLM),
        ({**CHAT, "response_format": {"type": "json_object"}}, Said(content=['{"a"']), Continuation.VLLM),
        ({**CHAT, "response_format": {"type": "json_schema"}}, Said(content=['{"a"']), Continuation.DEEPSEEK),
    ],
    ids=["not-offered", "nothing-said", "only-thoughts", "json", "schema"],
)
def test_what_no_model_goes_on_with_reliably_is_not_handed_over(chat, said, way):
    assert continuation(chat, said, way) is None


def test_a_tool_call_is_not_handed_over():
    said = Said(content=["one"])
    said.add([begun(0, "look")])
    assert continuation(CHAT, said, Continuation.VLLM) is None
