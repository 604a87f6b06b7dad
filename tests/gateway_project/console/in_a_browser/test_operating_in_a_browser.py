"""What operators do every day: test an adapter, find out why a request failed, hand out a key and take it back."""

from __future__ import annotations

from playwright.sync_api import expect

from tests import chromium
from tests.fakes.catalogue import provider_slug
from tests.live import until

pytestmark = chromium.MARKS


def test_an_adapter_is_tested_and_says_what_is_wrong(page, gateway):
    for model, told in (("acme/talker", "It works."), ("acme/hopeless", "It does not work")):
        (adapter,) = gateway.sql(
            "SELECT a.id FROM catalog_adapter a JOIN catalog_provider p ON p.id = a.provider_id WHERE p.slug = ?",
            provider_slug(model),
        )
        page.goto(f"/admin/catalog/adapter/{adapter['id']}/change/")
        page.get_by_role("button", name="Test this adapter").click()
        expect(page.locator(".panel").first).to_contain_text(told)


def test_a_failed_request_is_found_and_tells_its_story(page, gateway, marker):
    chat = {"model": "acme/hopeless", "messages": [{"role": "user", "content": "Is anybody there?"}], "user": marker}
    assert gateway.client.post("/v1/chat/completions", json=chat).status_code >= 500
    gateway.row(user_id=marker)
    page.goto("/admin/")
    page.get_by_role("navigation", name="Console").get_by_role("link", name="Requests").click()
    page.get_by_label("Status").fill("5xx")
    page.get_by_label("User").fill(marker)
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.locator("#result_list tbody a").first.click()
    story = page.locator(".story")
    expect(story).to_contain_text("What was tried")
    expect(story).to_contain_text("provider_unavailable")
    expect(story).to_contain_text("Is anybody there?")
    page.get_by_role("link", name="Replay in the playground").click()
    expect(page.locator("#message")).to_have_value("Is anybody there?")
    expect(page.locator(".column").get_by_label("Model", exact=True)).to_have_value("acme/hopeless")


def test_a_key_is_created_used_and_revoked(page, gateway, marker):
    def status() -> int:
        return gateway.client.get("/v1/key", headers={"Authorization": f"Bearer {secret}"}).status_code

    page.goto("/admin/accounting/apikey/")
    page.get_by_role("link", name="Add API key").click()
    page.get_by_label("Name:").fill(marker)
    page.get_by_role("button", name="Save").click()
    secret = page.get_by_label("API key", exact=True).input_value()
    assert secret.startswith("sk-or-v1-")
    until(lambda: status() == 200, "the key is known")
    page.get_by_role("link", name="I have copied it").click()
    assert secret not in page.content()
    page.get_by_role("button", name=f"Revoke {marker} now").click()
    expect(page.locator(".messagelist")).to_contain_text("Revoked 1 API key")
    expect(page.locator("#result_list tr", has_text=marker).locator(".field-state")).to_have_text("disabled")
    until(lambda: status() == 401, "the key is refused")
