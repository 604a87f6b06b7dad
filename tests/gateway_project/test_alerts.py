"""Alerts: what is found, that each is said once by all workers together, and that the webhook is asked in the background."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
import responses

from completions import metrics
from gateway_project import alerts
from gateway_project.alerts import ERROR_WINDOW_S, FORGOTTEN_S, REPEAT_S, Alerter, Board, Conditions
from tests.fakes.catalogue import seed
from tests.live import until

URL = "https://hooks.example/services/T0/B0/secret"
WRONG = {"breaker:m:p": "m at P is paused: ProviderTimeout"}


@pytest.fixture
def totals(monkeypatch) -> metrics.Totals:
    fresh = metrics.Totals()
    monkeypatch.setattr(metrics, "totals", fresh)
    return fresh


# --- Finding ----------------------------------------------------------------------------------------------------------


def test_all_is_well_where_nothing_runs_yet(totals):
    assert Conditions().look(now=100.0) == {}


def test_a_share_of_failures_is_found_and_passes_with_its_window(totals):
    conditions = Conditions()
    conditions.look(now=0.0)
    totals.requests, totals.failed = 40, 8
    assert conditions.look(now=10.0) == {"errors": "8 of 40 requests of the last 5 minutes failed at a provider or here"}
    totals.requests += 100
    assert conditions.look(now=20.0) == {}
    assert conditions.look(now=21.0 + ERROR_WINDOW_S) == {}


def test_few_requests_are_no_rate(totals):
    conditions = Conditions()
    conditions.look(now=0.0)
    totals.requests, totals.failed = 10, 10
    assert conditions.look(now=10.0) == {}


def test_what_failed_before_it_looked_is_past(totals):
    totals.requests = totals.failed = 1000
    assert Conditions().look(now=0.0) == {}


def test_a_refused_key_is_found_by_provider_and_forgotten_after_a_while(totals):
    conditions = Conditions()
    conditions.look(now=0.0)
    totals.refused_keys["acme"] += 1
    assert conditions.look(now=1.0) == {"key:acme": "acme refuses the gateway's API key"}
    assert "key:acme" in conditions.look(now=500.0)
    assert conditions.look(now=602.0) == {}


# --- Saying it once ---------------------------------------------------------------------------------------------------


@pytest.fixture
def boards(tmp_path) -> list[Board]:
    return [Board(tmp_path / "alerts.json", pid) for pid in (1, 2)]


def test_it_is_said_when_it_begins_and_when_it_is_over(boards):
    board, _ = boards
    assert board.tell(WRONG, 0) == [":warning: m at P is paused: ProviderTimeout"]
    assert board.tell(WRONG, 5) == []
    assert board.tell({}, 10) == [":white_check_mark: over: m at P is paused: ProviderTimeout"]
    assert board.tell({}, 15) == []
    assert len(board.tell(WRONG, 20)) == 1


def test_it_is_said_again_once_an_hour_while_it_lasts(boards):
    board, _ = boards
    said = [second for second in range(0, int(2.5 * REPEAT_S), 50) if board.tell(WRONG, float(second))]
    assert said == [0, REPEAT_S, 2 * REPEAT_S]


def test_what_several_workers_see_is_said_once_and_over_when_none_sees_it(boards):
    first, second = boards
    assert len(first.tell(WRONG, 0)) == 1
    assert second.tell(WRONG, 1) == []
    assert first.tell({}, 5) == []
    assert len(second.tell({}, 6)) == 1


def test_what_a_dead_worker_saw_is_over_in_time(boards):
    first, second = boards
    first.tell(WRONG, 0)
    assert second.tell({}, FORGOTTEN_S - 1) == []
    assert second.tell({}, FORGOTTEN_S + 1) == [":white_check_mark: over: m at P is paused: ProviderTimeout"]


def test_workers_at_once_say_it_once(tmp_path):
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda pid=pid: said.extend(Board(tmp_path / "alerts.json", pid).tell(WRONG, 0)))
        for pid in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 1


def test_a_file_that_is_broken_is_begun_anew(boards, caplog):
    board, _ = boards
    board.path.write_text("{")
    with caplog.at_level(logging.WARNING, "gateway.alerts"):
        assert len(board.tell(WRONG, 0)) == 1
    assert "begun anew" in caplog.text
    assert list(json.loads(board.path.read_text())) == list(WRONG)


# --- Sending ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def alerter(tmp_path, totals) -> Alerter:
    """One that has something to say: a provider, oddly named, refuses a key."""
    alerter = Alerter(URL, tmp_path / "alerts.json")
    alerter.look()
    totals.refused_keys["sk-abcdefghijklmnop1234"] += 1
    return alerter


@responses.activate
def test_the_webhook_gets_text_as_slack_takes_it_without_keys(alerter):
    hook = responses.post(URL, body="ok")
    alerter.look()
    alerter.look()
    assert hook.call_count == 1
    assert json.loads(hook.calls[0].request.body) == {"text": ":warning: [key removed] refuses the gateway's API key"}


@responses.activate
def test_what_the_webhook_did_not_take_is_sent_again_and_its_address_is_not_logged(alerter, caplog):
    responses.post(URL, status=500)
    with caplog.at_level(logging.WARNING, "gateway.alerts"):
        alerter.look()
    responses.reset()
    responses.post(URL, body=requests.ConnectionError(f"cannot reach {URL}"))
    alerter.look()
    responses.reset()
    hook = responses.post(URL, body="ok")
    alerter.look()
    assert hook.call_count == 1
    assert len(caplog.records) == 1
    assert "500" in caplog.text
    assert "secret" not in caplog.text


@responses.activate
def test_a_redirect_is_not_followed(alerter):
    responses.post(URL, status=302, headers={"Location": "https://elsewhere.example/"})
    elsewhere = responses.post("https://elsewhere.example/")
    alerter.look()
    assert elsewhere.call_count == 0


# --- In a gateway -----------------------------------------------------------------------------------------------------


@pytest.fixture
def hook() -> Iterator[tuple[str, list[str]]]:
    """A webhook on loopback, and what it was told."""
    told: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["text"])
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", told
    server.shutdown()
    server.server_close()


def test_a_gateway_tells_of_a_paused_adapter_and_a_refused_key(start_gateway, fake, hook):
    url, told = hook
    gateway = start_gateway(
        seed(fake, {"al/broken": "status?code=500", "al/closed": "status?code=401"}), ALERT_WEBHOOK_URL=url
    )
    body = {"messages": [{"role": "user", "content": "hello"}]}
    for _ in range(6):
        gateway.client.post("/v1/chat/completions", json={"model": "al/broken", **body})
    gateway.client.post("/v1/chat/completions", json={"model": "al/closed", **body})
    within_s = 3 * alerts.LOOK_EVERY_S
    until(lambda: any("al/broken at Broken 1 is paused" in text for text in told), f"the breaker in {told}", within_s)
    until(lambda: any(text == ":warning: al-closed-1 refuses the gateway's API key" for text in told), "the key", within_s)
    assert len(told) == len(set(told))
    assert "Traceback" not in gateway.log
