"""What is sent: prepared heads, and what must never get into one."""

from __future__ import annotations

import pytest

from completions.transport.request import Address, Unsendable, prepare

URL = "http://engine.test:8000/v1/chat/completions"


def test_a_request_is_its_line_its_headers_its_length_and_its_body():
    head = prepare("POST", URL, {"Authorization": "Bearer s3cret", "x-title": "Café"})
    assert head.address == Address("http", "engine.test", 8000)
    assert head.message(b"{}") == (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: engine.test:8000\r\nauthorization: Bearer s3cret\r\n"
        b"x-title: Caf\xc3\xa9\r\ncontent-length: 2\r\n\r\n{}"
    )


def test_a_get_has_no_body_and_no_length():
    assert prepare("GET", "https://engine.test/metrics", {}).message(None) == (
        b"GET /metrics HTTP/1.1\r\nhost: engine.test\r\n\r\n"
    )


def test_a_header_of_one_request_replaces_the_prepared_one_of_its_name():
    head = prepare("POST", URL, {"Anthropic-Beta": "one", "x-other": "stays"})
    assert head.message(b"", {"anthropic-beta": "two"}).count(b"anthropic-beta") == 1
    assert b"anthropic-beta: two\r\n" in head.message(b"", {"anthropic-beta": "two"})
    assert b"anthropic-beta: one\r\n" in head.message(b""), "the prepared one was changed for all"


@pytest.mark.parametrize(
    ("url", "address", "line", "host"),
    [
        ("https://Api.Example.test/v1", ("https", "api.example.test", 443), b"/v1", b"api.example.test"),
        ("http://127.0.0.1:9/v1?a=b c", ("http", "127.0.0.1", 9), b"/v1?a=b%20c", b"127.0.0.1:9"),
        ("http://[::1]:80/v1/m%2Fx/é:go#part", ("http", "::1", 80), b"/v1/m%2Fx/%C3%A9:go", b"[::1]"),
        ("http://bücher.test", ("http", "xn--bcher-kva.test", 80), b"/", b"xn--bcher-kva.test"),
    ],
)
def test_urls_are_written_as_http_wants_them(url, address, line, host):
    head = prepare("POST", url, {})
    assert head.address == address
    assert head.message(b"").startswith(b"POST " + line + b" HTTP/1.1\r\nhost: " + host + b"\r\n")


def test_a_login_in_the_url_is_sent_as_a_header_unless_there_is_a_key():
    assert b"authorization: Basic dXNlcjpwYTpzcw==\r\n" in prepare("GET", "http://user:pa%3Ass@e.test/", {}).message(None)
    keyed = prepare("GET", "http://user:pass@e.test/", {"Authorization": "Bearer k"}).message(None)
    assert (keyed.count(b"authorization"), b"Bearer k" in keyed) == (1, True)


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b", "a\x7fb", "\x1b[2J"])
def test_a_value_that_would_break_the_message_apart_is_refused_without_being_shown(value):
    with pytest.raises(Unsendable, match="'x-key' holds a line break") as prepared:
        prepare("POST", URL, {"x-key": f"s3cret{value}"})
    with pytest.raises(Unsendable) as added:
        prepare("POST", URL, {}).message(b"", {"x-key": f"s3cret{value}"})
    assert "s3cret" not in f"{prepared.value} {added.value}"


@pytest.mark.parametrize("name", ["", "x key", "x:key", "x\r\nkey", "naïve", "x-key\0"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(Unsendable, match="a name is made of"):
        prepare("POST", URL, {name: "1"})


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection", "Upgrade", "Expect"])
def test_framing_is_the_transports_own(name):
    with pytest.raises(Unsendable, match="remove it"):
        prepare("POST", URL, {name: "1"})


@pytest.mark.parametrize(
    "url",
    ["ftp://e.test/", "http:///v1", "e.test/v1", "http://e.test:99999/", "http://e.test:x/", "http://e.test/a\r\nb",
     "http://[::1/", f"http://{'a' * 70}.test/"],
)  # fmt: skip
def test_what_is_no_address_is_refused(url):
    with pytest.raises(Unsendable, match="a URL"):
        prepare("POST", url, {})


def test_a_head_shows_no_secret():
    assert "s3cret" not in repr(prepare("POST", URL, {"authorization": "Bearer s3cret"}))
