"""Calls of providers over real sockets: what is sent, what is read, and which errors become of faults."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from catalog.entries import AdapterEntry, DialectName, Prices, ProviderEntry
from completions.dialects.base import Encoded
from completions.upstream import Endpoint, Upstream, prepare
from gateway_project.errors import ProviderTimeout, ProviderUnavailable

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def adapter(base_url: str, **provider) -> AdapterEntry:
    fields = {"api_keys": ("${ACME_KEY}",), "connect_timeout_s": 0.5, **provider}
    entry = ProviderEntry(
        id=1, slug="acme", name="Acme", dialect=DialectName.OPENAI, base_url=base_url, is_local=False,
        first_byte_timeout_s=1, idle_timeout_s=1, total_timeout_s=1, extra_headers={}, **fields,
    )  # fmt: skip
    return AdapterEntry(
        id=1, model_id="m", provider=entry, upstream_model="m", is_enabled=True, prices=Prices(), context_length=1,
        max_output_length=None, quantization=None, supported_parameters=frozenset(), unconfigured=None,
    )  # fmt: skip


def endpoint(base_url: str, **provider) -> Endpoint:
    return prepare(adapter(base_url, **provider), {"ACME_KEY": "wire-secret"}.get)


@contextlib.asynccontextmanager
async def served(serve: Serve) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


@contextlib.asynccontextmanager
async def connections() -> AsyncIterator[Upstream]:
    opened = Upstream()
    try:
        yield opened
    finally:
        await opened.aclose()


async def ask(url: str, **within) -> bytes:
    async with connections() as upstream:
        answer = await upstream.send(endpoint(url), Encoded(b"{}"), stream=False, within_s=within.get("head", 2))
        try:
            return await answer.read_all(within.get("body", 2))
        finally:
            await answer.aclose()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.read(2)


async def test_what_is_sent_is_the_body_the_prepared_headers_and_nothing_of_a_browser():
    seen: list[bytes] = []

    async def serve(reader, writer):
        seen.append(await read_request(reader))
        writer.write(HEAD + b"Content-Length: 2\r\nSet-Cookie: a=b\r\n\r\nok")
        await writer.drain()

    async with served(serve) as url:
        assert await ask(url) == b"ok"
    head = seen[0].decode().lower()
    assert head.startswith("post /v1/chat/completions http/1.1")
    assert "authorization: bearer wire-secret" in head
    assert "accept-encoding: identity" in head
    assert "content-length: 2" in head
    assert "cookie" not in head


async def test_a_compressed_body_that_was_not_asked_for_is_read_all_the_same():
    async def serve(reader, writer):
        await read_request(reader)
        body = gzip.compress(b"hello")
        writer.write(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    async with served(serve) as url:
        assert await ask(url) == b"hello"


async def test_a_redirect_is_an_answer_and_not_followed():
    async def serve(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with served(serve) as url, connections() as upstream:
        assert (await upstream.send(endpoint(url), Encoded(b"{}"), stream=False, within_s=2)).status == 302


async def test_nobody_listening_is_unavailable_at_once():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(ProviderUnavailable, match="cannot be reached"):
        await ask(f"http://127.0.0.1:{port}/v1")


async def test_silence_is_a_timeout():
    async def serve(reader, writer):
        await asyncio.sleep(5)

    async with served(serve) as url:
        with pytest.raises(ProviderTimeout, match=r"nothing within 0.2 s"):
            await ask(url, head=0.2)


async def test_a_stall_in_the_body_is_a_timeout():
    async def serve(reader, writer):
        writer.write(HEAD + b"Content-Length: 10\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(5)

    async with served(serve) as url:
        with pytest.raises(ProviderTimeout, match=r"no whole answer within 0.2 s"):
            await ask(url, body=0.2)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        HEAD + b"Content-Length: 10\r\n\r\nhalf",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhal",
        b"not http at all\r\n\r\n",
    ],
    ids=["before the head", "in the body", "in a chunk", "gibberish"],
)
@pytest.mark.parametrize("end", [reset, asyncio.StreamWriter.close], ids=["reset", "closed"])
async def test_a_broken_connection_is_unavailable(said, end):
    async def serve(reader, writer):
        await read_request(reader)
        writer.write(said)
        await writer.drain()
        end(writer)

    async with served(serve) as url:
        with pytest.raises(ProviderUnavailable):
            await ask(url)


async def test_an_answer_past_the_limit_is_given_up(monkeypatch):
    async def serve(reader, writer):
        await read_request(reader)
        writer.write(HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000)
        with contextlib.suppress(ConnectionError):
            await writer.drain()

    async with served(serve) as url, connections() as upstream:
        answer = await upstream.send(endpoint(url), Encoded(b"{}"), stream=False, within_s=2)
        with pytest.raises(ProviderUnavailable, match="more than 1000 bytes"):
            await answer.read_all(2, limit=1000)
        await answer.aclose()


async def test_closing_early_closes_the_connection_at_the_provider():
    left = asyncio.Event()

    async def serve(reader, writer):
        await read_request(reader)
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        await reader.read()
        left.set()

    async with served(serve) as url, connections() as upstream:
        answer = await upstream.send(endpoint(url), Encoded(b"{}"), stream=True, within_s=2)
        assert await answer.read(2) == b"hello"
        await answer.aclose()
        await asyncio.wait_for(left.wait(), 2)


def test_an_endpoint_shows_no_secret():
    assert "wire-secret" not in repr(endpoint("http://127.0.0.1:9/v1"))
