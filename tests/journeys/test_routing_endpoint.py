"""`GET /routing` on a live gateway: for operators only, and what it tells is what has just happened."""

from __future__ import annotations

import pytest

from tests.journeys import rules
from tests.journeys.asking import Asker
from tests.live import until


@pytest.fixture(scope="module")
def management(gateway):
    secret = gateway.manage("createapikey", "--name", "routing", "--management").strip()
    return {"Authorization": f"Bearer {secret}"}


def ask_until_known(gateway, headers, path):
    """A new key takes a moment to arrive in the server."""
    until(lambda: gateway.client.get(path, headers=headers).status_code != 401, "the key is known")
    return gateway.client.get(path, headers=headers)


@pytest.mark.parametrize("path", ["/v1/routing", "/api/v1/routing"])
def test_it_is_closed_to_everybody_but_operators(gateway, key, path):
    rules.is_error(gateway.client.get(path).json(), 401, "authentication")
    answer = gateway.client.get(path, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 403
    rules.is_error(answer.json(), 403, "permission_denied")


def test_it_tells_what_has_just_happened(gateway, management, marker):
    ask = Asker(gateway, marker)
    assert ask.chat("breaker/told").status_code == 200
    answer = ask_until_known(gateway, management, "/v1/routing?model=breaker/told")
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert data["pid"] == gateway.pid
    (model,) = data["models"]
    first, second = model["adapters"]
    assert (first["breaker"], first["left_out"], first["share"]) == ("open", "breaker_open", 0.0)
    assert 0 < first["retry_in_s"] <= 60
    assert "upstream says 429" in first["last_error"]
    assert (second["breaker"], second["calls"], second["share"]) == ("closed", 1, 1.0)
    for hidden in ("sk-secret", "internal.example", gateway.environment["FAKE_KEY"]):
        assert hidden not in answer.text


def test_without_a_name_all_models_are_told(gateway, management):
    answer = ask_until_known(gateway, management, "/v1/routing")
    assert len(answer.json()["data"]["models"]) == gateway.client.get("/v1/models/count").json()["data"]["count"]
