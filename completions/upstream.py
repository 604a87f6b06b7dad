"""HTTP to providers: the only module that talks to them.

The interface is httpx (`Request` in, `Response` out); below it aiohttp does the work, called without `httpx.AsyncClient`
around it, which costs ten times as much CPU (design.md section 4). Every foreign exception becomes a `ProviderError` here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from catalog.entries import AdapterEntry, Lookup, resolve
from completions import tracing, underway
from completions.dialects import DIALECTS
from completions.dialects.base import Dialect, Encoded
from gateway_project.errors import ConnectionBroken, ProviderError, ProviderTimeout, ProviderUnavailable, conceal

MAX_ANSWER_BYTES = 256 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
_DNS_CACHE_S = 300
_IDLE_CONNECTION_S = 60


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How one adapter is reached: URLs and headers, prepared once per snapshot. Holds the secret, so it has no repr."""

    adapter: AdapterEntry
    dialect: Dialect
    plain_url: httpx.URL = field(repr=False)
    stream_url: httpx.URL = field(repr=False)
    headers: httpx.Headers = field(repr=False)
    timeouts: Mapping[str, Any] = field(repr=False)
    spare_headers: tuple[httpx.Headers, ...] = field(default=(), repr=False)
    """Those with the second key of the provider's pool, the third …"""

    def headers_of(self, key: int) -> httpx.Headers:
        """The headers with the key at that position of `ProviderEntry.api_keys`."""
        return self.spare_headers[key - 1] if key else self.headers


def prepare(adapter: AdapterEntry, lookup: Lookup) -> Endpoint:
    """The endpoint of a configured adapter, its secrets taken from the environment by `lookup`."""
    provider = adapter.provider
    dialect = DIALECTS[provider.dialect]
    secrets: list[str | None] = [resolve(reference, lookup) for reference in provider.api_keys]
    for secret in secrets:
        conceal(secret)
    headers, *spare_headers = (
        httpx.Headers(
            {"accept-encoding": "identity", "user-agent": "openrouter-gateway", **dialect.headers(provider, secret)}
        )
        for secret in secrets or [None]
    )
    return Endpoint(
        adapter=adapter,
        dialect=dialect,
        plain_url=httpx.URL(provider.base_url + dialect.path(adapter, stream=False)),
        stream_url=httpx.URL(provider.base_url + dialect.path(adapter, stream=True)),
        headers=headers,
        spare_headers=tuple(spare_headers),
        timeouts={"timeout": {"connect": provider.connect_timeout_s, "read": None, "pool": None}},
    )


def _session() -> aiohttp.ClientSession:
    """No redirects, cookies or environment proxies; no limit on connections, since admission is decided earlier."""
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=_DNS_CACHE_S, keepalive_timeout=_IDLE_CONNECTION_S)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None),
        read_bufsize=256 * 1024,
    )


class PreparedRequest(httpx.Request):
    """A POST whose URL and headers are shared with others like it, taken as they are.

    `httpx.Request` copies the headers and looks through them for every default, which took 6 % of a request's time; aiohttp
    adds host and length itself.
    """

    def __init__(self, url: httpx.URL, headers: httpx.Headers, body: bytes, extensions: Mapping[str, Any]) -> None:
        self.method = "POST"
        self.url = url
        self.headers = headers
        self.extensions = dict(extensions)
        self.stream = httpx.ByteStream(body)
        self._content = body


class Upstream:
    """The connections of this process to all providers. One per event loop; `transport` is replaced in tests."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport or AiohttpTransport(client=_session)

    async def send(self, endpoint: Endpoint, request: Encoded, *, stream: bool, within_s: float, key: int = 0) -> Answer:
        """Send with the provider's key at position `key`, and wait at most `within_s` seconds for the head of the answer.

        Raises `ProviderError`.
        """
        headers = endpoint.headers_of(key)
        if request.headers:
            headers = headers.copy()
            headers.update(request.headers)
        if tracing.is_on():
            headers = headers.copy()
            headers.update(tracing.headers())
        url = endpoint.stream_url if stream else endpoint.plain_url
        call = PreparedRequest(url, headers, request.body, endpoint.timeouts)
        with _provider_errors(f"nothing within {within_s:g} s"):
            async with asyncio.timeout(within_s):
                response = await self._transport.handle_async_request(call)
        return Answer(response)

    async def get(self, url: str, *, headers: Mapping[str, str], within_s: float) -> Answer:
        """A GET, for health probes. Raises `ProviderError`."""
        call = httpx.Request("GET", url, headers=dict(headers), extensions={"timeout": {"connect": within_s}})
        with _provider_errors(f"nothing within {within_s:g} s"):
            async with asyncio.timeout(within_s):
                return Answer(await self._transport.handle_async_request(call))

    async def aclose(self) -> None:
        await self._transport.aclose()


class Answer:
    """An answer whose head has arrived. Read it, then close it; closing early ends the call at the provider at once."""

    __slots__ = ("_body", "_response", "headers", "status")

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers = response.headers
        # The raw stream is the cheap way; compressed bodies, which were not asked for, take the long one.
        raw = "content-encoding" not in response.headers
        self._body: AsyncIterator[bytes] = aiter(response.stream if raw else response.aiter_bytes())  # type: ignore[arg-type]

    async def read(self, within_s: float) -> bytes:
        """The next bytes, b"" at the end. Raises `ProviderError` after `within_s` seconds of silence or when it breaks."""
        with _provider_errors(f"no further data for {within_s:g} s"):
            async with asyncio.timeout(within_s):
                return await anext(self._body, b"")

    async def read_all(self, within_s: float, limit: int = MAX_ANSWER_BYTES) -> bytes:
        """The whole body, within `within_s` seconds in all. Raises `ProviderError`, also past `limit` bytes."""
        parts, size = [], 0
        with _provider_errors(f"no whole answer within {within_s:g} s"):
            async with asyncio.timeout(within_s):
                async for data in self._body:
                    parts.append(data)
                    size += len(data)
                    if size > limit:
                        raise ProviderUnavailable(f"Provider sent more than {limit} bytes")
        return b"".join(parts)

    async def aclose(self) -> None:
        """End the call. An answer not read to its end takes its connection with it."""
        await self._response.stream.aclose()  # type: ignore[union-attr]


@contextmanager
def _provider_errors(timeout: str) -> Iterator[None]:
    """Map what httpx, aiohttp and the socket raise, by the cause that aiohttp saw (httpx-aiohttp maps some too broadly).

    What happens inside is waiting for a provider, and is added up as such.
    """
    request = underway.current()
    if request is not None:
        request.wait_begins()
    try:
        yield
    except ProviderError:
        raise
    except TimeoutError as error:
        raise ProviderTimeout(f"Provider sent {timeout}") from error
    except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, aiohttp.ConnectionTimeoutError):
            raise ProviderTimeout("Provider did not accept the connection in time") from error
        if isinstance(cause, (aiohttp.ClientConnectorError, httpx.ConnectError)):
            raise ProviderUnavailable("Provider cannot be reached", raw=type(cause).__name__) from error
        if isinstance(error, httpx.TimeoutException) and isinstance(cause, TimeoutError):
            raise ProviderTimeout(f"Provider sent {timeout}") from error
        raise ConnectionBroken("Provider broke the connection off", raw=type(cause).__name__) from error
    finally:
        if request is not None:
            request.wait_ends()
