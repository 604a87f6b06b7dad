"""The proxies' example files, in front of a real gateway: events pass one by one, and the gateway learns who the client is."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.caddy import BINARY, FILE, Caddy, needs_caddy
from tests.deploy.supervision import Served
from tests.fakes.catalogue import seed
from tests.live import Gateway, until
from tests.nginx import Nginx, needs_nginx

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "one two three"}]

LOGGED = {"ACCESS_LOG": "true", "LOG_FORMAT": "json"}


@pytest.fixture(scope="module")
def behind(tmp_path_factory, fake, migrated_database) -> Iterator[Gateway]:
    """A gateway that believes its proxy on loopback."""
    environment = {
        "FORWARDED_ALLOW_IPS": "127.0.0.1",
        "HTTPS_ONLY": "true",
        "MAX_BODY_MB": "1",
        "FAILED_AUTH_LIMIT": "3",
    } | LOGGED
    directory = tmp_path_factory.mktemp("behind") / "gateway"
    models = {"fake/ok": "ok", "fake/steady": "ok?tokens=8&delay=0.15"}
    with Served(directory, seed(fake, models), environment, database=migrated_database) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def nginx(tmp_path_factory, behind) -> Iterator[httpx.Client]:
    """A client of nginx with our file."""
    changes = {"client_max_body_size 40m": "client_max_body_size 2m"}
    with Nginx(tmp_path_factory.mktemp("nginx"), [behind.port], changes) as running:
        yield running.client


@pytest.fixture(scope="module")
def caddy(tmp_path_factory, behind) -> Iterator[httpx.Client]:
    """A client of Caddy with our file."""
    with Caddy(tmp_path_factory.mktemp("caddy"), behind.port) as running:
        yield running.client


@pytest.fixture(params=[pytest.param("nginx", marks=needs_nginx), pytest.param("caddy", marks=needs_caddy)])
def proxy(request: pytest.FixtureRequest) -> httpx.Client:
    """A client of each of them in turn."""
    client: httpx.Client = request.getfixturevalue(request.param)
    return client


def test_events_pass_one_by_one(proxy):
    arrived: list[float] = []
    body = {"model": "fake/steady", "stream": True, "messages": MESSAGES}
    with proxy.stream("POST", CHAT, json=body) as response:
        assert response.status_code == 200
        for line in response.iter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                arrived.append(time.monotonic())
    assert len(arrived) == 8
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrived)]
    assert sorted(gaps)[len(gaps) // 2] > 0.05, f"events came in heaps: {gaps}"


def test_a_body_that_is_too_large_gets_the_gateways_own_refusal(proxy):
    response = proxy.post(CHAT, content=b" " * 1_500_000, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.json()["error"]["metadata"]["error_type"] == "payload_too_large"


@needs_nginx
def test_pages_know_that_they_are_reached_over_tls(nginx):
    response = nginx.get("/admin/login/")
    assert response.headers["strict-transport-security"] == "max-age=2592000"
    assert "Secure" in response.headers["set-cookie"]
    assert "script-src" not in response.headers["content-security-policy"]
    assert response.headers["content-security-policy"].startswith("default-src 'self'")


@needs_nginx
def test_a_form_of_admin_is_accepted_through_the_proxy(nginx):
    page = nginx.get("/admin/login/")
    form = {"username": "nobody", "password": "wrong", "csrfmiddlewaretoken": page.cookies["csrftoken"]}
    origin = {"Origin": "https://gateway.example.org", "Referer": "https://gateway.example.org/admin/login/"}
    answer = nginx.post("/admin/login/", data=form, headers=origin)
    assert answer.status_code == 200, "403 would mean that the gateway did not believe X-Forwarded-Proto"


# --- Where a request comes from ---------------------------------------------------------------------------------------


def logged_address(gateway: Gateway, response: httpx.Response) -> str:
    """The address of the caller in the request's line of the log."""
    assert response.status_code == 200, response.text

    def find() -> list[str]:
        lines = [json.loads(line) for line in gateway.log.splitlines() if line.startswith("{")]
        mine = response.headers["x-request-id"]
        return [line["client"] for line in lines if line["logger"] == "gateway.access" and line["request_id"] == mine]

    (address,) = until(find, "the request's line is in the log")
    return address


def ask(client: httpx.Client, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(CHAT, json={"model": "fake/ok", "messages": MESSAGES}, headers=named)


def test_behind_a_proxy_the_address_is_that_of_its_client(proxy, behind):
    transport = httpx.HTTPTransport(verify=False, local_address="127.0.0.2")
    with httpx.Client(base_url=proxy.base_url, headers=proxy.headers, transport=transport) as other:
        assert logged_address(behind, ask(other)) == "127.0.0.2"
        assert logged_address(behind, ask(other, X_Forwarded_For="203.0.113.9")) == "127.0.0.2", "a claim is replaced"
    assert logged_address(behind, ask(proxy)) == "127.0.0.1"


@pytest.mark.parametrize(
    ("claimed", "believed"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("203.0.113.9, 198.51.100.7, 127.0.0.1", "198.51.100.7"),
    ],
    ids=["one", "a claim before the proxy's own word", "IPv6", "through two proxies that are believed"],
)
def test_a_believed_proxy_says_where_a_request_comes_from(behind, claimed, believed):
    assert logged_address(behind, ask(behind.client, X_Forwarded_For=claimed)) == believed


def test_wrong_keys_are_counted_by_the_address_behind_the_proxy(behind):
    def status(address: str) -> int:
        headers = {"Authorization": "Bearer sk-or-v1-wrong", "X-Forwarded-For": address}
        return behind.client.post(CHAT, json={"model": "fake/ok", "messages": MESSAGES}, headers=headers).status_code

    assert [status("203.0.113.50") for _ in range(4)] == [401, 401, 401, 429]
    assert status("203.0.113.51") == 401


def test_a_stranger_is_believed_nothing(tmp_path_factory, fake, migrated_database):
    directory = tmp_path_factory.mktemp("strangers") / "gateway"
    environment = {"FORWARDED_ALLOW_IPS": "192.0.2.7", "HTTPS_ONLY": "true", **LOGGED}
    with Served(directory, seed(fake, {"fake/ok": "ok"}), environment, database=migrated_database) as gateway:
        claimed = gateway.client.get("/admin/login/", headers={"X-Forwarded-Proto": "https"})
        assert "strict-transport-security" not in claimed.headers
        claims = {"X_Forwarded_For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X_Real_IP": "203.0.113.9"}
        assert logged_address(gateway, ask(gateway.client, **claims)) == "127.0.0.1"


@needs_caddy
def test_caddy_accepts_its_file():
    assert BINARY is not None
    command = [BINARY, "validate", "--adapter", "caddyfile", "--config", str(FILE)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stderr
