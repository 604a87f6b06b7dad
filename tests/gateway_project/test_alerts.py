"""Alerts: each is said once by all workers together, and the webhook is asked in the background."""

from __future__ import annotations

import fcntl
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import requests
import responses

from completions import metrics
from gateway_project.alerts import Alerter
from gateway_project.board import FORGOTTEN_S, LASTS_S, REPEAT_S, Board
from gateway_project.figures import Figures
from tests.fakes.catalogue import Served, seed
from tests.fakes.provider import FakeProvider
from tests.live import Gateway, until

URL = "https://hooks.example/services/T0/B0/secret"
WRONG = {"engine:p": "P does not answer: ProviderTimeout"}


@pytest.fixture
def totals(monkeypatch) -> metrics.Totals:
    fresh = metrics.Totals()
    monkeypatch.setattr(metrics, "totals", fresh)
    return fresh


# --- Saying it once ---------------------------------------------------------------------------------------------------


@pytest.fixture
def boards(tmp_path) -> list[Board]:
    return [Board(tmp_path / "alerts.json", pid) for pid in (1, 2)]


def test_what_lasts_is_said_once_and_is_over_when_it_has_been_well_as_long(boards):
    board, _ = boards
    assert board.tell(WRONG, 0) == []
    assert board.tell(WRONG, LASTS_S - 1) == []
    assert board.tell(WRONG, LASTS_S) == [":warning: P does not answer: ProviderTimeout"]
    assert board.tell(WRONG, LASTS_S + 5) == []
    assert board.tell({}, LASTS_S + 10) == []
    assert board.tell({}, 2 * LASTS_S + 9) == []
    assert board.tell({}, 2 * LASTS_S + 10) == [":white_check_mark: over: P does not answer: ProviderTimeout"]
    assert board.tell({}, 2 * LASTS_S + 15) == []
    assert board.tell(WRONG, 2 * LASTS_S + 20) == []


def test_what_comes_and_goes_is_not_said(boards):
    """A provider that answers every other request with 429 and `Retry-After: 6`, looked at for two minutes."""
    board, _ = boards
    assert [message for look in range(24) for message in board.tell(WRONG if look % 2 else {}, look * 5.0)] == []


def test_a_moment_of_peace_does_not_end_it(boards):
    board, _ = boards
    assert [len(board.tell(WRONG, second)) for second in (0, LASTS_S / 2, LASTS_S)] == [0, 0, 1]
    for second in range(65, 300, 10):
        assert board.tell({}, second) == []
        assert board.tell(WRONG, second + 5) == []


@pytest.mark.parametrize("key", ["key:acme", "budget:7", "lost", "breaker:m:p"])
def test_what_does_not_pass_by_itself_or_has_lasted_already_is_said_at_once(boards, key):
    board, _ = boards
    assert board.tell({key: "it is so"}, 0) == [":warning: it is so"]
    assert board.tell({}, 5) == []
    assert board.tell({key: "it is so"}, 10) == []


def test_it_is_said_again_once_an_hour_while_it_lasts(boards):
    board, _ = boards
    said = [second for second in range(0, int(2.5 * REPEAT_S), 50) if board.tell({"lost": "3 records"}, float(second))]
    assert said == [0, REPEAT_S, 2 * REPEAT_S]


def test_what_several_workers_see_is_said_once_and_over_when_none_sees_it(boards):
    first, second = boards
    first.tell(WRONG, 0)
    second.tell(WRONG, 1)
    assert len(first.tell(WRONG, LASTS_S)) == 1
    assert second.tell(WRONG, LASTS_S + 1) == []
    assert first.tell({}, LASTS_S + 5) == []
    assert second.tell({}, LASTS_S + 6) == []
    assert len(first.tell({}, 2 * LASTS_S + 6)) == 1


