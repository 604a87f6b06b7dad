"""No client can hold what it does not use: slow and endless heads and bodies, readers that stopped reading."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import time

import pytest

from tests.live import until

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
LOGIN = b"POST /admin/login/ HTTP/1.1\r\nHost: gateway\r\n"


@pytest.fixture
def connection(impatient_gateway):
    with socket.create_connection(("127.0.0.1", impatient_gateway.port), timeout=5) as opened:
        yield opened


def answer(connection: socket.socket) -> bytes:
    """Everything until the server hangs up."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return received


def error(received: bytes, status: int) -> dict:
    """The envelope's error, of a response with `status`."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), received
    assert b"connection: close" in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    found = json.loads(body)["error"]
    assert found["code"] == status
    return found


def test_a_silent_connection_is_closed(connection):
    began = time.monotonic()
    assert answer(connection) == b""
    assert time.monotonic() - began < 3


def test_a_head_that_arrives_byte_by_byte_is_a_408(connection):
    with contextlib.suppress(ConnectionError):
        for byte in CHAT[:40]:
            connection.sendall(bytes([byte]))
            time.sleep(0.03)
    assert "HEAD_TIMEOUT_S" in error(answer(connection), 408)["message"]


def test_the_second_head_of_a_kept_connection_is_bounded_too(connection):
    connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: gateway\r\n\r\n")
    answered = b""
    while b'{"status":"ok"}' not in answered:
        answered += connection.recv(65536)
    time.sleep(0.8)  # an idle connection may wait longer than a head that has begun
    connection.sendall(b"GET /health/live HTT")
    error(answer(connection), 408)


@pytest.mark.parametrize("head", [CHAT, LOGIN], ids=["lean lane", "Django's lane"])
def test_a_body_that_never_completes_is_a_408(connection, head):
    connection.sendall(head + b"Content-Length: 50\r\n\r\n{")
    assert "BODY_TIMEOUT_S" in error(answer(connection), 408)["message"]


@pytest.mark.parametrize("head", [CHAT, LOGIN], ids=["lean lane", "Django's lane"])
def test_a_body_that_is_announced_too_large_is_a_413(connection, head):
    connection.sendall(head + b"Content-Length: 9000000000\r\n\r\n{")
    assert "MAX_BODY_MB" in error(answer(connection), 413)["message"]


def test_djangos_lane_stops_reading_an_endless_body(connection):
    sent = 0
    connection.sendall(LOGIN + b"Transfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while sent < 50_000_000 and not select.select([connection], [], [], 0)[0]:
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
            sent += 65536
    assert sent < 20_000_000


@pytest.mark.parametrize("head", [CHAT, LOGIN], ids=["lean lane", "Django's lane"])
def test_a_client_that_sends_all_before_it_reads_finds_the_refusal(connection, head):
    connection.sendall(head + b"Content-Length: 5000000\r\n\r\n" + b" " * 5_000_000)
    time.sleep(0.2)
    assert "MAX_BODY_MB" in error(answer(connection), 413)["message"]


@pytest.mark.parametrize(
    "endless",
    [b"a: b\r\n", b"x" * 64, b"\r\n"],
    ids=["headers", "one header", "empty lines"],
)
def test_an_endless_head_is_refused(connection, endless):
    began = b"" if endless == b"\r\n" else b"GET / HTTP/1.1\r\nHost: gateway\r\nx: "
    sent = 0
    with contextlib.suppress(ConnectionError):
        connection.sendall(began)
        while sent < 20_000_000:
            connection.sendall(endless * 1000)
            sent += len(endless) * 1000
    assert sent < 10_000_000
    assert answer(connection)[:13] in (b"HTTP/1.1 431 ", b"HTTP/1.1 400 ", b"")


def test_what_is_no_http_is_refused_in_the_envelope(connection):
    connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert error(answer(connection), 400)["metadata"]["error_type"] == "invalid_request"


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, [b"GARBAGE\r\n\r\n"]),
        (408, [b"GET /health HTTP/1.1\r\nHost: gateway"]),
        # No byte more than is read before it is refused, or else the connection is reset.
        (431, [b"GET /health HTTP/1.1\r\nX-Long: ", b"x" * 65_536]),
    ],
)
def test_what_is_refused_before_it_is_a_request_has_an_id_and_a_line(impatient_gateway, connection, status, sent):
    for part in sent:
        connection.sendall(part)
        time.sleep(0.1)
    received = answer(connection)
    (request_id,) = re.findall(rb"^x-request-id: (gen-\d+-\w{20})\r$", received, re.M)
    said = error(received, status)["metadata"]["error_type"]

    def line() -> list[dict]:
        told = [json.loads(line) for line in impatient_gateway.log.splitlines() if line.startswith("{")]
        return [each for each in told if each.get("request_id") == request_id.decode()]

    (told,) = until(line, "its line is written")
    assert (told["logger"], told["level"], told["client"]) == ("gateway.access", "INFO", "127.0.0.1")
    assert (told["status"], told["error_type"], told["error_domain"]) == (status, said, "caller")


def test_a_reader_that_stops_reading_loses_its_stream_and_the_request_is_recorded(impatient_gateway, marker, fake):
    body = json.dumps(
        {"model": "fake/flood", "stream": True, "user": marker, "messages": [{"role": "user", "content": "flood"}]}
    ).encode()
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(5)
        reader.connect(("127.0.0.1", impatient_gateway.port))
        reader.sendall(CHAT + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert reader.recv(1024).startswith(b"HTTP/1.1 200 ")
        fake.call_with(marker, until=lambda call: call.client_left_at is not None)
        row = impatient_gateway.row(user_id=marker)
    assert row["is_cancelled"]


def test_a_patient_client_is_served_throughout(impatient_gateway):
    answer = impatient_gateway.client.post(
        "/v1/chat/completions", json={"model": "fake/ok", "messages": [{"role": "user", "content": "hello"}]}
    )
    assert answer.status_code == 200
    assert "Traceback" not in impatient_gateway.log
