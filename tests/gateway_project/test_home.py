"""The home page: for anybody who opens the gateway's address in a browser."""

from __future__ import annotations

import pytest

from completions import snapshot
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_snapshot_left(monkeypatch):
    monkeypatch.setattr(snapshot, "_current", None)


def test_it_says_how_to_call_a_model_that_can_answer(client, monkeypatch):
    monkeypatch.delenv("ACME_API_KEY", raising=False)
    keyless = factories.provider("keyless", api_key="${ACME_API_KEY}")
    factories.adapter(factories.language_model("acme/aardvark"), keyless)
    factories.adapter(factories.language_model("acme/zebra"))
    snapshot.load()
    page = client.get("/").text
    assert '"model": "acme/zebra"' in page
    assert "acme/aardvark" in page
    assert "http://testserver/v1/chat/completions" in page


def test_it_tells_strangers_nothing_of_providers_and_variables(client, monkeypatch):
    monkeypatch.setenv("ACME_API_KEY", "sk-very-secret")
    factories.adapter(provider=factories.provider("secret-provider", api_key="${ACME_API_KEY}"))
    snapshot.load()
    page = client.get("/").text
    assert not [word for word in ("ACME_API_KEY", "sk-very-secret", "secret-provider") if word in page]


def test_without_a_model_it_says_how_to_get_one(client):
    assert "loadmodels" in client.get("/").text


@pytest.mark.parametrize("required", [True, False])
def test_it_says_whether_a_key_is_needed(client, settings, required):
    settings.REQUIRE_API_KEY = required
    assert ("Callers need a key" in client.get("/").text) is required


@pytest.mark.django_db
@pytest.mark.parametrize("place", ["https://elsewhere.example/", "//elsewhere.example", ""])
def test_a_login_for_a_page_elsewhere_leads_to_the_console(client, django_user_model, place):
    django_user_model.objects.create_superuser("lin", password="a-long-password-of-tests")
    given = {"username": "lin", "password": "a-long-password-of-tests", "next": place}
    response = client.post("/admin/login/", given)
    assert (response.status_code, response["location"]) == (302, "/admin/")
