"""A real browser against a live gateway whose provider is the fake one, for as long as the tests of this folder run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests import chromium
from tests.fakes.catalogue import Served, seed
from tests.fakes.provider import FakeProvider
from tests.live import Gateway

PASSWORD = "only-for-tests-4711"
MODELS: dict[str, Any] = {
    "acme/falcon": ["ok?tokens=5", "ok?tokens=5", "ok?tokens=5"],
    "acme/kestrel": ["ok?tokens=5", "ok?tokens=5"],
    "acme/talker": Served("ok?tokens=40&delay=0.02"),
    "acme/broken": ["status?code=500", "ok"],
    "acme/hopeless": ["status?code=500"],
}


@pytest.fixture(scope="session")
def gateway(tmp_path_factory, fake: FakeProvider, migrated_database) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("browser")
    with Gateway(directory, seed(fake, MODELS), {"LOG_CONTENT": "full"}, database=migrated_database) as running:
        people = f"from django.contrib.auth.models import User; User.objects.create_superuser('ada', password='{PASSWORD}')"
        running.manage("shell", "-c", people)
        yield running
        assert "Traceback" not in running.log, running.log


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # Of one module, not of the session: while it lives, its event loop counts as running, which asynchronous tests do not stand.
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
