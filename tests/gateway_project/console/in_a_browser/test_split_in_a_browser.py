"""The traffic split as people set it: with the mouse or the keyboard, previewed, saved, seen to be followed, undone."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Dialog, Locator, Page, Route, expect

from tests import chromium
from tests.fakes.catalogue import provider_name
from tests.live import Gateway, until

pytestmark = chromium.MARKS


def split_page(page: Page, gateway: Gateway, model: str = "acme/falcon") -> None:
    """By the way that people take."""
    page.goto("/admin/")
    page.get_by_role("navigation", name="Console").get_by_role("link", name="Traffic").click()
    page.get_by_role("link", name=f"Traffic split of {model}").click()


def weights(gateway: Gateway, model: str = "acme/falcon") -> list[float]:
    query = (
        "SELECT weight FROM routingapp_routingweight w JOIN catalog_adapter a ON a.id = w.adapter_id "
        "JOIN catalog_languagemodel m ON m.id = a.model_id WHERE m.public_id = ? ORDER BY a.id"
    )
    return [row["weight"] for row in gateway.sql(query, model)]


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


def test_what_is_set_stays_beside_what_is_new_until_it_is_saved(page, gateway):
    split_page(page, gateway)
    line = page.locator(".adapter-line").first
    expect(line.locator(".new")).to_be_hidden()
    page.get_by_role("slider").first.fill("45")
    expect(line.locator(".chosen")).to_have_text("new 45%")
    expect(line.locator("dl dd").first).to_have_text("100%")
    page.get_by_role("button", name="Back to what is in force").click()
    expect(line.locator(".chosen .new")).to_be_hidden()
    expect(line.locator("output")).to_have_text("100%")


def test_a_slider_that_is_moved_before_the_page_is_ready_is_made_up_for_as_well(page, gateway):
    split_page(page, gateway)
    waiting: list[Route] = []
    page.route("**/split*.js", lambda route: waiting.append(route))
    page.reload(wait_until="commit")
    page.get_by_role("slider").first.fill("45")
    while not waiting:
        page.wait_for_timeout(10)
    waiting[0].continue_()
    expect(page.locator(".adapter-line .chosen").first).to_have_text("new 45%")
    expect(page.locator("#preview tbody tr").first).to_contain_text("45%")
    assert sum(int(slider.input_value()) for slider in page.get_by_role("slider").all()) == 100


def test_leaving_warns_of_sliders_that_are_not_saved_and_of_nothing_else(page, gateway):
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    split_page(page, gateway)
    page.on("dialog", stay)
    page.get_by_role("slider").first.click()
    until(lambda: page.locator(".new:visible").count(), "the slider is moved")
    page.get_by_role("link", name="Dashboard").click()
    until(lambda: asked, "the page asks whether to leave")
    assert asked == ["beforeunload"]
    assert "/split/" in page.url

    page.get_by_role("button", name="Save the split").click()
    expect(page.locator(".messagelist")).to_contain_text("The split is saved")
    page.get_by_role("button", name="Undo the last change").click()
    expect(page.locator(".adapter-line output").first).to_have_text("100%")
    page.get_by_role("link", name="Dashboard").click()
    page.wait_for_url("**/admin/")
    assert asked == ["beforeunload"], "nothing was left unsaved"


def test_on_a_phone_the_preview_shows_shares_first_and_breaks_no_word(page, gateway):
    page.set_viewport_size(chromium.PHONE)
    split_page(page, gateway, "acme/kestrel")
    first = page.locator("#preview tbody tr").first
    expect(first).to_contain_text("%")
    for cell in first.locator("td[data-label]").all():
        box = cell.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= chromium.PHONE["width"]
        assert box["height"] < 30, "on one line"
    assert first.locator("td.who b").evaluate("node => node.getClientRects().length") == 1


def test_errors_are_refreshed_with_the_shares_beside_them(page, gateway):
    split_page(page, gateway, "acme/hopeless")
    errors = page.locator(".adapter-line .errors")
    answered, failed = (int(number) for number in reversed(errors.inner_text().split(" of ")))
    chat = {"model": "acme/hopeless", "messages": [{"role": "user", "content": "hi"}]}
    assert gateway.client.post("/v1/chat/completions", json=chat).status_code >= 500
    expect(errors).to_have_text(f"{failed + 1} of {answered + 1}")
    expect(page.locator("#actual-of")).to_contain_text(f"where the {answered + 1} request")


def test_a_split_is_set_with_the_keyboard_alone(page, gateway):
    split_page(page, gateway, "acme/kestrel")
    tab_to(page, page.get_by_role("slider").first)
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    tab_to(page, page.get_by_role("button", name="Save the split"))
    page.keyboard.press("Enter")
    expect(page.locator(".messagelist")).to_contain_text("The split is saved")
    assert weights(gateway, "acme/kestrel") == [80, 20]
    tab_to(page, page.get_by_role("button", name="Undo the last change"))
    page.keyboard.press("Enter")
    expect(page.locator(".adapter-line output").first).to_have_text("100%")


def test_live_traffic_follows_a_saved_split_and_the_page_shows_it(page, gateway):
    def provider() -> Any:
        chat = {"model": "acme/kestrel", "messages": [{"role": "user", "content": "hi"}]}
        return gateway.client.post("/v1/chat/completions", json=chat).json()["provider"]

    assert provider() == provider_name("acme/kestrel", 1)
    split_page(page, gateway, "acme/kestrel")
    page.get_by_role("slider").nth(1).fill("100")
    page.get_by_role("button", name="Save the split").click()
    expect(page.locator(".messagelist")).to_contain_text("The split is saved")
    until(lambda: provider() == provider_name("acme/kestrel", 2), "a request goes by the new split", within_s=10)
    # The page counts from a second after the change, so some more have to come.
    until(
        lambda: provider() and page.locator(".actual-share").nth(1).inner_text() == "100%", "the page shows it", within_s=10
    )
    expect(page.locator("#actual-of")).to_contain_text("since this split was saved")
    page.get_by_role("button", name="Undo the last change").click()
    until(lambda: provider() == provider_name("acme/kestrel", 1), "a request goes by the old split", within_s=10)


def tab_to(page: Page, wanted: Locator) -> None:
    for _ in range(60):
        if wanted.evaluate("node => node === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} is not reached with the Tab key")
