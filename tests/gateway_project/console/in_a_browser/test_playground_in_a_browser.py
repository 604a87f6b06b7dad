"""The playground as people use it: answers side by side, and the same request elsewhere."""

from __future__ import annotations

from playwright.sync_api import expect

from tests import chromium

pytestmark = chromium.MARKS


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
