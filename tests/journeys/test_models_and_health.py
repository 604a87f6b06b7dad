"""What callers can learn without chatting: the models, one model, and whether the gateway is well."""

from __future__ import annotations

import time

import pytest

from tests.fakes.catalogue import PRICING, provider_name, seed
from tests.journeys import rules
from tests.journeys.asking import Asker
from tests.live import until

MODEL_FIELDS = {
    "id", "canonical_slug", "name", "created", "context_length", "architecture", "pricing", "top_provider",
    "per_request_limits", "supported_parameters", "default_parameters", "supported_voices", "links",
}  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/models", "/api/v1/models"])
def test_the_list_of_models_has_every_required_field(gateway, path):
    response = gateway.client.get(path)
    assert response.status_code == 200
    body = response.json()
    assert body["total_count"] == len(body["data"]) > 40
    assert body["links"] == {"next": None}
    for model in body["data"]:
        assert set(model) >= MODEL_FIELDS
        assert isinstance(model["created"], int)
        assert set(model["architecture"]) >= {"modality", "input_modalities", "output_modalities"}
        assert isinstance(model["top_provider"]["is_moderated"], bool)
        assert all(isinstance(price, str) for price in model["pricing"].values())
        assert set(model["pricing"]) >= {"prompt", "completion"}
        assert model["links"]["details"] == f"/api/v1/models/{model['canonical_slug']}/endpoints"
        for never_null in ("description", "reasoning", "pricing", "supported_parameters"):
            assert model.get(never_null, ()) is not None


def test_a_model_is_published_as_the_operator_wrote_it(gateway):
    model = next(model for model in gateway.client.get("/v1/models").json()["data"] if model["id"] == "fake/ok")
    assert model["name"] == "Fake: fake/ok"
    assert model["context_length"] == 32768
    assert model["top_provider"]["max_completion_tokens"] == 2048
    assert set(PRICING.items()) <= set(model["pricing"].items())
    assert "tools" in model["supported_parameters"]


def test_models_are_paged_as_the_sdk_pages_them(gateway):
    whole = [model["id"] for model in gateway.client.get("/v1/models").json()["data"]]
    first = gateway.client.get("/v1/models", params={"offset": 0, "limit": 10}).json()
    assert [model["id"] for model in first["data"]] == whole[:10]
    assert first["total_count"] == len(whole)
    assert first["links"]["next"]
    second = gateway.client.get("/v1/models", params={"offset": 10, "limit": 1000}).json()
    assert [model["id"] for model in second["data"]] == whole[10:]
    assert second["links"]["next"] is None


@pytest.mark.parametrize("path", ["/v1/models", "/v1/key", "/health/live", "/v1/openapi.json", "/"])
def test_a_head_is_a_get_without_content(gateway, path):
    got, head = gateway.client.get(path), gateway.client.head(path)
    assert head.status_code == got.status_code
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.content == b""


def test_models_can_be_counted(gateway):
    count = gateway.client.get("/v1/models/count").json()["data"]["count"]
    assert count == gateway.client.get("/v1/models").json()["total_count"]


@pytest.mark.parametrize(
    "path",
    ["/v1/models/fake%2Fok", "/v1/models/fake/ok", "/v1/model/fake/ok", "/api/v1/model/fake/ok", "/v1/models/ok-alias"],
)
def test_one_model_is_found_by_every_spelling(gateway, path):
    response = gateway.client.get(path)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body.get("data", body)["id"] == "fake/ok"


def test_a_model_that_does_not_exist_is_a_404(gateway):
    response = gateway.client.get("/v1/models/fake%2Fnone")
    rules.is_error(response.json(), 404, "not_found")
    assert response.status_code == 404


def test_the_endpoints_of_a_model_name_its_providers(gateway):
    data = gateway.client.get("/v1/models/early/reset-whole/endpoints").json()["data"]
    assert data["id"] == "early/reset-whole"
    assert [endpoint["provider_name"] for endpoint in data["endpoints"]] == [
        provider_name("early/reset-whole", 1),
        provider_name("early/reset-whole", 2),
    ]
    for endpoint in data["endpoints"]:
        assert endpoint["pricing"]["prompt"] == PRICING["prompt"]


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_the_gateway_says_that_it_is_well(gateway, path):
    response = gateway.client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    assert response.json()["status"] in ("ok", "healthy", "live", "ready")


def test_health_gives_no_secret_away(gateway):
    text = gateway.client.get("/health").text
    assert gateway.environment["FAKE_KEY"] not in text
    assert "127.0.0.1" not in text


def test_an_edit_is_live_within_a_second_without_a_restart(start_gateway, fake, marker):
    gateway = start_gateway(seed(fake, {"fake/old": "ok"}))
    ask = Asker(gateway, marker)
    pid = gateway.pid
    assert ask.chat("fake/new").status_code == 404

    gateway.write_seed(seed(fake, {"fake/old": "ok", "fake/new": "ok"}))
    gateway.manage("loadmodels")
    edited_at = time.monotonic()
    until(lambda: ask.chat("fake/new").status_code == 200, "the new model answers", 1)
    assert time.monotonic() - edited_at < 1

    gateway.write_seed(seed(fake, {"fake/new": "ok"}))
    gateway.manage("loadmodels", "--prune")
    until(lambda: ask.chat("fake/old").status_code == 404, "the old model is gone", 1)
    assert [model["id"] for model in gateway.client.get("/v1/models").json()["data"]] == ["fake/new"]
    assert gateway.pid == pid


def test_an_edit_is_live_in_every_worker(start_gateway, fake, marker):
    gateway = start_gateway(seed(fake, {"fake/old": "ok"}), options=("--workers", "2"))
    gateway.write_seed(seed(fake, {"fake/old": "ok", "fake/new": "ok"}))
    gateway.manage("loadmodels")
    edited_at = time.monotonic()

    def answers_everywhere() -> bool:
        """Twelve new connections, which the kernel spreads over both workers."""
        statuses = []
        for _ in range(12):
            headers = {"Connection": "close"}
            body = Asker(gateway, marker).body("fake/new")
            statuses.append(gateway.client.post("/v1/chat/completions", json=body, headers=headers).status_code)
        return set(statuses) == {200}

    until(answers_everywhere, "the new model answers in both workers", 2)
    assert time.monotonic() - edited_at < 2
