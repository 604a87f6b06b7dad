"""The proxies' example files, in front of a real gateway: events pass one by one, and the gateway learns who the client is."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest
import yaml

from catalog.models import Provider
from gateway_project import settings
from tests.caddy import BINARY, FILE, Caddy, needs_caddy
from tests.deploy.supervision import Served
from tests.fakes.catalogue import seed
from tests.live import ROOT, Gateway, until
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
    models = {
        "fake/ok": "ok", "fake/steady": "ok?tokens=8&delay=0.15", "fake/long": "ok?tokens=200&delay=0.1",
        "fake/late": "ok?delay=20",
    }  # fmt: skip
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


def test_a_client_that_leaves_a_stream_ends_the_providers_call(proxy, fake, marker):
    body = {"model": "fake/long", "stream": True, "messages": MESSAGES, "user": marker}
    with httpx.Client(base_url=proxy.base_url, headers=proxy.headers, verify=False, timeout=20) as client:
        with client.stream("POST", CHAT, json=body) as response:
            next(response.iter_raw())
        left_at = time.monotonic()
    call = fake.call_with(marker, until=lambda call: call.is_over)
    assert call.client_left_at is not None, "the answer was read to its end for nobody"
    assert call.client_left_at - left_at < 2


def test_a_client_that_leaves_before_a_whole_answer_ends_the_providers_call(proxy, fake, marker):
    body = {"model": "fake/late", "messages": MESSAGES, "user": marker}
    with httpx.Client(base_url=proxy.base_url, headers=proxy.headers, verify=False, timeout=1) as client:
        with contextlib.suppress(httpx.ReadTimeout):
            client.post(CHAT, json=body)
        left_at = time.monotonic()
    call = fake.call_with(marker, until=lambda call: call.is_over)
    assert call.client_left_at is not None
    assert call.client_left_at - left_at < 2


def test_a_wish_for_another_protocol_goes_no_further_than_the_proxy(proxy):
    """Java's client wishes for h2c. Passed on, the gateway would take what follows the head for that protocol, not for a body."""
    wish = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    response = proxy.post(CHAT, json={"model": "fake/ok", "messages": MESSAGES}, headers=wish)
    assert response.status_code == 200, response.text


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


def test_the_proxies_are_more_patient_than_the_gateway_and_take_larger_bodies():
    """So that a refusal is the gateway's, in the envelope of its errors."""
    stanzas = yaml.safe_load((ROOT / "catalog" / "providers.yaml").read_text())["providers"]
    totals_s = [Provider().total_timeout_s, *(stanza.get("timeouts", {}).get("total", 0) for stanza in stanzas)]
    nginx, caddy = (ROOT / "deploy" / "nginx" / "gateway.conf").read_text(), FILE.read_text()
    (nginx_s,) = re.findall(r"proxy_read_timeout (\d+)s;", nginx)
    (caddy_min,) = re.findall(r"response_header_timeout (\d+)m\n", caddy)
    assert min(int(nginx_s), 60 * int(caddy_min)) > max(totals_s)
    (nginx_mib,) = re.findall(r"client_max_body_size (\d+)m;", nginx)
    (caddy_mb,) = re.findall(r"max_size (\d+)MB\n", caddy)
    assert min(int(nginx_mib) * 2**20, int(caddy_mb) * 10**6) > settings.MAX_BODY_MB * 2**20


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
