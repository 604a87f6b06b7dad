"""Takes the pictures of the README, `uv run python -m tests.screenshots [name …]`: a live gateway with a month of made-up traffic.

Needs a Chromium; talks to nothing but loopback.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests import chromium
from tests.fakes.provider import FakeProvider
from tests.live import ROOT, Gateway

TARGET = ROOT / "deploy" / "screenshots"
PASSWORD = "only-for-pictures-4711"
PRICING = {"prompt": "0.0000003", "completion": "0.0000009"}
BUDGETS = """
from accounting.models import ApiKey
for name, limit_usd in (("search", "0.25"), ("nightly reports", "0.12"), ("support chat", "0.10")):
    ApiKey.objects.filter(name=name).update(limit_usd=limit_usd, limit_reset="monthly")
"""
Act = Callable[[Page], None]


def catalogue(fake: FakeProvider) -> dict[str, Any]:
    """Three models over a local engine and hosted providers, one of which has no key, and one of which fails."""

    def stanza(kind: str, name: str, *, local: bool = False, key: str = "${FAKE_KEY}") -> dict[str, Any]:
        return {"kind": kind, "name": name, "base_url": fake.base_url(kind), "api_key": key, "local": local}

    def route(kind: str, weight: int, scenario: str, prompt: str, completion: str) -> dict[str, Any]:
        pricing = {"prompt": prompt, "completion": completion}
        return {"kind": kind, "weight": weight, "provider_model_id": scenario, "pricing": pricing}

    providers = [
        stanza("engine", "vLLM", local=True),
        stanza("falcon-cloud", "Falcon Cloud"),
        stanza("together-now", "TogetherNow"),
        stanza("keyless", "Keyless", key="${KEYLESS_API_KEY}"),
    ]
    split = [
        route("engine", 7, "ok?tokens=60&delay=0.01", "0", "0"),
        route("falcon-cloud", 2, "ok?tokens=40&delay=0.01", "0.0000006", "0.0000012"),
        route("together-now", 1, "ok?tokens=30&delay=0.01", "0.0000002", "0.0000008"),
        route("keyless", 0, "ok", "0.0000001", "0.0000004"),
    ]
    models = {
        "acme/scout": split,
        "acme/thinker": [route("falcon-cloud", 1, "reasoning", "0.000001", "0.000004")],
        "acme/night-owl": [
            route("together-now", 1, "status?code=500", "0.0000002", "0.0000008"),
            route("falcon-cloud", 0, "ok", "0.0000006", "0.0000012"),
        ],
    }
    listed = [{"id": name, "name": name.title(), "pricing": PRICING, "route": routes} for name, routes in models.items()]
    return {"providers": providers, "models": listed}


def move_a_slider(page: Page) -> None:
    page.get_by_role("slider").first.fill("45")
    page.locator("#preview[aria-busy=false]").wait_for()


def ask_two_models(page: Page) -> None:
    page.locator("#message").fill("Which birds fly fastest?")
    page.get_by_role("button", name="Add a model beside").click()
    for number, model in enumerate(("acme/scout", "acme/night-owl")):
        page.locator(".column select").nth(number).select_option(model)
    page.get_by_role("button", name="Send").click()
    page.locator(".route:not([hidden])").nth(1).wait_for()
    page.get_by_text("Why it went there").nth(1).click()


def nothing(page: Page) -> None:
    """Only look."""


def shoot(browser: Browser, gateway: Gateway, name: str, address: str, act: Act = nothing, **options: Any) -> None:
    if sys.argv[1:] and name not in sys.argv[1:]:
        return
    page = chromium.page_of(browser, gateway.url, "ada", PASSWORD, **{"viewport": chromium.DESK} | options)
    page.goto(address)
    act(page)
    page.wait_for_timeout(400)
    page.screenshot(path=TARGET / f"{name}.png")
    page.context.close()


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    with FakeProvider() as fake, tempfile.TemporaryDirectory() as directory:
        gateway = Gateway(Path(directory), catalogue(fake), {"LOG_CONTENT": "full"})
        gateway.manage("migrate", "--verbosity", "0")
        with gateway:
            people = (
                f"from django.contrib.auth.models import User; User.objects.create_superuser('ada', password='{PASSWORD}')"
            )
            gateway.manage("shell", "-c", people)
            history = [sys.executable, "-m", "tests.fakes.history"]
            subprocess.run(history, cwd=ROOT, env=gateway.environment, check=True)
            gateway.manage("shell", "-c", BUDGETS)
            chat = {
                "model": "acme/night-owl",
                "messages": [{"role": "user", "content": "Who hunts at night?"}],
                "user": "owl",
            }
            gateway.client.post("/v1/chat/completions", json=chat)
            request = gateway.row(user_id="owl")["id"]
            for number in range(12):
                gateway.client.post(
                    "/v1/chat/completions", json=chat | {"model": "acme/scout", "stream": True, "user": f"{number}"}
                )
            gateway.row(user_id="11")
            model = gateway.sql("SELECT id FROM catalog_languagemodel WHERE public_id = 'acme/scout'")[0]["id"]
            split = f"/admin/console/models/{model}/split/"
            with chromium.launched() as browser:
                shoot(browser, gateway, "dashboard", "/admin/?period=30d&by=adapter")
                shoot(browser, gateway, "dashboard-dark", "/admin/?period=7d", color_scheme="dark")
                shoot(browser, gateway, "dashboard-phone", "/admin/?period=24h", viewport=chromium.PHONE)
                shoot(browser, gateway, "traffic", "/admin/console/traffic/", viewport={"width": 1280, "height": 480})
                shoot(browser, gateway, "requests", "/admin/accounting/requestlog/?from=30d")
                shoot(browser, gateway, "keys", "/admin/accounting/apikey/", viewport={"width": 1280, "height": 640})
                shoot(browser, gateway, "split", split, move_a_slider, viewport={"width": 1280, "height": 1000})
                shoot(browser, gateway, "split-phone", split, move_a_slider, viewport=chromium.PHONE, color_scheme="dark")
                shoot(browser, gateway, "playground", "/admin/console/playground/", ask_two_models)
                shoot(browser, gateway, "request", f"/admin/accounting/requestlog/{request}/change/", color_scheme="dark")
                shoot(browser, gateway, "home", "/")
    for picture in sorted(TARGET.glob("*.png")):
        print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size // 1024} kB")  # noqa: T201  it is the command's output


if __name__ == "__main__":
    main()
