"""Guessing keys is slowed down on whichever page it is tried, and one page's guesses count on the others."""

from __future__ import annotations

import pytest

from accounting import wrong_keys
from accounting.credentials import KeyRing
from accounting.throttle import Throttle
from catalog.entries import Catalogue
from completions import snapshot
from completions.snapshot import Snapshot
from routingapp.entries import RoutingTable

PAGES = ["/v1/keys", "/v1/key", "/v1/stats", "/metrics"]


@pytest.fixture(autouse=True)
def two_are_forgiven(monkeypatch, settings):
    monkeypatch.setattr(wrong_keys, "_throttle", Throttle(2))
    monkeypatch.setattr(
        snapshot, "_current", Snapshot(Catalogue.of([]), RoutingTable(), KeyRing(is_key_required=False), endpoints={})
    )
    settings.METRICS_TOKEN, settings.RATE_LIMIT_ENABLED = "the-token", True


def status(client, page: str, secret: str = "sk-or-v1-wrong") -> int:
    return client.get(page, headers={"Authorization": f"Bearer {secret}"}).status_code


@pytest.mark.django_db
@pytest.mark.parametrize("page", PAGES)
def test_wrong_keys_are_limited_on_every_page_that_takes_one(client, page):
    assert [status(client, page) for _ in range(4)] == [401, 401, 429, 429]
    assert [status(client, other) for other in PAGES] == [429] * len(PAGES)
    assert status(client, "/metrics", "the-token") == 200


@pytest.mark.django_db
def test_whoever_sends_none_guesses_none(client):
    assert {client.get("/v1/keys").status_code for _ in range(5)} == {401}


@pytest.mark.django_db
def test_nothing_is_counted_where_limits_are_off(client, settings):
    settings.RATE_LIMIT_ENABLED = False
    assert {status(client, "/v1/keys") for _ in range(5)} == {401}
