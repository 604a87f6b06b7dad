"""Alerts: each is said once by all workers together, and the webhook is asked in the background."""

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
from gateway_project.alerts import FORGOTTEN_S, REPEAT_S, Alerter, Board
from tests.fakes.catalogue import Served, seed
from tests.fakes.provider import FakeProvider
from tests.live import until

URL = "https://hooks.example/services/T0/B0/secret"
WRONG = {"breaker:m:p": "m at P is paused: ProviderTimeout"}


@pytest.fixture
def totals(monkeypatch) -> metrics.Totals:
    fresh = metrics.Totals()
    monkeypatch.setattr(metrics, "totals", fresh)
    return fresh


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


def test_neither_proxies_of_the_environment_nor_metadata_see_the_address(tmp_path, totals, hook, monkeypatch, caplog):
    url, told = hook
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    alerter, misled = Alerter(url, tmp_path / "one.json"), Alerter("http://169.254.169.254/secret", tmp_path / "two.json")
    alerter.look()
    misled.look()
    totals.refused_keys["acme"] += 1
    alerter.look()
    assert told == [":warning: acme refuses the gateway's API key"]
    with caplog.at_level(logging.WARNING, "gateway.alerts"):
        misled.look()
    assert caplog.messages == ["the alert webhook does not take messages: ForbiddenAddress"]


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


def test_a_gateway_tells_what_is_wrong_with_it(start_gateway, fake, hook):
    url, told = hook
    with FakeProvider() as engine:
        ours = Served("ok", {"local": True}, base_url=engine.base_url("engine"))
        content = seed(
            fake, {"al/broken": "status?code=500", "al/closed": "status?code=401", "al/ok": "ok", "al/ours": ours}
        )
    gateway = start_gateway(content, ALERT_WEBHOOK_URL=url)
    poor = gateway.create_key("the poor one", "--limit", "0.000001")

    def ask(model: str, key: str = "") -> int:
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1000}
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return gateway.client.post("/v1/chat/completions", json=body, headers=headers).status_code

    assert [ask("al/broken") for _ in range(5)] == [502] * 5
    assert ask("al/closed") == 502
    assert ask("al/ok", poor) == 402
    expected = (
        "al-closed-1 refuses the gateway's API key",
        "the budget of the key the poor one does not allow its requests any more",
        "the engine Ours 1 does not answer: ",
    )

    def missing() -> list[str]:
        return [sentence for sentence in expected if not any(text.startswith(f":warning: {sentence}") for text in told)]

    until(lambda: not missing(), "all of it is told", 30)
    assert len(told) == len(set(told))
    assert not any("al/broken" in text for text in told), "one short pause is no alert"
    assert "Traceback" not in gateway.log
