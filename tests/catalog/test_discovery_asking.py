"""Asking a provider for its list: over a real socket where that can be, within its bounds, and told plainly when it fails."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
import requests
import responses

from catalog.discovery import asking, guard
from catalog.discovery.asking import DiscoveryFailed, ask
from tests import factories
from tests.fakes import lists
from tests.fakes.catalogue import REFUSING_URL
from tests.fakes.lists import ListServer

pytestmark = pytest.mark.django_db

KEYS = {"ACME_API_KEY": "sk-live-0123456789abcdefghij"}
TWO = {"object": "list", "data": [{"id": "heron", "object": "model"}, {"id": "falcon", "object": "model"}]}


@pytest.fixture
def server() -> Iterator[ListServer]:
    with ListServer() as running:
        yield running


def offered(server: ListServer, **fields) -> asking.Offered:
    return ask(factories.provider("acme", base_url=server.base_url, **{"api_key": "${ACME_API_KEY}"} | fields), KEYS.get)


def refusal(server: ListServer, **fields) -> str:
    with pytest.raises(DiscoveryFailed) as failed:
        offered(server, **fields)
    assert KEYS["ACME_API_KEY"] not in str(failed.value)
    return str(failed.value)


def test_an_openai_compatible_provider_is_asked_with_its_key_in_a_header(server):
    server.answer = lists.document(TWO)
    assert [offer.upstream_model for offer in offered(server, extra_headers={"X-Team": "search"}).offers] == [
        "falcon",
        "heron",
    ]
    ((path, headers),) = server.seen
    assert path == "/v1/models"
    assert headers["authorization"] == "Bearer sk-live-0123456789abcdefghij"
    assert headers["x-team"] == "search"


def test_a_header_of_another_name_has_the_key_alone_and_azure_its_version(server):
    offered(server, auth_header="api-key", api_version="2025-08-01")
    ((path, headers),) = server.seen
    assert headers["api-key"] == KEYS["ACME_API_KEY"]
    assert "authorization" not in headers
    assert path == "/v1/models?api-version=2025-08-01"


def test_no_key_is_sent_where_there_is_none(server):
    offered(server, api_key="${SPARE_KEY:-}")
    assert "authorization" not in server.seen[0][1]


def test_anthropic_is_asked_page_by_page_in_its_own_headers(server):
    first = {"data": [{"type": "model", "id": "claude-b", "display_name": "B"}], "has_more": True, "last_id": "claude-b"}
    second = {"data": [{"type": "model", "id": "claude-a", "display_name": "A"}], "has_more": False, "last_id": "claude-a"}
    server.answer = lists.paged("after_id", {"": first, "claude-b": second})
    found = offered(server, dialect="anthropic")
    assert [offer.name for offer in found.offers] == ["A", "B"]
    paths = [path for path, _ in server.seen]
    assert paths == ["/v1/models?limit=1000", "/v1/models?limit=1000&after_id=claude-b"]
    headers = server.seen[0][1]
    assert (headers["x-api-key"], headers["anthropic-version"]) == (KEYS["ACME_API_KEY"], "2023-06-01")
    assert "authorization" not in headers


def test_gemini_is_asked_page_by_page_without_its_key_in_the_url(server):
    def model(name):
        return {"name": f"models/{name}", "supportedGenerationMethods": ["generateContent"]}

    pages = {
        "": {"models": [model("b")], "nextPageToken": "two"},
        "two": {"models": [model("a"), {"name": "models/paint"}]},
    }
    server.answer = lists.paged("pageToken", pages)
    found = offered(server, dialect="gemini")
    assert [offer.upstream_model for offer in found.offers] == ["a", "b"]
    assert found.left_out == 1
    assert server.seen[0][1]["x-goog-api-key"] == KEYS["ACME_API_KEY"]
    assert all(KEYS["ACME_API_KEY"] not in path for path, _ in server.seen)


def test_pages_without_end_are_given_up(server):
    server.answer = lists.document({"data": [], "has_more": True, "last_id": "again"})
    assert "more than 20 pages" in refusal(server, dialect="anthropic")
    assert len(server.seen) == 20


def test_a_redirect_is_not_followed_and_its_host_is_named(server):
    with ListServer() as elsewhere:
        server.answer = lists.raw(b"", 302, Location=f"{elsewhere.base_url}/models?secret=1")
        assert "redirects to 127.0.0.1. Redirects are not followed" in refusal(server)
        assert elsewhere.seen == []


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", REFUSING_URL)
    monkeypatch.setenv("http_proxy", REFUSING_URL)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    server.answer = lists.document(TWO)
    assert len(offered(server).offers) == 2


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "refuses the key in ${ACME_API_KEY} (401)"),
        (403, "refuses the key in ${ACME_API_KEY} (403)"),
        (404, "has no list of models at its base URL"),
        (429, "Try again in a minute"),
        (500, "answered with 500 instead of its list"),
    ],
)
def test_a_refusal_is_told_with_the_cure_and_the_providers_words_without_keys(server, status, told):
    body = json.dumps({"error": {"message": f"no, not with {KEYS['ACME_API_KEY']} at https://acme.example/x?key=1"}})
    server.answer = lists.raw(body.encode(), status)
    message = refusal(server)
    assert told in message
    assert "no, not with [key removed] at [url removed]" in message


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"models": {}}', b'"data"', b"[1"])
def test_what_is_no_list_is_told_with_the_dialect(server, body):
    server.answer = lists.raw(body)
    assert "something else than a list of models" in refusal(server)


def test_an_endless_answer_is_cut_off(server, monkeypatch):
    monkeypatch.setattr(asking, "MAX_BYTES", 2 * 1024 * 1024)
    server.answer = lists.raw(b" " * (3 * 1024 * 1024))
    assert "sends more than 2 MB" in refusal(server)


def test_a_slow_drip_ends_at_the_deadline(server, monkeypatch):
    monkeypatch.setattr(asking, "WITHIN_S", 0.2)
    server.answer = lists.dripping(b" " * 10_000, pause_s=0.02)
    assert "did not send its list within" in refusal(server)


def test_silence_is_not_waited_for(server, monkeypatch):
    monkeypatch.setattr(asking, "SILENCE_S", 0.2)
    server.answer = lists.dripping(b" " * 10, pause_s=1)
    assert "did not answer within" in refusal(server)


def test_an_answer_that_breaks_off_is_no_list(server):
    server.answer = lists.breaking_off(json.dumps(TWO).encode())
    assert "broke off" in refusal(server)


def leading_to(monkeypatch, *answers: str) -> None:
    """Have every name resolve to these addresses, one at each look."""
    looks = iter(answers)

    def resolve(host, port, *rest, **options):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(looks), port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("host", "address"),
    [("169.254.169.254", "169.254.169.254"), ("metadata.example", "169.254.169.254"), ("[fd00:ec2::254]", "fd00:ec2::254")],
)
def test_a_clouds_metadata_is_never_connected_to_by_address_or_name(monkeypatch, scheme, host, address):
    dialled: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: dialled.append(address))
    leading_to(monkeypatch, address)
    with pytest.raises(DiscoveryFailed, match=f"leads to {address}, which is link-local or a cloud's metadata"):
        ask(factories.provider(base_url=f"{scheme}://{host}/v1"), KEYS.get)
    assert dialled == []


def test_a_name_that_changes_its_mind_is_sent_nothing(server, monkeypatch):
    monkeypatch.setattr(guard, "is_forbidden", lambda address: address == "127.0.0.1")
    leading_to(monkeypatch, "203.0.113.9", "127.0.0.1")
    assert "which is link-local or a cloud's metadata" in refusal(server)
    assert server.seen == []


def test_a_refused_connection_names_the_host_alone():
    provider = factories.provider("acme", base_url=REFUSING_URL)
    with pytest.raises(DiscoveryFailed, match=r"^127\.0\.0\.1:\d+ cannot be reached\. Is it running"):
        ask(provider, KEYS.get)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (requests.ConnectTimeout("https://user:hidden@acme.example timed out"), "did not answer within"),
        (requests.exceptions.SSLError("certificate of hidden"), "certificate of acme.example is not good"),
        (requests.ConnectionError("Name or service not known: hidden"), "cannot be reached"),
        (requests.exceptions.InvalidURL("hidden"), "cannot be asked (InvalidURL)"),
    ],
)
@responses.activate
def test_what_goes_wrong_on_the_way_is_told_by_its_kind(fault, told):
    responses.get("https://acme.example/v1/models", body=fault)
    with pytest.raises(DiscoveryFailed) as failed:
        ask(factories.provider("acme"), KEYS.get)
    assert told in str(failed.value)
    assert "hidden" not in str(failed.value)


@responses.activate
def test_an_unconfigured_provider_is_not_asked():
    provider = factories.provider("acme", api_key="${MISSING_KEY}")
    with pytest.raises(DiscoveryFailed, match="environment variable MISSING_KEY is not set"):
        ask(provider, KEYS.get)
    assert not responses.calls
