"""The story of a request: its plan, its attempts in time, what each class of tokens cost, and nothing that runs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from accounting.record import Attempt, Record
from gateway_project.console import story
from tests import factories

ATTEMPTS: list[dict[str, Any]] = [
    {"adapter_id": 1, "provider": "alpha", "upstream_model": "a", "started_ms": 0, "latency_ms": 400, "status": 503,
     "error_type": "provider_unavailable", "error": "<script>alert(1)</script> overloaded"},
    {"adapter_id": 2, "provider": "beta", "upstream_model": "b", "started_ms": 400, "latency_ms": 600, "ttft_ms": 100,
     "status": 200, "cost_usd": "0.00002", "usage": {"prompt_uncached": 10, "completion_text": 5}},
]  # fmt: skip
PLAN = [
    {"model": "acme/falcon", "provider": "Alpha", "tag": "alpha", "rank": 1, "share": 0.75, "reason": "drawn by weight"},
    {"model": "acme/falcon", "provider": "Gamma", "tag": "gamma", "rank": None, "code": "zdr", "reason": "keeps data"},
]  # fmt: skip


def record(**fields: Any) -> Record:
    defaults: dict[str, Any] = {
        "request_id": "gen-1", "timestamp": 1.8e9, "model_id": "acme/falcon", "provider": "beta", "status_code": 200,
        "finish_reason": "stop", "latency_ms": 1000, "ttft_ms": 500, "prompt_tokens": 10, "completion_tokens": 5,
        "total_tokens": 15, "cost_usd": "0.00002", "prices": {"prompt": "0.000001", "completion": "0.000002"},
        "attempts": [Attempt(**attempt) for attempt in ATTEMPTS],
    }  # fmt: skip
    return Record(**defaults | fields)


class TestTelling:
    def test_attempts_stand_where_they_were_in_time(self):
        bars = story.of(record()).bars
        assert [(bar.start, bar.width, bar.first_token, bar.state) for bar in bars] == [
            (0, 40, None, "bad"),
            (40, 60, 50, "good"),
        ]

    def test_classes_cost_what_the_request_cost(self):
        told = story.of(record())
        assert told.charges is not None
        assert [(charge.words, charge.count, charge.cost_usd) for charge in told.charges] == [
            ("prompt", 10, Decimal("0.00001")),
            ("answer", 5, Decimal("0.00001")),
        ]

    def test_classes_that_do_not_add_up_are_not_shown(self):
        assert story.of(record(cost_usd="0.5")).charges is None
        assert story.of(record(prices={"gold": "1"})).charges is None

    def test_a_fee_per_request_is_a_line_of_its_own(self):
        told = story.of(
            record(cost_usd="0.01002", prices={"prompt": "0.000001", "completion": "0.000002", "request": "0.01"})
        )
        assert told.charges is not None
        assert told.charges[-1].words == "request"

    @pytest.mark.parametrize(
        ("fields", "state"),
        [({}, "good"), ({"status_code": 502}, "bad"), ({"error_type": "timeout"}, "bad"), ({"is_cancelled": True}, "")],
    )
    def test_the_outcome_has_a_colour(self, fields, state):
        assert story.of(record(**fields)).state == state

    def test_a_request_that_reached_nobody_has_a_story_too(self):
        told = story.of(record(attempts=[], latency_ms=0, status_code=404, error_type="not_found"))
        assert (told.bars, told.headline) == ([], "404 not_found")

    def test_stored_messages_are_read_and_what_is_not_text_is_json(self):
        told = story.of(
            record(prompt='[{"role": "user", "content": "hi"}, {"role": "user", "content": [{"type": "text"}]}]')
        )
        assert told.prompt[0] == ("user", "hi")
        assert '"type": "text"' in told.prompt[1][1]


class TestPage:
    @pytest.fixture
    def log(self, db):
        return factories.request_log(
            status_code=502,
            error_type="provider_unavailable",
            error="<b>Provider said no</b>",
            plan=PLAN,
            attempts=ATTEMPTS,
        )

    def page(self, browser, log):
        return browser.get(f"/admin/accounting/requestlog/{log.pk}/change/").text

    def test_it_tells_plan_attempts_and_error_and_escapes_them(self, browser, log):
        text = self.page(browser, log)
        assert "drawn by weight" in text
        assert "keeps data" in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt; overloaded" in text
        assert "<script>alert(1)" not in text
        assert "<b>Provider said no</b>" not in text

    def test_it_leads_to_the_playground_who_may_use_it(self, browser, staff, log):
        address = f"/admin/console/playground/?replay={log.request_id}"
        assert address in self.page(browser, log)
        assert address not in self.page(staff("view_requestlog"), log)

    def test_the_playground_is_filled_with_what_was_asked(self, browser):
        log = factories.request_log(
            requested_model="acme/falcon",
            temperature=0.5,
            parameters={"top_k": 3},
            prompt='[{"role":"user","content":"hi"}]',
        )
        settings = browser.get("/admin/console/playground/", {"replay": log.request_id}).context["settings"]
        assert settings["replay"] == {
            "model": "acme/falcon",
            "parameters": {"temperature": 0.5, "top_k": 3},
            "messages": [{"role": "user", "content": "hi"}],
        }

    def test_who_may_not_read_requests_cannot_replay_them(self, staff, log):
        client = staff("use_playground")
        assert client.get("/admin/console/playground/", {"replay": log.request_id}).context["settings"]["replay"] is None
        assert client.get(f"/admin/console/requests/{log.request_id}/trace/").status_code == 404

    def test_a_trace_of_nothing_is_not_found(self, browser):
        assert browser.get("/admin/console/requests/gen-none/trace/").status_code == 404
