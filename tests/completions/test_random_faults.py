"""Faults in random order, a thousand times: a request ends in one whole answer or one honest error, once on the record.

Everything runs but HTTP and the database. Providers do as `Fault` says; some of them give the same answer as others, so that
streams are resumed, and some another, so that they must not be.
"""

from __future__ import annotations

import enum
import json
import logging
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounting import ledger
from accounting.lines import decode
from gateway_project.errors import ERROR_TYPES
from routingapp.entries import PolicyEntry
from tests.completions.stage import FIRST_BYTE_S, TOTAL_S, Outcome, Stage, begin_ledger
from tests.fakes.clock import VirtualLoop
from tests.fakes.transport import Piece, Script

DEADLINE_S = 8.0
ATTEMPTS = 3
LONGEST_S = DEADLINE_S + ATTEMPTS * (FIRST_BYTE_S + TOTAL_S + 3)
ANSWERS: tuple[list[tuple[str, str]], ...] = (
    [("content", "one "), ("content", "two "), ("content", "three")],
    [("content", "one "), ("content", "two"), ("content", " and a half")],
    [("reasoning", "Hm"), ("reasoning", "m."), ("content", "one "), ("content", "two")],
    [("call 0", "look"), ("0", '{"a":'), ("call 1", "find"), ("0", " 1}"), ("1", "{}")],
    [("call 0", "look"), ("call 1", "find"), ("1", "{}"), ("0", '{"a":'), ("0", " 1}")],
    [("content", "Wait."), ("call 0", "look"), ("0", '{"a": 1}')],
)
"""What providers answer: the third and the fourth say the same in another order."""


class Fault(enum.Enum):
    NONE = "answers"
    CONNECT = "refuses the connection"
    RESET = "resets before the head"
    SILENCE = "never answers"
    MUTE = "sends a head and nothing else"
    COMMENTS = "sends comments for ever"
    LATE = "begins late, but in time"
    STATUS = "answers with an error"
    LIMITED = "answers 429 with Retry-After: 1"
    HTML = "sends a web page"
    WRAPPED = "sends an error in a 200"
    EMPTY = "sends nothing in a 200"
    CUT = "resets in the middle"
    END = "ends in the middle"
    STALL = "goes silent in the middle"
    DRIP = "sends comments for ever in the middle"
    FRAME = "sends an error in the middle"
    LATE_FRAME = "sends an error after the end"
    MALFORMED = "sends an event that is no JSON in the middle"
    NO_DONE = "sends no [DONE] and leaves the connection open"
    DONE_EARLY = "sends [DONE] in the middle"
    NO_FINISH = "sends no finish, but counts the tokens"
    NO_USAGE = "sends no usage"
    WHOLE = "sends a whole answer instead of a stream"
    ONE_PIECE = "sends everything in one piece"
    BYTEWISE = "sends byte by byte"


class Turn(NamedTuple):
    """One call's fate. `after`: pieces of the answer before something happens in the middle."""

    fault: Fault
    after: int
    status: int
    answer: int


turns = st.builds(
    Turn,
    st.sampled_from(Fault),
    st.integers(0, 5),
    st.sampled_from([400, 401, 404, 413, 429, 500, 502, 503]),
    st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5]),
)


def delta_of(kind: str, text: str) -> dict[str, Any]:
    if kind in ("content", "reasoning"):
        return {kind: text}
    if kind.startswith("call "):
        number = int(kind[-1])
        call = {"index": number, "id": f"call_{number}", "type": "function", "function": {"name": text, "arguments": ""}}
        return {"tool_calls": [call]}
    return {"tool_calls": [{"index": int(kind), "function": {"arguments": text}}]}


def said_by(answer: list[tuple[str, str]]) -> dict[str, str]:
    """The parts of an answer, as `Outcome.said` has them."""
    parts: dict[str, str] = {}
    for kind, text in answer:
        name = kind.replace("call", "name") if kind.startswith("call") else f"arguments {kind}" if kind.isdigit() else kind
        parts[name] = parts.get(name, "") + text
    return parts


def event(choices: list[Any], **more: Any) -> bytes:
    return b"data: " + json.dumps({"id": "up", "choices": choices, **more}).encode() + b"\n\n"


