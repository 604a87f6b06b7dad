"""Every fault a provider may have, through a live gateway: what the caller sees of it, and whom it makes the gateway ask.

What several tests share stands in `test_fallbacks.py`; here is each fault once, and what takes more than one of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from tests.databases import Template
from tests.fakes.catalogue import PRICING, REFUSED, Served, impatient, provider_slug, seed
from tests.fakes.provider import FakeProvider
from tests.journeys import rules
from tests.journeys.asking import Asker
from tests.live import Gateway, until

SECOND = "ok?tokens=4"
FOUR = " token0 token1 token2 token3"
CONTINUES = {"continuation": "continue_final_message"}


class Fault(NamedTuple):
    """A first provider, the calls that the first and the second one see for a stream and for a whole answer, and who answers.

    `error`: the type of the error that the first attempt is recorded with, None where it answers.
    """

    served: str | Served
    streamed: tuple[int, int]
    whole: tuple[int, int]
    error: str | None = "provider_unavailable"


FAULTS = {
    "connect-refused": Fault(REFUSED, (0, 1), (0, 1)),
    "reset-before-headers": Fault("reset", (2, 1), (2, 1)),
    "silence": Fault(impatient("silence"), (1, 1), (1, 1), "timeout"),
    "slow-first-token": Fault(impatient("slow-first?delay=2&tokens=4"), (1, 1), (1, 1), "timeout"),
    "error-in-a-200": Fault("error-200", (2, 1), (2, 1)),
    "html-502": Fault("html", (2, 1), (2, 1)),
    "persistent-429": Fault("status?code=429&after=60", (1, 1), (1, 1), "rate_limit_exceeded"),
    "persistent-503": Fault("status?code=503", (1, 1), (1, 1), "provider_overloaded"),
    "revoked-key": Fault("status?code=401", (1, 1), (1, 1), "authentication"),
    "gzip": Fault("gzip", (1, 0), (1, 0), None),
    "bytewise": Fault("bytewise?tokens=4", (1, 0), (2, 1)),
    "malformed-event": Fault("malformed?tokens=4", (1, 0), (2, 1)),
    "no-done": Fault("no-done?tokens=4", (1, 0), (2, 1)),
    "no-finish": Fault("no-finish?tokens=4", (1, 0), (2, 1)),
    "no-usage": Fault("no-usage?tokens=4", (1, 0), (1, 0), None),
    "cut-resumed": Fault("cut?tokens=4&after=2", (1, 1), (2, 1)),
    "done-too-early-resumed": Fault("done-early?tokens=4&after=2", (1, 1), (2, 1)),
    "stall-resumed": Fault(impatient("stall?tokens=4&after=2"), (1, 1), (1, 1), "timeout"),
}
STREAMS_ONLY = {"bytewise", "malformed-event", "no-done", "no-finish", "done-too-early-resumed"}
"""Faults that only a stream has."""


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory, fake: FakeProvider, migrated_database: Template) -> Iterator[Gateway]:
    models: dict[str, Any] = {}
    for name, fault in FAULTS.items():
        models |= {f"{way}/{name}": (fault.served, SECOND) for way in ("streamed", "whole")}
    models |= {
        "chaos/hedged": ("slow-start?tokens=4", SECOND),
        "chaos/too-long": ("too-long", SECOND, "ok?tokens=7"),
        "chaos/flapping": ("down-for?seconds=1.5&tokens=4", SECOND),
        "chaos/half-open": ("down-for?seconds=1.2&tokens=1&delay=0.8", SECOND),
        "chaos/tools": ("cut-tools", "tools"),
        "chaos/json": ("cut?tokens=4&after=2", Served(SECOND, CONTINUES)),
        "chaos/thinking": ("cut-reasoning", "reasoning"),
        "chaos/filtered": ("filtered", SECOND),
        "chaos/rests-long": "status?code=429&after=120",
        "chaos/rests-long-streamed": "status?code=429&after=120",
        "chaos/rests-briefly": "down-for?seconds=0.9&tokens=4",
        "chaos/rests-unwaited": "down-for?seconds=0.8&tokens=4",
        "chaos/one-rests-less": ("down-for?seconds=0.7&tokens=4", "status?code=429&after=120"),
    }
    content = seed(fake, models)
    for model in content["models"]:
        if model["id"] == "chaos/too-long":
            for route, size in zip(model["route"], (8192, 8192, 32768), strict=True):
                route["context_length"] = size
    directory = tmp_path_factory.mktemp("chaos")
    key = ""

    def policy_of(gateway: Gateway, model: str) -> dict[str, Any]:
        """The policy by which the running server routes `model`; nothing before it knows the key."""
        answer = gateway.client.get("/v1/routing", params={"model": model}, headers={"Authorization": f"Bearer {key}"})
        return answer.json()["data"]["models"][0]["policy"] if answer.status_code == 200 else {}

    with Gateway(directory, content, database=migrated_database) as running:
        policies = [
            f"RoutingPolicy.objects.create(model=LanguageModel.objects.get(public_id={model!r}), {policy})"
            for model, policy in (("chaos/hedged", "hedges=True"), ("chaos/rests-unwaited", "longest_wait_s=0"))
        ]
        imports = ["from catalog.models import LanguageModel", "from routingapp.models import RoutingPolicy"]
        running.manage("shell", "-c", "; ".join(imports + policies))
        key = running.manage("createapikey", "--name", "chaos", "--management").strip()
        until(lambda: policy_of(running, "chaos/rests-unwaited").get("longest_wait_s") == 0, "the policies are live")
        yield running
        assert "Traceback" not in running.log, running.log


@pytest.fixture
def ask(chaos: Gateway, marker: str) -> Asker:
    return Asker(chaos, marker)


def calls(fake: FakeProvider, marker: str, model: str) -> tuple[int, int]:
    """How often the first and the second provider of `model` were called."""
    paths = [call.path.split("/")[1] for call in fake.calls_with(marker)]
    first, second = (sum(path == provider_slug(model, place) for path in paths) for place in (1, 2))
    return first, second


@pytest.mark.parametrize("name", FAULTS)
def test_a_stream_survives(ask, fake, name):
    model, fault = f"streamed/{name}", FAULTS[name]
    stream = ask.stream(model)
    assert stream.is_done
    assert stream.text == ("small" if name == "gzip" else FOUR)
    assert stream.chunks[-1]["choices"][0]["finish_reason"] == "stop"
    for chunk in stream.chunks:
        rules.is_chunk(chunk)
        assert "error" not in chunk
    seen = calls(fake, ask.marker, model)
    assert seen == fault.streamed
    is_recorded(ask.row(), fault if seen[1] else fault._replace(error=None), seen, name)


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - STREAMS_ONLY))
def test_a_whole_answer_survives(ask, fake, name):
    model, fault = f"whole/{name}", FAULTS[name]
    body = ask.chat(model).json()
    rules.is_chat(body)
    assert body["choices"][0]["message"]["content"] == ("small" if name == "gzip" else FOUR)
    seen = calls(fake, ask.marker, model)
    assert seen == fault.whole
    is_recorded(ask.row(), fault if seen[1] else fault._replace(error=None), seen, name)


def is_recorded(row: dict[str, Any], fault: Fault, seen: tuple[int, int], name: str) -> None:
    """The row tells of the attempts that the providers saw, and of one that never arrived."""
    assert (row["status_code"], row["error"]) == (200, None)
    *failed, last = row["attempts"]
    assert len(row["attempts"]) == sum(seen) + (name == "connect-refused")
    assert {attempt["error_type"] for attempt in failed} == ({fault.error} if fault.error else set())
    assert (last["status"], last["error"]) == (200, None)
    assert row["completion_tokens"] >= 1
    assert bool(row["is_estimated"]) == (name == "no-usage" or (bool(row["stream"]) and name.endswith("resumed")))


def test_an_answer_that_a_filter_ends_is_given_as_it_is(ask, fake):
    body = ask.chat("chaos/filtered").json()
    assert body["choices"][0]["finish_reason"] == "content_filter"
    assert calls(fake, ask.marker, "chaos/filtered") == (1, 0)


def test_a_prompt_too_long_for_one_provider_goes_to_the_next_larger_one(ask, fake):
    body = ask.chat("chaos/too-long").json()
    assert body["usage"]["completion_tokens"] == 7
    assert calls(fake, ask.marker, "chaos/too-long") == (1, 0), "the second is no larger than the first"
    assert [attempt["error_type"] for attempt in ask.row()["attempts"]] == ["context_length_exceeded", None]


def test_a_slow_start_is_hedged_once_the_usual_start_is_known(ask, fake, marker):
    """The first call is quick, and tells how quick this provider usually is; the next one is slow."""
    assert ask.stream("chaos/hedged").text == FOUR
    assert calls(fake, marker, "chaos/hedged") == (1, 0)
    again = Asker(ask.gateway, f"{marker}-again")
    began = time.monotonic()
    assert again.stream("chaos/hedged").text == FOUR
    assert time.monotonic() - began < 2
    slow = fake.call_with(again.marker, until=lambda call: call.scenario == "slow-start" and call.is_over)
    assert slow.client_left_at is not None, "the loser was left at once"
    loser, winner = again.row()["attempts"]
    assert (loser["error"], winner["status"]) == ("given up by the gateway", 200)
    row = again.row()
    assert row["provider"] == provider_slug("chaos/hedged", 2)
    assert float(row["cost_usd"]) == pytest.approx(12 * float(PRICING["prompt"]) + 4 * float(PRICING["completion"]))


def test_a_provider_that_is_away_for_a_while_is_left_alone_and_comes_back(ask, fake, chaos, marker):
    """`Retry-After` makes the pause a second, so that a minute's outage fits into two."""
    for _ in range(8):
        assert ask.chat("chaos/flapping").status_code == 200
    assert calls(fake, marker, "chaos/flapping") == (1, 8), "one refusal was enough"

    def is_back() -> bool:
        return ask.chat("chaos/flapping").json()["provider"].endswith("1")

    until(is_back, "the provider serves again", 6)
    refused, _ = calls(fake, marker, "chaos/flapping")
    assert refused <= 4


