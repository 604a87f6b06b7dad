"""A real browser for tests and screenshots: the Chromium of this machine, driven by Playwright, offline and with a new profile."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


def executable() -> str | None:
    """The path of a Chromium, None where none is installed. Playwright's own would have to be downloaded."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(executable() is None, reason="no Chromium is installed: apt-get install chromium"),
]
"""For the `pytestmark` of tests that need one."""


@contextmanager
def launched() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def page_of(browser: Browser, url: str, name: str, password: str, **options: Any) -> Page:
    """A new window at `url` in which `name` is logged in to admin. `options`: viewport, color_scheme …"""
    page = browser.new_context(base_url=url, **options).new_page()
    page.goto("/admin/login/?next=/admin/")
    page.fill("#id_username", name)
    page.fill("#id_password", password)
    page.click("[type=submit]")
    page.wait_for_url("**/admin/")
    return page
