"""The playground's own endpoint, in a live gateway: streams as the API does, to staff who may, and to nobody else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.fakes.catalogue import seed
from tests.fakes.provider import FakeProvider
from tests.live import Gateway, until

PASSWORD = "only-for-tests-4711"
ANSWER = "/admin/console/playground/answer/"
PEOPLE = f"""
from django.contrib.auth.models import Group, User
User.objects.create_superuser("ada", password={PASSWORD!r})
vera = User.objects.create_user("vera", password={PASSWORD!r}, is_staff=True)
vera.groups.add(Group.objects.get(name="viewer"))
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, fake: FakeProvider, migrated_database) -> Iterator[Gateway]:
    """A gateway that wants keys from callers, with an administrator and a viewer."""
    models: dict[str, Any] = {
        "fake/ok": "ok",
        "fake/slow": "ok?tokens=200&delay=0.05",
        # One for each test: a provider that has refused a key once is left alone for a while.
        "fake/broken": "status?code=401",
        "fake/broken-too": "status?code=401",
        "fake/off": "ok?tokens=3",
    }
    directory = tmp_path_factory.mktemp("playground")
    with Gateway(directory, seed(fake, models), {"REQUIRE_API_KEY": "true"}, database=migrated_database) as running:
        running.manage("shell", "-c", PEOPLE)
        yield running
        assert "Traceback" not in running.log, running.log


@contextmanager
def browser_of(gateway: Gateway, name: str) -> Iterator[httpx.Client]:
    """A browser in which `name` is logged in; it sends the CSRF token as the page's script does."""
    with httpx.Client(base_url=gateway.url, timeout=20) as client:
        client.get("/admin/login/")
        form = {"username": name, "password": PASSWORD, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        assert client.post("/admin/login/?next=/admin/", data=form).status_code == 302
        client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
        yield client


@pytest.fixture(scope="module")
def ada(gateway: Gateway) -> Iterator[httpx.Client]:
    with browser_of(gateway, "ada") as client:
        yield client


def chat(model: str = "fake/ok", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Say hello"}]} | fields


def test_staff_need_no_key_where_callers_do(gateway, ada):
    assert gateway.client.post("/v1/chat/completions", json=chat()).status_code == 401
    response = ada.post(ANSWER, json=chat())
    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["content"]
    row = gateway.row(request_id=response.headers["X-Generation-Id"])
    assert (row["user_id"], row["app_title"], row["api_key_id"]) == ("staff:ada", "Playground", None)


def test_answers_stream_as_they_do_for_callers(ada):
    with ada.stream("POST", ANSWER, json=chat(stream=True)) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        events = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["usage"]["completion_tokens"] > 0


def test_the_trace_is_there_as_soon_as_the_answer_has_ended(ada):
    request_id = ada.post(ANSWER, json=chat()).headers["X-Generation-Id"]
    trace = ada.get(f"/admin/console/requests/{request_id}/trace/")
    assert trace.status_code == 200
    assert "What was tried" in trace.text


def test_who_leaves_ends_the_upstream_call(gateway, ada, fake, marker):
    body = chat("fake/slow", stream=True)
    body["messages"][0]["content"] = marker
    with ada.stream("POST", ANSWER, json=body) as response:
        next(response.iter_lines())
        request_id = response.headers["X-Generation-Id"]
    row = gateway.row(request_id=request_id)
    assert row["is_cancelled"]
    call: Any = until(
        lambda: next((c for c in fake.calls if marker in json.dumps(c.json) and c.client_left_at), None),
        "the upstream call ends",
    )
    assert call.events_sent < 200


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b'{"model": "fake/ok"}', 400, "messages"),
        (json.dumps(chat("no/such")).encode(), 404, "not a model of this gateway"),
        (json.dumps(chat("fake/broken")).encode(), 502, "upstream says 401"),
    ],
)
def test_errors_come_in_the_envelope_of_the_api(ada, body, status, words):
    response = ada.post(ANSWER, content=body)
    assert response.status_code == status
    assert words in response.json()["error"]["message"]


def test_a_viewer_spends_nothing(gateway):
    with browser_of(gateway, "vera") as vera:
        response = vera.post(ANSWER, json=chat())
    assert response.status_code == 403
    assert "right" in response.json()["error"]["message"]


def test_a_stranger_is_refused(gateway):
    with httpx.Client(base_url=gateway.url) as stranger:
        stranger.get("/admin/login/")
        headers = {"X-CSRFToken": stranger.cookies["csrftoken"]}
        assert stranger.post(ANSWER, json=chat(), headers=headers).status_code == 403


def test_another_site_cannot_use_the_session(ada):
    response = ada.post(ANSWER, json=chat(), headers={"X-CSRFToken": ""})
    assert response.status_code == 403
    assert ada.get(ANSWER).status_code == 400


def test_the_pages_know_what_this_process_is_doing(ada):
    page = ada.get("/admin/").text
    assert "Journal backlog" in page
    assert "Open breakers" in page


class TestTestingAnAdapter:
    def page(self, gateway: Gateway, browser: httpx.Client, model: str) -> httpx.Response:
        query = "SELECT a.id FROM catalog_adapter a JOIN catalog_languagemodel m ON m.id = a.model_id WHERE m.public_id = ?"
        return browser.post(f"/admin/console/adapters/{gateway.sql(query, model)[0]['id']}/test/")

    def test_it_asks_that_adapter_and_shows_the_answer(self, gateway, ada):
        page = self.page(gateway, ada, "fake/ok")
        assert "It works." in page.text
        assert "What was tried" in page.text
        assert gateway.row(app_title="Adapter test", model_id="fake/ok")["user_id"] == "staff:ada"

    def test_it_shows_the_error_as_callers_get_it(self, gateway, ada):
        page = self.page(gateway, ada, "fake/broken-too")
        assert "It does not work:" in page.text
        assert "upstream says 401" in page.text
        assert "sk-fake" not in page.text

    def test_what_is_switched_off_can_be_tried_before_it_is_switched_on(self, gateway, ada):
        gateway.database.change("UPDATE catalog_languagemodel SET is_enabled = ? WHERE public_id = ?", False, "fake/off")
        gateway.database.change("UPDATE catalog_adapter SET is_enabled = ? WHERE upstream_model = ?", False, "ok?tokens=3")
        until(lambda: gateway.client.get("/v1/models/fake/off/endpoints").status_code == 404, "the model is off")
        assert "It works." in self.page(gateway, ada, "fake/off").text

    def test_a_viewer_may_not(self, gateway):
        with browser_of(gateway, "vera") as vera:
            assert self.page(gateway, vera, "fake/ok").status_code == 403

    def test_the_history_of_the_adapter_says_so(self, gateway, ada):
        self.page(gateway, ada, "fake/ok")
        assert gateway.sql("SELECT change_message FROM django_admin_log WHERE change_message LIKE 'Tested: answered%'")
