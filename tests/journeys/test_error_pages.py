"""What a browser is shown outside the API when something is wrong, with DEBUG off as in production."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.databases import Template
from tests.fakes.catalogue import seed
from tests.fakes.provider import FakeProvider
from tests.live import Gateway

PASSWORD = "a-long-password-of-tests"
HOST = "gateway.example"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
MAKE_STAFF = (
    f"from django.contrib.auth.models import User; User.objects.create_user('lin', password={PASSWORD!r}, is_staff=True)"
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, fake: FakeProvider, migrated_database: Template) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("error-pages")
    environment = {"ALLOWED_HOSTS": f"127.0.0.1,{HOST}"}
    with Gateway(directory, seed(fake, {"fake/ok": "ok"}), environment, database=migrated_database) as running:
        yield running


def is_page(response: httpx.Response, status: int, heading: str, gateway: Gateway) -> None:
    """A whole page of this gateway for an error, which tells nothing of its insides."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in response.headers["content-security-policy"]
    page = response.text
    assert page.startswith("<!doctype html>")
    assert page.count(f"<h1>{heading}</h1>") == 1
    assert f"<title>{heading} – LLM gateway</title>" in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert "{%" not in page
    assert "{#" not in page
    for inside in (gateway.environment["SECRET_KEY"], gateway.environment["FAKE_KEY"], str(gateway.directory), "Traceback"):
        assert inside not in page
    addresses = re.findall(r'href="(/[^"]*)"', page)
    assert {"/", "/v1/docs", "/admin/"} <= set(addresses)


def test_an_address_without_a_page_says_where_the_api_is(gateway):
    response = gateway.client.get("/chat/completions", headers=BROWSER)

    is_page(response, 404, "Not found", gateway)
    assert "The API is below <code>/v1</code>" in response.text


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/chat/completions", 404, "There is nothing at /chat/completions; the API is below /v1"),
        ("/v2/chat/completions", 404, "There is nothing at /v2/chat/completions; the API is below /v1"),
        ("/", 405, "POST is not allowed here; use GET; the API is below /v1"),
    ],
)
def test_a_program_whose_base_url_lacks_the_version_is_told_in_json(gateway, path, status, message):
    response = gateway.client.post(path, json={"model": "fake/ok"}, headers={"Host": HOST})

    assert response.status_code == status
    assert response.headers.get("allow") == ("GET" if status == 405 else None)
    assert response.headers["x-content-type-options"] == "nosniff"
    error = response.json()["error"]
    assert error["code"] == status
    assert error["message"] == message


def test_an_address_beside_health_is_told_the_same_whatever_host_it_names(gateway):
    response = gateway.client.get("/health/disk", headers={"Host": "other.example"})

    assert response.status_code == 404
    assert response.json()["error"]["message"] == "There is nothing at /health/disk; the API is below /v1"


def test_an_address_is_not_repeated(gateway):
    response = gateway.client.get("/<script>alert(1)</script>?api_key=sk-secret-0123456789", headers=BROWSER)

    is_page(response, 404, "Not found", gateway)
    assert "alert" not in response.text
    assert "sk-secret" not in response.text


def test_a_page_without_the_right_to_it(gateway):
    gateway.manage("shell", "-v", "0", "-c", MAKE_STAFF)
    with httpx.Client(base_url=gateway.url) as lin:
        form = {"username": "lin", "password": PASSWORD, "next": "/admin/"}
        lin.get("/admin/login/")
        entered = lin.post("/admin/login/", data=form | {"csrfmiddlewaretoken": lin.cookies["csrftoken"]})
        assert entered.status_code == 302, entered.text

        is_page(lin.get("/admin/catalog/provider/"), 403, "Not allowed", gateway)
        is_page(lin.get("/admin/nothing/at/all/"), 404, "Not found", gateway)


def test_a_form_without_its_token_has_to_be_sent_again(gateway):
    response = gateway.client.post("/admin/login/", data={"username": "lin", "password": PASSWORD})

    is_page(response, 403, "Please try again", gateway)
    assert PASSWORD not in response.text


def test_a_host_that_is_none_of_its_own(gateway):
    is_page(gateway.client.get("/", headers={"Host": "scanner.example"}), 400, "Bad request", gateway)
    assert gateway.client.get("/", headers={"Host": HOST}).status_code == 200

    assert "Traceback" not in gateway.log
    (line,) = [line for line in gateway.log.splitlines() if "scanner.example" in line]
    assert " WARNING django.security.DisallowedHost: " in line


@pytest.mark.parametrize("path", ["/v1/key", "/api/v1/stats", "/v1/nothing"])
def test_a_program_that_names_another_host_is_told_in_json(gateway, path):
    response = gateway.client.get(path, headers={"Host": "other.example"})

    assert response.status_code == (404 if path == "/v1/nothing" else 400), "inference takes any host"
    assert response.json()["error"]["code"] == response.status_code
    if response.status_code == 400:
        assert "ALLOWED_HOSTS" in response.json()["error"]["message"]
        assert response.headers["access-control-allow-origin"] == "*"
        assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/user", "/v1/stats", "/v1/key", "/v1/generation", "/v1/keys"])
def test_a_thousand_parameters_are_too_many_and_no_fault_of_the_gateway(gateway, path):
    response = gateway.client.get(f"{path}?{'&'.join(f'a{number}=1' for number in range(1001))}")

    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["message"] == "There are more than 1000 parameters; send fewer."
    assert error["metadata"]["error_type"] == "invalid_request"
    assert "Traceback" not in gateway.log


def test_a_fault_of_the_gateway_itself_is_told_without_the_database(start_gateway, fake):
    broken = start_gateway(seed(fake, {"fake/ok": "ok"}))
    broken.database.change("DROP TABLE django_session")

    response = broken.client.get("/admin/", headers={"Cookie": f"sessionid={'a' * 32}"})

    is_page(response, 500, "Something went wrong", broken)
    assert "django_session" not in response.text
    assert "django_session" in broken.log, "the log has what the page leaves out"
