"""The lean lane without a database: pytest-django forbids every query here, from any thread, so none can be on the path."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator

import orjson
import pytest

from accounting import ledger
from accounting.credentials import KeyRing
from accounting.ledger import Ledger
from catalog.entries import AdapterEntry, Catalogue, DialectName, ModelEntry, Prices, ProviderEntry
from completions import runtime, snapshot
from completions.snapshot import Snapshot
from completions.upstream import Upstream, prepare
from gateway_project import asgi, lane
from gateway_project.asgi import lean_lane
from routingapp.entries import RoutingTable
from tests.fakes.transport import Script, ScriptedDialer

ANSWER = {
    "id": "up-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
CARD = {"id": "acme/one", "supported_parameters": [], "context_length": 100, "pricing": {"prompt": "0"}}
CHAT = {"model": "acme/one", "messages": [{"role": "user", "content": "Hi"}]}


def provider(host: str, request: dict, number: int) -> Script:
    if request["stream"]:
        delta = {
            "choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": "stop"}],
            "usage": ANSWER["usage"],
        }
        return Script(body=(b"data: " + orjson.dumps(delta) + b"\n\ndata: [DONE]\n\n",))
    return Script(headers=(("content-type", "application/json"),), body=(orjson.dumps(ANSWER),))


@pytest.fixture
async def serving(tmp_path, monkeypatch) -> AsyncIterator[Ledger]:
    """A snapshot made by hand, a journal without its writer, a provider that answers at once."""
    where = ProviderEntry(
        id=1, slug="acme", name="Acme", dialect=DialectName.OPENAI, base_url="http://127.0.0.1:9/v1", api_keys=(),
        is_local=False, connect_timeout_s=1, first_byte_timeout_s=1, idle_timeout_s=1, total_timeout_s=1, extra_headers={},
    )  # fmt: skip
    adapter = AdapterEntry(
        id=1, model_id="acme/one", provider=where, upstream_model="one", is_enabled=True, prices=Prices(), context_length=100,
        max_output_length=None, quantization=None, supported_parameters=frozenset(), unconfigured=None,
    )  # fmt: skip
    model = ModelEntry("acme/one", "acme/one", "One", (), (adapter,), frozenset({"text"}), frozenset({"text"}), CARD)
    made = Snapshot(
        Catalogue.of([model]),
        RoutingTable(),
        KeyRing(is_key_required=False),
        endpoints={1: prepare(adapter, os.environ.get)},
    )
    journal = Ledger(tmp_path)
    monkeypatch.setattr(snapshot, "_current", made)
    monkeypatch.setattr(ledger, "_ledger", journal)
    runtime.start(Upstream(ScriptedDialer(provider)))
    yield journal
    await runtime.stop()
    journal.stop(1)


async def call(path: str, body: bytes = b"", method: str = "POST", **headers: str) -> tuple[int, dict[str, str], bytes]:
    sent: list[dict] = []
    received = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if received:
            return received.pop()
        return await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    names = {"content-type": "application/json", **headers}
    encoded = [(name.encode(), value.encode()) for name, value in names.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": encoded}
    await lean_lane(scope, receive, send)
    head = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], head, b"".join(message["body"] for message in sent[1:])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_is_answered_and_recorded_without_a_query(serving, stream):
    status, headers, body = await call("/v1/chat/completions", orjson.dumps({**CHAT, "stream": stream}))
    assert status == 200, body
    assert b"Hello." in body
    record = serving.recent(headers["x-generation-id"])
    assert record is not None
    assert (record.status_code, record.total_tokens, record.stream) == (200, 5, stream)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/acme/one", "/v1/providers", "/health", "/health/ready"])
async def test_what_is_only_read_is_read_without_a_query(serving, path):
    status, _, body = await call(path, method="GET")
    assert status == 200, body


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/api/v1", "/api/v1/"])
async def test_the_base_url_itself_leads_people_to_the_pages_and_tells_programs_where_they_are(serving, path):
    status, headers, _ = await call(path, method="GET", accept="text/html,*/*;q=0.8")
    assert (status, headers["location"]) == (302, "/v1/docs")
    for method in ("GET", "POST"):
        status, _, body = await call(path, method=method, accept="*/*")
        assert status == 404
        assert (
            orjson.loads(body)["error"]["message"] == f"There is nothing at {path}; the API's pages are listed at /v1/docs."
        )
    assert asgi._LEAN.match(path)


@pytest.mark.parametrize("path", ["/v1/docs", "/api/v1/keys", "/v1beta", "/v12", "/api"])
def test_pages_and_strangers_do_not_take_the_lean_lane(path):
    assert not asgi._LEAN.match(path)


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b'{"model": "nope", "messages": [{"role": "user", "content": "x"}]}', 404)],
)
async def test_a_refusal_is_recorded_too(serving, body, status):
    answered, headers, envelope = await call("/v1/chat/completions", body)
    assert answered == status
    assert orjson.loads(envelope)["error"]["code"] == status
    record = serving.recent(headers["x-generation-id"])
    assert record is not None
    assert record.status_code == status


async def test_no_thread_is_started_for_a_request(serving):
    await call("/v1/chat/completions", orjson.dumps(CHAT))
    before = {thread.ident for thread in threading.enumerate()}
    for _ in range(5):
        await call("/v1/chat/completions", orjson.dumps(CHAT))
    assert {thread.ident for thread in threading.enumerate()} == before


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_of_a_conversation_is_left_to_the_garbage_collector(serving, monkeypatch, stream):
    monkeypatch.setattr(lane, "LISTEN_AFTER_S", 0)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            await call("/v1/chat/completions", orjson.dumps({**CHAT, "stream": stream}))
        await asyncio.sleep(0.01)  # in which tasks that were cancelled end
        assert sum(isinstance(each, lane.Conversation) for each in gc.get_objects()) == 0
    finally:
        gc.enable()


async def test_a_deeply_nested_body_is_refused_and_not_a_crash(serving):
    status, _, _ = await call("/v1/chat/completions", b'{"a":' * 100_000)
    assert status == 400
