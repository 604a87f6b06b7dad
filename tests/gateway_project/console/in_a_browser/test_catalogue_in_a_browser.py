"""The catalogue as operators change it: a file uploaded after its diff was looked at, and a model discovered and switched on."""

from __future__ import annotations

from pathlib import Path

import yaml
from playwright.sync_api import Page, expect

from tests import chromium
from tests.fakes.provider import FakeProvider
from tests.live import until

pytestmark = chromium.MARKS


def models_file(directory: Path, fake: FakeProvider, kind: str, **model) -> str:
    """A models.yaml with one provider, which is the fake one, and one model there."""
    stanza = {"kind": kind, "name": kind.title(), "base_url": fake.base_url(kind), "api_key": "${FAKE_KEY}"}
    listed = {"id": f"{kind}/first", "name": "First", "route": [{"kind": kind, "provider_model_id": "ok?tokens=3"}]} | model
    path = directory / "birds.yaml"
    path.write_text(yaml.safe_dump({"providers": [stanza], "models": [listed]}))
    return str(path)


def upload(page: Page, path: str) -> None:
    page.goto("/admin/catalog/languagemodel/")
    page.get_by_role("link", name="Load models.yaml").click()
    page.get_by_label("models.yaml").set_input_files(path)
    page.get_by_role("button", name="Show what it would change").click()


def test_a_file_is_uploaded_looked_at_and_applied(page, gateway, fake, tmp_path):
    upload(page, models_file(tmp_path, fake, "herons", nmae="First"))
    problem = page.locator("table.problems tbody tr")
    expect(problem).to_contain_text("birds.yaml")
    expect(problem).to_contain_text("models[0].nmae")
    expect(problem).to_contain_text("Did you mean 'name'?")

    upload(page, models_file(tmp_path, fake, "herons"))
    expect(page.locator(".diff")).to_contain_text("+ model herons/first")
    assert not gateway.sql("SELECT id FROM catalog_languagemodel WHERE public_id = 'herons/first'"), "only looked at"

    page.get_by_role("button", name="Apply these changes").click()
    expect(page.locator(".messagelist")).to_contain_text("Loaded 1 models, 1 providers and 1 adapters from birds.yaml")
    chat = {"model": "herons/first", "messages": [{"role": "user", "content": "hi"}]}
    until(lambda: gateway.client.post("/v1/chat/completions", json=chat).status_code == 200, "the new model answers")

    page.get_by_role("link", name="herons/first").click()
    page.get_by_role("link", name="History").click()
    expect(page.locator("#change-history")).to_contain_text("Loaded from birds.yaml.")


def test_a_model_is_discovered_added_tested_and_switched_on(page, gateway, fake, tmp_path):
    upload(page, models_file(tmp_path, fake, "owls"))
    page.get_by_role("button", name="Apply these changes").click()
    page.goto("/admin/catalog/provider/")
    page.get_by_role("link", name="Owls").click()
    page.get_by_role("button", name="Discover models").click()

    page.get_by_label("Find").fill("ok")
    page.get_by_label("Add ok", exact=True).check()
    page.get_by_label("What callers name ok", exact=True).fill("owls/snowy")
    expect(page.locator("#chosen")).to_have_text("1 ticked")
    page.get_by_role("button", name="Add what is ticked").click()
    expect(page.locator(".messagelist")).to_contain_text("Added 1 model, switched off.")
    chat = {"model": "owls/snowy", "messages": [{"role": "user", "content": "hi"}]}
    assert gateway.client.post("/v1/chat/completions", json=chat).status_code == 404

    page.goto("/admin/catalog/adapter/?q=owls/snowy")
    page.get_by_role("link", name="ok", exact=True).click()
    page.get_by_role("button", name="Test this adapter").click()
    expect(page.locator(".console")).to_contain_text("It works.")

    page.goto("/admin/catalog/languagemodel/?q=owls/snowy")
    page.locator("input.action-select").check()
    page.locator("select[name=action]").select_option("enable")
    page.get_by_role("button", name="Go").click()
    expect(page.locator(".messagelist")).to_contain_text("Enabled 1 model.")
    until(lambda: gateway.client.post("/v1/chat/completions", json=chat).status_code == 200, "the model answers")


def test_the_catalogues_pages_fit_a_phone(page, gateway):
    page.set_viewport_size(chromium.PHONE)
    provider = gateway.sql("SELECT id FROM catalog_provider ORDER BY id")[0]["id"]
    for address in (
        "/admin/console/seed/", "/admin/console/export/", "/admin/catalog/languagemodel/", "/admin/catalog/adapter/",
        "/admin/catalog/adapterprice/", f"/admin/catalog/provider/{provider}/change/",
    ):  # fmt: skip
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= chromium.PHONE["width"], address
    page.get_by_role("button", name="Discover models").click()
    expect(page.locator(".offers")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= chromium.PHONE["width"], "discovery"


def test_a_price_is_added_and_the_one_it_follows_is_history(page, gateway):
    (adapter,) = gateway.sql(
        "SELECT a.id FROM catalog_adapter a JOIN catalog_languagemodel m ON m.id = a.model_id WHERE m.public_id = 'acme/talker'"
    )
    for day, prompt, shown in (("2026-11-01", "0.000004", "4 / 0"), ("2026-11-02", "0.000005", "5 / 0")):
        page.goto(f"/admin/catalog/adapter/{adapter['id']}/change/")
        page.get_by_role("button", name="Add another Price").click()
        row = page.locator("#prices-group tr.dynamic-prices").last
        row.locator("textarea").fill(f'{{"prompt": "{prompt}"}}')
        row.locator("input.vDateField").fill(day)
        row.locator("input.vTimeField").fill("00:00:00")
        page.get_by_role("button", name="Save and continue editing").click()
        expect(page.locator(".messagelist")).to_contain_text("was changed successfully")
        first = page.locator("#prices-group tr.has_original").first
        expect(first).to_contain_text(f"{day} 00:00 UTC")
        expect(first).to_contain_text("in force")
        expect(first).to_contain_text(f"{shown} USD per million tokens, in / out")
        expect(first).to_contain_text("ada")
    expect(page.locator("#prices-group tr.has_original").nth(1)).not_to_contain_text("in force")