@pytest.mark.parametrize("stream", [False, True])
def test_a_lone_provider_that_rests_for_long_is_not_waited_for(ask, fake, stream):
    model = "chaos/rests-long-streamed" if stream else "chaos/rests-long"
    began = time.monotonic()
    response = ask.chat(model, stream=stream)
    assert time.monotonic() - began < 20
    assert response.status_code == 429
    rules.is_error(response.json(), 429, "rate_limit_exceeded")
    assert response.headers["retry-after"] == "120"
    assert calls(fake, ask.marker, model) == (1, 0)

    after = Asker(ask.gateway, f"{ask.marker}-after").chat(model, stream=stream)
    error = rules.is_error(after.json(), 429, "rate_limit_exceeded")
    assert 1 <= int(after.headers["retry-after"]) <= 120
    assert [exclusion["code"] for exclusion in error["metadata"]["exclusions"]] == ["breaker_open"]
    assert fake.calls_with(f"{ask.marker}-after") == [], "whoever comes later is told so without asking"


def test_a_lone_provider_that_rests_briefly_is_waited_for(ask, fake):
    assert ask.stream("chaos/rests-briefly").text == FOUR
    assert calls(fake, ask.marker, "chaos/rests-briefly") == (2, 0)


def test_how_long_is_waited_is_up_to_the_policy(ask, fake):
    response = ask.chat("chaos/rests-unwaited")
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert calls(fake, ask.marker, "chaos/rests-unwaited") == (1, 0)


