"""Clients that leave: the provider's work stops at once, and what was used is booked."""

from __future__ import annotations

import contextlib
import time

import httpx
import pytest


def test_a_client_that_leaves_a_stream_stops_the_provider_and_is_booked(ask, fake, gateway):
    with httpx.Client(base_url=gateway.url, timeout=5) as client:
        request = ask.body("fake/slow-stream", stream=True)
        with client.stream("POST", "/v1/chat/completions", json=request) as response:
            pieces = response.iter_raw()
            for _ in range(4):
                next(pieces)
            left_at = time.monotonic()
    call = fake.call_with(ask.marker, until=lambda call: call.is_over)
    assert call.client_left_at is not None
    assert call.client_left_at - left_at < 1
    assert call.events_sent < 60

    row = ask.row()
    assert (row["is_cancelled"], row["stream"]) == (1, 1)
    assert 0 < row["completion_tokens"] < 60
    assert row["is_estimated"] == 1
    assert float(row["cost_usd"]) > 0


@pytest.mark.parametrize("model", ["fake/slow-answer", "early/silence-left", "fake/mute-left"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_client_that_leaves_before_the_answer_stops_the_provider_and_is_booked(ask, fake, gateway, model, is_stream):
    with httpx.Client(base_url=gateway.url) as client, contextlib.suppress(httpx.ReadTimeout):
        client.post("/v1/chat/completions", json=ask.body(model, stream=is_stream), timeout=0.3)
    left_at = time.monotonic()
    call = fake.call_with(ask.marker, until=lambda call: call.is_over)
    assert call.client_left_at is not None
    assert call.client_left_at - left_at < 1
    row = ask.row()
    assert row["is_cancelled"] == 1
    assert row["completion_tokens"] == 0
    assert len(fake.calls_with(ask.marker)) == 1


def test_a_departed_client_does_not_count_against_the_provider(ask, fake, gateway):
    for _ in range(8):
        with httpx.Client(base_url=gateway.url) as client, contextlib.suppress(httpx.ReadTimeout):
            client.post("/v1/chat/completions", json=ask.body("fake/slow-left"), timeout=0.15)
    assert ask.chat("fake/slow-left", max_tokens=5).json()["provider"] == "Slow-Left 1"


def test_a_slow_reader_loses_nothing(ask, gateway):
    body = ask.body("fake/huge", stream=True)
    received = 0
    with gateway.client.stream("POST", "/v1/chat/completions", json=body) as response:
        for piece in response.iter_raw(65536):
            received += len(piece)
            time.sleep(0.005)
    assert received > 2 * 1024 * 1024
    assert ask.row()["is_cancelled"] == 0
