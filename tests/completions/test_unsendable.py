"""What a provider cannot be told: it is not called, which is nobody's fault, and another one is asked if there is one."""

from __future__ import annotations

from typing import Any

import pytest

from catalog.entries import Quirks
from catalog.limits import Limits
from completions import shape
from completions.admission import Gate, NoSeat
from completions.exchange import Exchange
from completions.visit import Seat
from routingapp.entries import PolicyEntry
from routingapp.plan import Candidate
from tests.completions.stage import Outcome, Stage
from tests.completions.test_recovery import breaks, says
from tests.fakes.clock import VirtualLoop
from tests.fakes.transport import Script

pytestmark = pytest.mark.usefixtures("books")

ROUTER = {"quirks": Quirks(speaks_openrouter=True)}
TOOLS = [{"type": "openrouter:datetime"}]
"""A tool that only another OpenRouter can be told of."""
REASON = "tools[0].type is 'openrouter:datetime', which OpenRouter alone runs"


def stage(loop: VirtualLoop, *scripts: Script, policy: PolicyEntry | None = None, **own: dict[str, Any]) -> Stage:
    """Adapter n always answers with the n-th script; `pn` are fields of its provider."""
    fields = {int(name[1:]): more for name, more in own.items()}
    policy = policy or PolicyEntry(max_attempts=1, deadline_s=30)
    return Stage(lambda host, body, number: scripts[int(host[1]) - 1], len(scripts), policy, own=fields, loop=loop)


def whys(outcome: Outcome) -> list[tuple[int | None, str]]:
    """Each adapter's rank in the plan on the record, and the code or the reason of its place."""
    return [(line["rank"], line.get("code") or "candidate") for line in outcome.record.plan or ()]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_it_costs_no_try_and_leaves_no_attempt(loop, stream):
    answer = says("one") if stream else Script(body=(b'{"choices": [{"index": 0, "message": {"content": "one"}}]}',))
    on_stage = stage(loop, answer, answer, p2=ROUTER)
    outcome = on_stage.ask(stream=stream, tools=TOOLS)

    assert (outcome.said, outcome.asked, outcome.attempts) == ({"content": "one"}, [2], [2])
    assert whys(outcome) == [(None, "unsendable"), (2, "candidate")]
    assert (outcome.record.plan or [{}])[0]["reason"].startswith(REASON)
    assert on_stage.health.in_flight(1) == 0
    assert on_stage.health.view(1, loop.time()).last_error is None


def test_where_nobody_can_be_told_the_caller_gets_the_reason_and_nothing_was_attempted(loop):
    outcome = stage(loop, says("one"), says("two")).ask(tools=TOOLS)

    assert outcome.error is not None
    assert (outcome.error["code"], outcome.error["metadata"]) == (400, {"error_type": "invalid_request"})
    assert outcome.error["message"].startswith(REASON)
    assert (outcome.asked, outcome.attempts) == ([], [])
    assert whys(outcome) == [(None, "unsendable"), (None, "unsendable")]
    assert (outcome.record.status_code, outcome.record.provider, outcome.record.adapter_id) == (400, "", None)


def test_it_is_none_of_the_previous_errors(loop):
    broken = Script(500, body=(b'{"error": {"message": "broken"}}',))
    outcome = stage(loop, says("one"), broken, p2=ROUTER, policy=PolicyEntry(max_attempts=3)).ask(tools=TOOLS)

    assert outcome.error is not None
    assert outcome.error["code"] == 502
    told = outcome.error["metadata"].get("previous_errors", [])
    assert {error["provider"] for error in told} <= {"P2"}
    assert set(outcome.attempts) == {2}


def test_no_limit_and_no_key_is_taken_for_it(loop):
    keyed = {"limits": Limits(rpm=5, concurrency=1), "api_keys": ("first-key", "second-key")}
    on_stage = stage(loop, says("one"), p1=keyed)
    for _ in range(3):
        outcome = on_stage.ask(tools=TOOLS)
        assert outcome.error is not None
        assert outcome.error["code"] == 400, outcome.error

    capacity = on_stage.pipeline.gate.capacity
    (served,) = on_stage.snapshot.catalogue.models[0].adapters
    (scope,) = capacity.scopes_of(served)
    assert capacity.limiter.in_flight(scope) == 0
    assert [used for _, used in capacity.limiter.used(scope, loop.time())] == [0]
    assert [capacity.pools.choose(served.provider, loop.time(), 0) for _ in range(2)] == [0, 1]


def test_what_passes_by_itself_is_told_before_it(loop, monkeypatch):
    async def has_just_run_out(gate: Gate, exchange: Exchange, candidate: Candidate) -> Seat:
        raise NoSeat("keys_exhausted", "every key rests")

    monkeypatch.setattr(Gate, "seat", has_just_run_out)
    outcome = stage(loop, says("one"), says("two"), p2=ROUTER).ask(tools=TOOLS)

    assert outcome.error is not None
    assert outcome.error["code"] == 503
    assert whys(outcome) == [(None, "unsendable"), (None, "keys_exhausted")]


def test_a_broken_answer_goes_on_with_the_next_that_can_be_told(loop):
    scripts = (breaks("one "), says("never"), says("one ", "two"))
    outcome = stage(loop, *scripts, p1=ROUTER, p3=ROUTER, policy=PolicyEntry(max_attempts=3)).ask(tools=TOOLS)

    assert (outcome.said, outcome.asked) == ({"content": "one two"}, [1, 3])
    assert outcome.attempts == [1, 3]


def test_hedging_passes_it_over(loop):
    slow = says("one")
    slow = Script(body=(1.0, *slow.body))
    policy = PolicyEntry(max_attempts=2, hedges=True, deadline_s=30)
    on_stage = stage(loop, slow, says("never"), p1=ROUTER, policy=policy)
    for number in range(5):
        on_stage.health.started(1, loop.time())
        on_stage.health.succeeded(1, loop.time(), 0.01, 0.02, 5 + number)
    outcome = on_stage.ask(tools=TOOLS)

    assert (outcome.said, outcome.asked, outcome.attempts) == ({"content": "one"}, [1], [1])
    assert whys(outcome) == [(1, "candidate"), (None, "unsendable")]


def test_the_shape_is_checked_once_however_many_are_called(loop, monkeypatch):
    asked = []
    checked = shape.check

    def counted(chat: dict[str, Any]) -> None:
        asked.append(chat)
        checked(chat)

    monkeypatch.setattr(shape, "check", counted)
    broken = Script(500, body=(b'{"error": {"message": "broken"}}',))
    outcome = stage(loop, broken, says("one"), policy=PolicyEntry(max_attempts=3)).ask(
        tools=[{"type": "function", "function": {"name": "look"}}]
    )
    assert outcome.said == {"content": "one"}
    assert len(asked) == 1, "once, however many are called"
