"""The console for everybody: no page breaks the rules that axe-core checks, in light and dark, and none is wider than a phone."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from django.contrib import admin
from playwright.sync_api import Locator, Page

from accounting.admin.requests import ReadOnly
from tests import chromium
from tests.gateway_project.console.in_a_browser.conftest import PASSWORD
from tests.live import Gateway

pytestmark = chromium.MARKS
Visit = Callable[[Page], None]

ALWAYS_CHECKED = {"heading-order", "page-has-heading-one", "empty-heading"}
"""Rules that axe-core calls moderate, and by which people with a screen reader find their way."""


def show(address: str, page: Page) -> None:
    response = page.goto(address, wait_until="load")
    assert response is not None
    assert response.ok, f"{address} answered {response.status}"


def miss(page: Page) -> None:
    response = page.goto("/no/such/page", wait_until="load")
    assert response is not None
    assert response.status == 404


def submit(page: Page, button: Locator) -> None:
    with page.expect_navigation(wait_until="load") as navigation:
        button.click()
    assert navigation.value.ok, f"{page.url} answered {navigation.value.status}"


def press(address: str, button: str, page: Page) -> None:
    """What is shown only in answer to a form: a list that was asked for, a test that was run."""
    show(address, page)
    submit(page, page.get_by_role("button", name=button))


def upload(file: Path, page: Page) -> None:
    show("/admin/console/seed/", page)
    page.get_by_label("models.yaml").set_input_files(file)
    submit(page, page.get_by_role("button", name="Show what it would change"))


def create_key(page: Page) -> None:
    show("/admin/accounting/apikey/add/", page)
    page.locator("#id_name").fill("for axe, by hand")
    submit(page, page.locator("[name=_save]"))


def tables(gateway: Gateway) -> dict[str, Visit]:
    """Of every table that admin shows: the list, the form for a new row where there is one, and the first row."""
    found = []
    for model, model_admin in admin.site._registry.items():
        opts = model._meta
        place = f"/admin/{opts.app_label}/{opts.model_name}/"
        found.append(place)
        if not isinstance(model_admin, ReadOnly):
            found.append(f"{place}add/")
        found += [
            f"{place}{row['id']}/change/" for row in gateway.sql(f"SELECT id FROM {opts.db_table} ORDER BY id LIMIT 1")
        ]
    return {address: partial(show, address) for address in found}


@pytest.fixture(scope="module")
def visits(gateway, tmp_path_factory) -> dict[str, Visit]:
    """Every page of the console by its name or address, and how to come to it."""
    chat = {"model": "acme/broken", "messages": [{"role": "user", "content": "hi"}], "user": "for-axe"}
    gateway.client.post("/v1/chat/completions", json=chat)
    request = gateway.row(user_id="for-axe")["id"]
    gateway.create_key("for axe")
    model = gateway.sql("SELECT id FROM catalog_languagemodel WHERE public_id = 'acme/falcon'")[0]["id"]
    # Not one of the falcon's: a test is a request, and those who look at its split expect that there was none.
    asked = gateway.sql(
        "SELECT a.id FROM catalog_adapter a JOIN catalog_languagemodel m ON m.id = a.model_id WHERE m.public_id = 'acme/talker'"
    )[0]["id"]
    good, bad = (tmp_path_factory.mktemp("files") / name for name in ("good.yaml", "bad.yaml"))
    listed = {
        "id": "axe/new",
        "name": "New",
        "provider": "vllm",
        "base_url": "http://localhost:1/v1",
        "provider_model_id": "a",
    }
    good.write_text(yaml.safe_dump({"models": [listed]}))
    bad.write_text(yaml.safe_dump({"models": [{**listed, "nmae": "New"}]}))
    addresses = (
        "/", "/admin/?period=1h&by=key", "/admin/?period=30d&by=adapter", "/admin/", "/admin/console/traffic/",
        f"/admin/console/models/{model}/split/", "/admin/console/playground/", "/admin/console/seed/",
        "/admin/console/export/", "/admin/accounting/requestlog/?from=never", f"/admin/accounting/requestlog/{request}/change/",
        f"/admin/catalog/languagemodel/{model}/change/", f"/admin/catalog/languagemodel/{model}/history/",
        f"/admin/catalog/languagemodel/{model}/delete/", "/admin/accounting/", "/admin/password_change/",
    )  # fmt: skip
    return {
        **{address: partial(show, address) for address in addresses},
        **tables(gateway),
        "no such page": miss,
        "discovery": partial(press, "/admin/catalog/provider/1/change/", "Discover models"),
        "test of an adapter": partial(press, f"/admin/catalog/adapter/{asked}/change/", "Test this adapter"),
        "difference of an upload": partial(upload, good),
        "problems of an upload": partial(upload, bad),
        "created key": create_key,
    }


def violations(page: Page) -> list[Any]:
    checked = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        (violation["id"], [node["target"] for node in violation["nodes"]])
        for violation in checked
        if violation["impact"] in ("serious", "critical") or violation["id"] in ALWAYS_CHECKED
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_or_critical_violation(browser, gateway, visits, scheme):
    page = chromium.page_of(browser, gateway.url, "ada", PASSWORD, viewport=chromium.DESK, color_scheme=scheme)
    found = {}
    for name, visit in visits.items():
        visit(page)
        if broken := violations(page):
            found[name] = broken
    page.context.clear_cookies()
    show("/admin/login/", page)
    if broken := violations(page):
        found["login"] = broken
    page.context.close()
    assert not found, json.dumps(found, indent=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(browser, gateway, visits, scheme):
    page = chromium.page_of(browser, gateway.url, "ada", PASSWORD, viewport=chromium.PHONE, color_scheme=scheme)
    wider = {}
    for name, visit in visits.items():
        visit(page)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > chromium.PHONE["width"]:
            wider[name] = width
    page.context.close()
    assert not wider


def test_no_list_hides_columns_behind_its_filters(browser, gateway, visits):
    page = chromium.page_of(browser, gateway.url, "ada", PASSWORD, viewport=chromium.DESK)
    cut, seen = {}, 0
    for name, visit in visits.items():
        if not name.startswith("/admin/") or name.endswith(("/add/", "/change/")):
            continue
        visit(page)
        for results in page.locator(".results").all():
            seen += 1
            room, needed = results.evaluate("node => [node.clientWidth, node.scrollWidth]")
            if needed > room:
                cut[name] = f"{needed} px in {room}"
    page.context.close()
    assert seen
    assert not cut