def finish_of(turn: Turn) -> str:
    return "tool_calls" if any(kind.startswith("call") for kind, _ in ANSWERS[turn.answer]) else "stop"


USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
ERROR = {"error": {"message": "The engine crashed", "code": 500}}
JSON = (("content-type", "application/json"),)


def whole(turn: Turn) -> Script:
    parts = said_by(ANSWERS[turn.answer])
    message: dict[str, Any] = {"role": "assistant", **{k: v for k, v in parts.items() if k in ("content", "reasoning")}}
    calls = [
        {
            "id": f"call_{n}",
            "type": "function",
            "function": {"name": parts[f"name {n}"], "arguments": parts[f"arguments {n}"]},
        }
        for n in (0, 1)
        if f"name {n}" in parts
    ]
    if calls:
        message["tool_calls"] = calls
    body = {"id": "up", "choices": [{"index": 0, "message": message, "finish_reason": finish_of(turn)}], "usage": USAGE}
    return Script(headers=JSON, body=(json.dumps(body).encode(),))


def early(turn: Turn) -> Script | None:
    """The script of a fault before any content, None for another."""
    return {
        Fault.CONNECT: Script(before=(ConnectionRefusedError(),)),
        Fault.RESET: Script(before=(0.01, ConnectionResetError())),
        Fault.SILENCE: Script(status=0),
        Fault.MUTE: Script(body=(1e9,)),
        Fault.STATUS: Script(turn.status, JSON, (json.dumps(ERROR).encode(),)),
        Fault.LIMITED: Script(429, (*JSON, ("retry-after", "1")), (json.dumps(ERROR).encode(),)),
        Fault.HTML: Script(200, (("content-type", "text/html"),), (b"<html>502 Bad Gateway</html>",)),
        Fault.WRAPPED: Script(200, JSON, (json.dumps(ERROR).encode(),)),
        Fault.EMPTY: Script(),
    }.get(turn.fault)


def streamed(turn: Turn) -> Script:
    events: list[Piece] = [
        event([{"index": 0, "delta": delta_of(kind, text), "finish_reason": None}]) for kind, text in ANSWERS[turn.answer]
    ]
    finish = event([{"index": 0, "delta": {}, "finish_reason": finish_of(turn)}])
    end: list[Piece] = [finish, event([], usage=USAGE), b"data: [DONE]\n\n"]
    begun = events[: turn.after]
    waiting: list[Piece] = [b": wait\n\n", 0.5] * 100
    middle: dict[Fault, list[Piece]] = {
        Fault.COMMENTS: waiting,
        Fault.LATE: [FIRST_BYTE_S / 2, *events, *end],
        Fault.CUT: [*begun, ConnectionResetError()],
        Fault.END: begun,
        Fault.STALL: [*begun, 1e9],
        Fault.DRIP: [*begun, *waiting],
        Fault.FRAME: [*begun, event([], **ERROR), b"data: [DONE]\n\n"],
        Fault.LATE_FRAME: [*events, finish, event([], **ERROR)],
        Fault.MALFORMED: [*begun, b'data: {"id": "chatcm\n\n', *events[turn.after :], *end],
        Fault.NO_DONE: [*events, *end[:2], 1e9],
        Fault.DONE_EARLY: [*begun, b"data: [DONE]\n\n", 1e9],
        Fault.NO_FINISH: [*events, *end[1:]],
        Fault.NO_USAGE: [*events, finish, b"data: [DONE]\n\n"],
    }
    pieces = middle.get(turn.fault, [*events, *end])
    data = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    if turn.fault is Fault.ONE_PIECE:
        pieces = [data]
    elif turn.fault is Fault.BYTEWISE:
        pieces = [data[at : at + 1] for at in range(len(data))]
    return Script(body=tuple(pieces))


