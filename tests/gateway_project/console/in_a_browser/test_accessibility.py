"""The console for everybody: no page breaks the rules that axe-core checks, in light and dark, and none is wider than a phone."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from typing import Any

import pytest

from tests import chromium
from tests.gateway_project.console.in_a_browser.conftest import PASSWORD

pytestmark = chromium.MARKS
FETCH_WITHIN_S = 60


@pytest.fixture(scope="module")
def axe(tmp_path_factory) -> str:
    """The source of axe-core, as the package registry that npm is set up for has it."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: apt-get install npm")
    directory = tmp_path_factory.mktemp("axe")
    fetching = ["npm", "pack", "--silent", "axe-core@4"]
    fetched = subprocess.run(fetching, cwd=directory, capture_output=True, text=True, timeout=FETCH_WITHIN_S, check=False)
    if fetched.returncode:
        pytest.skip(f"axe-core could not be fetched by npm: {fetched.stderr[-300:]}")
    (archive,) = directory.glob("axe-core-*.tgz")
    with tarfile.open(archive) as opened:
        source = opened.extractfile("package/axe.min.js")
        assert source is not None
        return source.read().decode()


@pytest.fixture(scope="module")
def addresses(gateway) -> list[str]:
    """Every page of the console, and of each table a list, a row and the form for a new one."""
    chat = {"model": "acme/broken", "messages": [{"role": "user", "content": "hi"}], "user": "for-axe"}
    gateway.client.post("/v1/chat/completions", json=chat)
    request = gateway.row(user_id="for-axe")["id"]
    gateway.create_key("for axe")
    model = gateway.sql("SELECT id FROM catalog_languagemodel WHERE public_id = 'acme/falcon'")[0]["id"]
    tables = [("catalog", ("languagemodel", "adapter", "provider")), ("routingapp", ("routingpolicy", "routingweight"))]
    rows = [f"/admin/{app}/{table}/{page}" for app, names in tables for table in names for page in ("", "add/")]
    return [
        "/", "/no/such/page", "/admin/", "/admin/?period=1h&by=key", "/admin/?period=30d&by=adapter", "/admin/console/traffic/",
        f"/admin/console/models/{model}/split/", "/admin/console/playground/", "/admin/console/seed/",
        "/admin/console/export/",
        "/admin/accounting/requestlog/", "/admin/accounting/requestlog/?from=never",
        f"/admin/accounting/requestlog/{request}/change/",
        "/admin/accounting/apikey/", "/admin/accounting/apikey/1/change/", "/admin/accounting/apikey/add/",
        f"/admin/catalog/languagemodel/{model}/change/", "/admin/catalog/adapter/1/change/", "/admin/catalog/provider/1/change/",
        *rows,
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_or_critical_violation(browser, gateway, axe, addresses, scheme):
    page = chromium.page_of(browser, gateway.url, "ada", PASSWORD, viewport=chromium.DESK, color_scheme=scheme)
    found: list[Any] = []
    for address in addresses:
        page.goto(address, wait_until="load")
        page.evaluate(axe)
        checked = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found += [
            (address, violation["id"], [node["target"] for node in violation["nodes"]])
            for violation in checked["violations"]
            if violation["impact"] in ("serious", "critical")
        ]
    page.context.close()
    assert not found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(browser, gateway, addresses, scheme):
    page = chromium.page_of(browser, gateway.url, "ada", PASSWORD, viewport=chromium.PHONE, color_scheme=scheme)
    for address in addresses:
        if "/admin/catalog/" in address or "/admin/routingapp/" in address:
            continue  # admin's own tables scroll by themselves
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= chromium.PHONE["width"], address
    page.context.close()
