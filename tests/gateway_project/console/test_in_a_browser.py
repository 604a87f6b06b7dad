"""The console as people use it: a real browser against a live gateway, whose provider is the fake one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests import chromium
from tests.fakes.catalogue import Served, seed
from tests.fakes.provider import FakeProvider
from tests.live import Gateway

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.executable() is None, reason="no Chromium is installed: apt-get install chromium"),
]

PASSWORD = "only-for-tests-4711"
MODELS: dict[str, Any] = {
    "acme/falcon": ["ok?tokens=5", "ok?tokens=5", "ok?tokens=5"],
    "acme/talker": Served("ok?tokens=40&delay=0.02"),
    "acme/broken": ["status?code=500", "ok"],
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, fake: FakeProvider, migrated_database) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("browser")
    with Gateway(directory, seed(fake, MODELS), {"LOG_CONTENT": "full"}, database=migrated_database) as running:
        people = f"from django.contrib.auth.models import User; User.objects.create_superuser('ada', password='{PASSWORD}')"
        running.manage("shell", "-c", people)
        yield running
        assert "Traceback" not in running.log, running.log


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Not for the whole session: while it lives, its event loop counts as running, which asynchronous tests do not stand.
    with chromium.launched() as launched:
        yield launched


@pytest.fixture
def page(browser, gateway) -> Iterator[Page]:
    """A logged-in window. At the end nothing may have gone wrong in its console, the content policy included."""
    problems: list[str] = []
    page = chromium.page_of(browser, gateway.url, "ada", PASSWORD, viewport=chromium.DESK)
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    page.context.close()
    assert not problems


def split_page(page: Page, gateway: Gateway) -> None:
    model = gateway.sql("SELECT id FROM catalog_languagemodel WHERE public_id = 'acme/falcon'")[0]["id"]
    page.goto(f"/admin/catalog/languagemodel/{model}/change/")
    page.get_by_role("link", name="Traffic split").click()


def weights(gateway: Gateway) -> list[float]:
    query = (
        "SELECT weight FROM routingapp_routingweight w JOIN catalog_adapter a ON a.id = w.adapter_id "
        "JOIN catalog_languagemodel m ON m.id = a.model_id WHERE m.public_id = 'acme/falcon' ORDER BY a.id"
    )
    return [row["weight"] for row in gateway.sql(query)]


def test_a_split_is_moved_previewed_saved_and_undone(page, gateway):
    split_page(page, gateway)
    sliders = page.get_by_role("slider")
    assert [slider.input_value() for slider in sliders.all()] == ["100", "0", "0"]
    expect(page.locator("#preview")).to_contain_text("Nobody has asked this model yet")

    sliders.nth(0).focus()
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    sliders.nth(2).fill("10")
    values = [int(slider.input_value()) for slider in sliders.all()]
    assert sum(values) == 100
    assert values[2] == 10
    expect(page.locator("#preview tbody tr").nth(2)).to_contain_text("10%")
    assert weights(gateway) == [1, 0, 0], "a preview changes nothing"

    page.get_by_role("button", name="Save the split").click()
    expect(page.locator(".messagelist")).to_contain_text("The split is saved")
    assert weights(gateway) == values

    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".messagelist")).to_contain_text("The split is saved")
    assert weights(gateway) == [1, 0, 0]


def test_what_is_held_stays_where_it_is(page, gateway):
    split_page(page, gateway)
    sliders = page.get_by_role("slider")
    sliders.nth(0).fill("50")
    held = sliders.nth(1).input_value()
    page.get_by_label("Hold").nth(1).check()
    sliders.nth(0).fill("100")
    assert sliders.nth(1).input_value() == held
    assert sum(int(slider.input_value()) for slider in sliders.all()) == 100


def test_the_playground_streams_models_side_by_side_and_says_why(page, gateway):
    page.goto("/admin/console/playground/")
    page.locator("#message").fill("Name three falcons")
    page.get_by_role("button", name="Add a model beside").click()
    columns = page.locator(".column")
    columns.nth(0).get_by_label("Model", exact=True).select_option("acme/talker")
    columns.nth(1).get_by_label("Model", exact=True).select_option("acme/broken")
    page.get_by_role("button", name="Send").click()
    expect(columns.nth(0).locator(".figures")).to_contain_text("tokens")
    assert columns.nth(0).locator(".answer").inner_text()
    columns.nth(1).get_by_text("Why it went there").click()
    expect(columns.nth(1).locator(".attempt")).not_to_have_count(0)
    expect(columns.nth(1).locator(".trace")).to_contain_text("provider_unavailable")


def test_the_same_request_is_written_out_as_curl_and_python(page):
    page.goto("/admin/console/playground/")
    page.locator("#message").fill("It's here")
    page.get_by_text("The same as curl or Python").click()
    page.get_by_role("button", name="Copy curl").click()
    assert "It'\\''s here" in page.locator(".code").inner_text()
    page.get_by_role("button", name="Copy Python").click()
    code = page.locator(".code").inner_text()
    compile(code, "copied", "exec")
    assert '"content": "It\'s here"' in code
    assert "stream=True" in code


def test_a_stopped_answer_ends(page, gateway):
    page.goto("/admin/console/playground/")
    page.locator("#message").fill("word " * 400)
    page.locator(".column").get_by_label("Model", exact=True).select_option("acme/talker")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".answer")).not_to_be_empty()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".column .problem")).to_have_text("Stopped.")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_a_phone(browser, gateway, scheme):
    page = chromium.page_of(browser, gateway.url, "ada", PASSWORD, viewport=chromium.PHONE, color_scheme=scheme)
    chat = {"model": "acme/broken", "messages": [{"role": "user", "content": "hi"}], "user": scheme}
    gateway.client.post("/v1/chat/completions", json=chat)
    request = gateway.row(user_id=scheme)["id"]
    model = gateway.sql("SELECT id FROM catalog_languagemodel WHERE public_id = 'acme/falcon'")[0]["id"]
    for address in (
        "/", "/admin/", "/admin/?period=30d&by=adapter", f"/admin/console/models/{model}/split/", "/admin/console/playground/",
        f"/admin/accounting/requestlog/{request}/change/",
    ):  # fmt: skip
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= chromium.PHONE["width"], address
    page.context.close()