def script(turn: Turn, *, stream: bool) -> Script:
    if (found := early(turn)) is not None:
        return found
    if stream and turn.fault is not Fault.WHOLE:
        return streamed(turn)
    answer = whole(turn)
    (body,) = answer.body
    assert isinstance(body, bytes)
    if turn.fault in (Fault.CUT, Fault.END, Fault.STALL, Fault.FRAME, Fault.DONE_EARLY):
        ends: dict[Fault, tuple[Piece, ...]] = {Fault.CUT: (ConnectionResetError(),), Fault.STALL: (1e9,)}
        return Script(headers=JSON, body=(body[: len(body) // 2], *ends.get(turn.fault, ())))
    return answer


class Case(NamedTuple):
    turns: tuple[tuple[Turn, ...], ...]
    stream: bool
    hedges: bool
    leaves_after_s: float | None
    requests: int


cases = st.builds(
    Case,
    st.tuples(*[st.tuples(turns, turns)] * 3),
    st.sampled_from([True, True, True, False]),
    st.booleans(),
    st.one_of(st.none(), st.none(), st.none(), st.floats(0, 12)),
    st.sampled_from([1, 1, 1, 2]),
)


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("gateway"), "level", logging.CRITICAL)
        yield begin_ledger(tmp_path_factory.mktemp("journal"), patch)


@settings(max_examples=1000, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(case=cases)
def test_every_request_ends_in_one_whole_answer_or_one_honest_error(books: ledger.Ledger, loop: VirtualLoop, case: Case):
    given_answers: list[dict[str, str]] = []

    def turn_of(host: str, number: int) -> Turn:
        return case.turns[int(host[1]) - 1][min(number, 1)]

    def refuses(host: str, number: int) -> bool:
        return turn_of(host, number).fault is Fault.CONNECT

    def choose(host: str, body: dict[str, Any], number: int) -> Script:
        turn = turn_of(host, number)
        given_answers.append(said_by(ANSWERS[turn.answer]))
        return script(turn, stream=bool(body.get("stream")))

    taken(books)
    policy = PolicyEntry(max_attempts=ATTEMPTS, deadline_s=DEADLINE_S, hedges=case.hedges)
    stage = Stage(choose, policy=policy, refuses=refuses, loop=loop)
    # What hedging waits for: the first provider's usual time to the first token.
    stage.health.started(1, loop.time())
    stage.health.succeeded(1, loop.time(), ttft_s=0.3, latency_s=1, tokens=5)
    for _ in range(case.requests):
        given_answers.clear()
        outcome = stage.ask(stream=case.stream, leaves_after_s=case.leaves_after_s)
        assert outcome.took_s <= LONGEST_S
        is_kept_in_full(outcome, given_answers)
        is_on_the_record_once(outcome, books)
        assert outcome.asked == outcome.attempts
        assert not [call.host for call in outcome.calls if call.is_open], "an answer was left open"
        assert [stage.health.in_flight(number) for number in (1, 2, 3)] == [0, 0, 0]


def is_kept_in_full(outcome: Outcome, answers: list[dict[str, str]]) -> None:
    """A whole answer is one provider's to the letter; what precedes an error is the beginning of one provider's."""
    if outcome.error is None and not outcome.has_left:
        assert outcome.said in answers
        assert len(outcome.finishes) == 1
        return
    assert (
        any(
            all(name in answer and answer[name].startswith(text) for name, text in outcome.said.items())
            for answer in answers
        )
        or not outcome.said
    )
    if outcome.error is not None:
        assert outcome.error["message"]
        assert outcome.error["code"] >= 400
        assert outcome.error["metadata"]["error_type"] in ERROR_TYPES


def taken(books: ledger.Ledger) -> list[bytes]:
    """The lines that are new in the journal."""
    lines = []
    for segment in books._journal.segments():
        lines += (read := segment.read(100))
        segment.advance(read)
    return lines


def is_on_the_record_once(outcome: Outcome, books: ledger.Ledger) -> None:
    (raw,) = taken(books)
    line = decode(raw)
    assert line["request_id"] == outcome.record.request_id
    if outcome.has_left:
        assert line["is_cancelled"]
    elif outcome.error is None:
        assert (line["status_code"], line["error"]) == (200, None)
        assert [attempt["status"] for attempt in line["attempts"] if not attempt["error"]] == [200]
    else:
        assert line["status_code"] == outcome.error["code"]
        assert line["error"] == outcome.error["message"]
    for attempt in line["attempts"]:
        assert attempt["status"] == 200 or attempt["error"], "an attempt without an end"


@pytest.fixture(scope="module")
def loop():
    virtual = VirtualLoop()
    yield virtual
    virtual.close()