def test_of_two_that_rest_the_first_to_return_is_waited_for(ask, fake):
    body = ask.chat("chaos/one-rests-less").json()
    assert body["choices"][0]["message"]["content"] == FOUR
    assert calls(fake, ask.marker, "chaos/one-rests-less") == (2, 1)
    assert [attempt["status"] for attempt in ask.row()["attempts"]] == [429, 429, 200]


def test_one_request_alone_probes_a_provider_that_was_away(ask, fake, marker):
    assert ask.chat("chaos/half-open").status_code == 200
    time.sleep(1.4)
    crowd = [Asker(ask.gateway, f"{marker}-crowd") for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda one: one.stream("chaos/half-open").chunks[0]["provider"], crowd))
    assert sorted(answer[-1] for answer in answers) == ["1"] + ["2"] * 7
    assert calls(fake, f"{marker}-crowd", "chaos/half-open") == (1, 7)


def test_a_tool_call_that_breaks_off_is_completed_by_one_that_repeats_it(ask, fake):
    stream = ask.stream("chaos/tools")
    told = [call for delta in stream.deltas() for call in delta.get("tool_calls", ())]
    assert "".join(call["function"].get("arguments", "") for call in told) == '{"city": "Oslo"}'
    assert [call["id"] for call in told if "id" in call] == ["call_0"]
    assert stream.chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert calls(fake, ask.marker, "chaos/tools") == (1, 1)


def test_broken_json_is_not_handed_over_for_continuation(ask, fake):
    stream = ask.stream("chaos/json", response_format={"type": "json_object"})
    assert stream.text == FOUR
    _, second = fake.calls_with(ask.marker)
    assert "continue_final_message" not in second.json
    assert second.json["messages"][-1]["role"] == "user"


def test_reasoning_that_breaks_off_is_completed_by_one_that_repeats_it(ask, fake):
    stream = ask.stream("chaos/thinking")
    assert "".join(delta.get("reasoning", "") for delta in stream.deltas()) == "Let me think."
    assert stream.text == "42"
    assert calls(fake, ask.marker, "chaos/thinking") == (1, 1)