def test_what_a_dead_worker_saw_is_over_in_time(boards):
    first, second = boards
    first.tell({"lost": "3 records"}, 0)
    assert second.tell({}, FORGOTTEN_S - 1) == []
    assert second.tell({}, FORGOTTEN_S + 1) == []
    assert second.tell({}, FORGOTTEN_S + 1 + LASTS_S) == [":white_check_mark: over: 3 records"]


def test_what_was_wrong_before_a_pause_of_the_server_has_not_lasted_since(boards):
    board, _ = boards
    board.tell(WRONG, 0)
    assert board.tell(WRONG, FORGOTTEN_S + 100) == []


def test_workers_at_once_say_it_once(tmp_path):
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda pid=pid: said.extend(Board(tmp_path / "alerts.json", pid).tell({"lost": "3"}, 0)))
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
        assert len(board.tell({"lost": "3 records"}, 0)) == 1
    assert "begun anew" in caplog.text
    assert list(json.loads(board.path.read_text())["entries"]) == ["lost"]


def test_the_workers_put_their_figures_together_and_forget_those_of_the_dead(boards):
    first, second = boards
    assert first.share(Figures(requests=12), 0) == [Figures(requests=12)]
    assert second.share(Figures(requests=13, slow_starts={"m": 2}), 5) == [
        Figures(requests=12),
        Figures(requests=13, slow_starts={"m": 2}),
    ]
    assert first.share(Figures(requests=14), 10)[0] == Figures(requests=14)
    assert second.share(Figures(), 10 + FORGOTTEN_S) == [Figures()]


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
def test_nothing_that_a_provider_says_is_a_command_to_the_chat(tmp_path, totals):
    hook = responses.post(URL, body="ok")
    totals.refused_keys["<!channel> & @here"] += 1
    Alerter(URL, tmp_path / "alerts.json").look()
    told = json.loads(hook.calls[0].request.body)["text"]
    assert told == ":warning: &lt;!channel&gt; &amp; @\u200bhere refuses the gateway's API key"


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


def sheet(gateway: Gateway) -> dict[str, Any]:
    with (gateway.directory / "alerts.json").open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        file.seek(0)
        content: dict[str, Any] = json.loads(file.read() or "{}")
    return content


def let_pass(gateway: Gateway, seconds: float) -> None:
    """Everything on the board has been wrong for so much longer."""
    with (gateway.directory / "alerts.json").open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        content = json.loads(file.read() or "{}")
        for entry in content.get("entries", {}).values():
            entry["since"] -= seconds
        file.truncate(0)
        file.write(json.dumps(content).encode())


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
        let_pass(gateway, LASTS_S)
        return [sentence for sentence in expected if not any(text.startswith(f":warning: {sentence}") for text in told)]

    until(lambda: not missing(), "all of it is told", 30)
    assert len(told) == len(set(told))
    assert not any("al/broken" in text for text in told), "one short pause is no alert"
    assert "Traceback" not in gateway.log


def test_the_numbers_are_those_of_all_workers(start_gateway, fake, hook):
    url, told = hook
    gateway = start_gateway(seed(fake, {"al/worse": "status?code=500"}), options=("--workers", "2"), ALERT_WEBHOOK_URL=url)
    until(lambda: len(sheet(gateway).get("figures", {})) == 2, "both workers have looked", 20)
    body = {"model": "al/worse", "messages": [{"role": "user", "content": "hello"}]}
    for _ in range(24):
        # A connection each, so that the kernel deals the requests out to the workers.
        assert httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=20).status_code in (502, 503)

    expected = "24 of 24 requests of the last 5 minutes failed at a provider or here"
    until(lambda: sheet(gateway)["entries"].get("errors", {}).get("text") == expected, "all are counted", 20)
    shares = [figures["requests"] for _, figures in sheet(gateway)["figures"].values()]
    assert sum(shares) == 24
    let_pass(gateway, LASTS_S)
    until(lambda: f":warning: {expected}" in told, "it is told", 20)
    assert len(told) == len(set(told))
    assert "Traceback" not in gateway.log
