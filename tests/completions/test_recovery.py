"""What the pipeline does over time: pauses and probes, floods, and calls that must be ended whoever ends the request."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from catalog.entries import Continuation, Quirks
from gateway_project.errors import ProviderUnavailable
from routingapp.breaker import BreakerState
from routingapp.entries import PolicyEntry
from routingapp.keypool import Fault
from tests.completions.stage import FIRST_BYTE_S, TOTAL_S, Stage
from tests.fakes.clock import VirtualLoop
from tests.fakes.transport import Piece, Script
from tests.routingapp.world import provider

pytestmark = pytest.mark.usefixtures("books")

JSON = (("content-type", "application/json"),)
POLICY = PolicyEntry(max_attempts=3, deadline_s=30)
BROKEN = Script(500, JSON, (b'{"error": {"message": "broken"}}',))


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode() + b"\n\n"


def says(*deltas: dict[str, Any] | str, finish: str = "stop") -> Script:
    told = [event({"content": delta} if isinstance(delta, str) else delta) for delta in deltas]
    return Script(body=(*told, event({}, finish), b"data: [DONE]\n\n"))


def breaks(*deltas: dict[str, Any] | str) -> Script:
    return replace(says(*deltas), body=(*says(*deltas).body[:-2], ConnectionResetError()))


def stage(loop: VirtualLoop, *scripts: Script, **fields: Any) -> Stage:
    """Adapter n always answers with the n-th script."""
    fields.setdefault("policy", POLICY)
    return Stage(lambda host, body, number: scripts[int(host[1]) - 1], adapters=len(scripts), loop=loop, **fields)


# --- Time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pause_s", [0.0005, 0.5])
def test_comments_without_end_do_not_hold_a_request_past_its_first_byte_timeout(loop, pause_s):
    comments: tuple[Piece, ...] = (b": wait\n\n", pause_s) * 10_000
    outcome = stage(loop, Script(body=comments), says("one")).ask()
    assert outcome.said == {"content": "one"}
    assert outcome.took_s < FIRST_BYTE_S + 0.6


def test_a_stream_without_end_meets_its_total_timeout(loop):
    said = event({"content": "a"})
    endless = Script(body=(said, 0.5) * 19 + (said, 0.0005) * 10_000)
    outcome = stage(loop, endless).ask()
    assert outcome.error is not None
    assert outcome.error["code"] == 504
    assert outcome.took_s < TOTAL_S + 0.1
    assert outcome.asked == [1], "who has had all its time is not asked again"
    assert not outcome.calls[0].is_open


def test_a_provider_that_comments_for_ever_after_its_finish_is_not_waited_for(loop):
    whole = says("one").body[:-1]
    outcome = stage(loop, Script(body=(*whole, *(b": wait\n\n", 0.5) * 1000))).ask()
    assert (outcome.said, outcome.finishes, outcome.error) == ({"content": "one"}, ["stop"], None)
    assert outcome.took_s < 3


def test_an_error_after_the_finish_changes_nothing(loop):
    whole = says("one").body[:-1]
    late = Script(body=(*whole, b'data: {"error": {"message": "late", "code": 500}}\n\n'))
    outcome = stage(loop, late, says("two")).ask()
    assert (outcome.said, outcome.finishes, outcome.error) == ({"content": "one"}, ["stop"], None)
    assert outcome.asked == [1]


def test_the_end_mark_in_the_middle_of_an_answer_is_no_end(loop):
    cut = Script(body=(event({"content": "one "}), b"data: [DONE]\n\n"))
    outcome = stage(loop, cut, says("something", " else")).ask()
    assert outcome.error is not None
    assert (outcome.error["code"], outcome.error["metadata"]["error_type"]) == (502, "provider_unavailable")
    assert (outcome.said, outcome.finishes) == ({"content": "one "}, ["error"])
    assert [attempt.error_type for attempt in outcome.record.attempts] == ["provider_unavailable"] * 3


def test_an_end_mark_without_an_answer_is_left_at_once_though_the_connection_stays_open(loop):
    outcome = stage(loop, Script(body=(b"data: [DONE]\n\n", 1e9)), says("two")).ask()
    assert outcome.said == {"content": "two"}
    assert outcome.took_s < FIRST_BYTE_S / 2


def test_a_provider_that_flaps_for_a_minute_costs_no_caller_an_answer(loop):
    """Down for three seconds, up for four: everybody is answered, and while it is down it is soon not asked any more."""

    def choose(host: str, body: dict[str, Any], number: int) -> Script:
        is_down = host == "p1.test" and loop.time() % 7 < 3
        return BROKEN if is_down else says(host)

    on_stage = Stage(choose, adapters=2, policy=POLICY, loop=loop)
    providers = []
    for _ in range(240):
        outcome = on_stage.ask()
        assert outcome.error is None
        providers.append(outcome.said["content"])
        loop.now += 0.25
    faults = sum(call.script is BROKEN for call in on_stage.transport.calls)
    assert {"p1.test", "p2.test"} == set(providers)
    assert 5 <= faults <= 60, "of about 200 tries, if nobody learned"


def test_exactly_one_request_probes_an_adapter_whose_pause_is_over(loop):
    slow = Script(body=(1.0, *says("back").body))
    on_stage = stage(loop, slow, says("other"))

    async def work() -> list[str]:
        for _ in range(5):
            on_stage.health.started(1, loop.time())
            on_stage.health.failed(1, loop.time(), ProviderUnavailable("down"))
        assert on_stage.health.view(1, loop.time()).state is BreakerState.OPEN
        await asyncio.sleep(11)
        asked = [on_stage._ask(True, None, {}) for _ in range(8)]
        return [outcome.said["content"] for outcome in await asyncio.gather(*asked)]

    assert sorted(loop.run(work())) == ["back"] + ["other"] * 7
    assert on_stage.health.view(1, loop.time()).state is BreakerState.CLOSED


# --- Hedging ----------------------------------------------------------------------------------------------------------


def hedging(loop: VirtualLoop, *scripts: Script) -> Stage:
    """A stage on which adapter 1 usually begins to answer after 0.3 s."""
    on_stage = stage(loop, *scripts, policy=replace(POLICY, hedges=True))
    on_stage.health.started(1, loop.time())
    on_stage.health.succeeded(1, loop.time(), ttft_s=0.3, latency_s=1, tokens=5)
    return on_stage


def late(script: Script, seconds: float) -> Script:
    return replace(script, body=(seconds, *script.body))


def test_a_slow_start_is_hedged_and_the_loser_is_left(loop):
    on_stage = hedging(loop, late(says("slow"), 1.5), says("quick"))
    outcome = on_stage.ask()
    assert outcome.said == {"content": "quick"}
    assert outcome.took_s == pytest.approx(0.3, abs=0.05)
    assert (outcome.asked, outcome.attempts) == ([1, 2], [1, 2])
    loser, winner = outcome.record.attempts
    assert (loser.error, winner.status, outcome.record.adapter_id) == ("given up by the gateway", 200, 2)
    assert not outcome.calls[0].is_open
    assert on_stage.health.in_flight(1) == 0


def test_a_quick_start_is_not_hedged(loop):
    assert hedging(loop, late(says("quick"), 0.2), says("other")).ask().asked == [1]


def test_the_first_may_still_win_its_race(loop):
    outcome = hedging(loop, late(says("first"), 0.5), late(says("second"), 1.5)).ask()
    assert (outcome.said, outcome.record.adapter_id) == ({"content": "first"}, 1)


def test_two_that_answer_in_the_same_moment_leave_one_answer_and_nothing_in_flight(loop):
    on_stage = hedging(loop, late(says("first"), 0.8), late(says("second"), 0.5))
    outcome = on_stage.ask()
    assert outcome.said["content"] in ("first", "second")
    assert [on_stage.health.in_flight(number) for number in (1, 2)] == [0, 0]
    assert [call.is_open for call in outcome.calls] == [False, False]


def test_what_is_wrong_with_the_request_is_not_hedged(loop):
    refused = Script(400, JSON, (b'{"error": {"message": "flagged by our content policy"}}',))
    outcome = hedging(loop, refused, says("other")).ask()
    assert outcome.asked == [1]
    assert outcome.error is not None
    assert outcome.error["code"] == 403


def test_a_paused_adapter_is_no_hedge(loop):
    on_stage = hedging(loop, late(says("slow"), 1.0), says("paused"))
    for _ in range(5):
        on_stage.health.started(2, loop.time())
        on_stage.health.failed(2, loop.time(), ProviderUnavailable("down"))
    assert on_stage.ask().asked == [1]


# --- Larger contexts --------------------------------------------------------------------------------------------------


def test_a_prompt_too_long_for_one_goes_to_the_next_larger_context(loop):
    too_long = Script(
        400, JSON, (b'{"error": {"message": "maximum context length is 1000", "code": "context_length_exceeded"}}',)
    )
    outcome = stage(loop, too_long, says("small"), says("large"), contexts=(1000, 1000, 4000)).ask()
    assert (outcome.said, outcome.asked) == ({"content": "large"}, [1, 3])


# --- Going on ---------------------------------------------------------------------------------------------------------

CALL = {"tool_calls": [{"index": 0, "id": "call_a", "type": "function", "function": {"name": "look", "arguments": ""}}]}


def args(text: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}


def test_a_broken_tool_call_is_completed_by_replay_also_where_text_would_be_handed_over(loop):
    first, second = breaks(CALL, args('{"ci')), says(CALL, args('{"city": "Os'), args('lo"}'), finish="tool_calls")
    outcome = stage(loop, first, second, quirks=Quirks(continuation=Continuation.VLLM)).ask()
    assert outcome.said == {"name 0": "look", "arguments 0": '{"city": "Oslo"}'}
    assert outcome.finishes == ["tool_calls"]
    assert "continue_final_message" not in outcome.calls[1].request


def test_broken_json_is_not_handed_over_but_replayed(loop):
    first, second = breaks('{"a":'), says('{"a": ', "1}")
    on_stage = stage(loop, first, second, quirks=Quirks(continuation=Continuation.VLLM))
    outcome = on_stage.ask(response_format={"type": "json_object"})
    assert outcome.said == {"content": '{"a": 1}'}
    assert outcome.calls[1].request["messages"] == [{"role": "user", "content": "Hi"}]


def test_broken_reasoning_is_completed_by_replay(loop):
    first = breaks({"reasoning_content": "Let me "})
    second = says({"reasoning_content": "Let "}, {"reasoning_content": "me think."}, "42")
    outcome = stage(loop, first, second).ask()
    assert outcome.said == {"reasoning": "Let me think.", "content": "42"}


def test_a_refusal_is_not_said_twice(loop):
    outcome = stage(loop, breaks({"refusal": "I can"}), says({"refusal": "I cannot."})).ask()
    assert outcome.error is not None
    assert outcome.asked == [1]


def test_a_replay_may_take_as_long_as_the_first_answer_took(loop):
    """Its first bytes must come soon, but what is new comes only after all that is known."""
    pieces = [event({"content": f"{number} "}) for number in range(6)]
    slowly: tuple[Piece, ...] = tuple(piece for told in pieces for piece in (1.0, told))
    first = Script(body=(*slowly[:-2], ConnectionResetError()))
    outcome = stage(loop, first, Script(body=(*slowly, *says().body))).ask()
    assert outcome.said == {"content": "0 1 2 3 4 5 "}
    assert outcome.took_s == pytest.approx(11, abs=0.1)


def test_nothing_goes_on_where_the_policy_forbids_it(loop):
    outcome = stage(loop, breaks("one "), says("one ", "two"), policy=replace(POLICY, resumes=False)).ask()
    assert outcome.error is not None
    assert (outcome.said, outcome.asked) == ({"content": "one "}, [1])


# --- Departures and books ---------------------------------------------------------------------------------------------


def test_a_client_that_leaves_while_the_first_comment_is_sent_leaves_its_attempt_on_the_record(loop, books):
    on_stage = stage(loop, Script(status=0))
    outcome = on_stage.ask(leaves_after_s=1.5)
    assert outcome.has_left
    (attempt,) = outcome.record.attempts
    assert (attempt.error, outcome.record.is_cancelled) == ("given up by the gateway", True)
    assert on_stage.health.in_flight(1) == 0


def test_an_answer_that_cannot_be_recorded_is_charged_and_ended_once(loop, books, monkeypatch):
    on_stage = stage(loop, says("one"))

    def full(line: bytes) -> None:
        raise OSError(28, "No space left on device")

    on_stage.health.started(1, loop.time())  # Somebody else's call, which must stay in flight.
    monkeypatch.setattr(books._journal, "append", full)
    outcome = on_stage.ask()
    assert outcome.error is not None
    assert outcome.error["code"] == 503
    assert on_stage.health.in_flight(1) == 1
    assert outcome.record.completion_tokens == outcome.record.attempts[0].completion_tokens


def test_a_new_catalogue_ends_what_is_known_of_keys_that_are_gone(loop):
    on_stage = stage(loop, says("one"))
    gone = provider("gone", 99, api_keys=("${GONE_A}", "${GONE_B}"))
    pools = on_stage.pipeline.gate.capacity.pools
    pools.failed(gone, 0, Fault.REFUSED, None, loop.time(), 0)
    assert pools.has_trouble()
    on_stage.snapshot = replace(on_stage.snapshot, revision=1)

    assert on_stage.ask().said == {"content": "one"}

    assert not pools.has_trouble()
