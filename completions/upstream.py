"""Calls of providers: the only module that talks to them. Endpoints are prepared here; `completions.transport` does the HTTP.

A bare protocol over httptools instead of a client library: design.md section 4 measured httpx over aiohttp, which took a fifth of a
request's time (DECISIONS.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog.entries import AdapterEntry, Lookup, resolve
from completions import tracing
from completions.dialects import DIALECTS
from completions.dialects.base import Dialect, Encoded
from completions.transport import request as requests
from completions.transport.answer import MAX_ANSWER_BYTES, Answer
from completions.transport.dialing import Dialer, Internet
from completions.transport.pool import Pool
from completions.transport.request import RequestHead
from gateway_project.errors import conceal

__all__ = ["MAX_ANSWER_BYTES", "MAX_ERROR_BYTES", "Answer", "Endpoint", "Upstream", "prepare"]

MAX_ERROR_BYTES = 64 * 1024
_ALWAYS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "openrouter-gateway"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How one adapter is reached: what its requests begin with, prepared once per snapshot. Holds the secret, so it shows none.

    `plain` and `streamed` have one head for each key of the provider's pool.
    """

    adapter: AdapterEntry
    dialect: Dialect
    plain: tuple[RequestHead, ...] = field(repr=False)
    streamed: tuple[RequestHead, ...] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    """Those with the first key, as probes send them."""
    spare_headers: tuple[Mapping[str, str], ...] = field(default=(), repr=False)
    """Those with the second key, the third …"""

    def headers_of(self, key: int) -> Mapping[str, str]:
        """The headers with the key at that position of `ProviderEntry.api_keys`."""
        return self.spare_headers[key - 1] if key else self.headers


def prepare(adapter: AdapterEntry, lookup: Lookup) -> Endpoint:
    """The endpoint of a configured adapter, its secrets taken from the environment by `lookup`.

    Raises `Unsendable` where its URL or a header is nothing that HTTP can say.
    """
    provider = adapter.provider
    dialect = DIALECTS[provider.dialect]
    secrets: list[str | None] = [resolve(reference, lookup) for reference in provider.api_keys]
    for secret in secrets:
        conceal(secret)
    headers = [{**_ALWAYS, **dialect.headers(provider, secret)} for secret in secrets or [None]]

    def heads(*, stream: bool) -> tuple[RequestHead, ...]:
        url = provider.base_url + dialect.path(adapter, stream=stream)
        return tuple(requests.prepare("POST", url, each) for each in headers)

    first, *spare = headers
    return Endpoint(adapter, dialect, heads(stream=False), heads(stream=True), first, tuple(spare))


class Upstream:
    """The connections of this process to all providers. One per event loop; `dialer` is replaced in tests."""

    def __init__(self, dialer: Dialer | None = None) -> None:
        self._pool = Pool(dialer or Internet())

    async def send(self, endpoint: Endpoint, request: Encoded, *, stream: bool, within_s: float, key: int = 0) -> Answer:
        """Send with the provider's key at position `key`, and wait at most `within_s` seconds for the head of the answer.

        Raises `ProviderError`.
        """
        head = (endpoint.streamed if stream else endpoint.plain)[key]
        headers = {**request.headers, **tracing.headers()} if tracing.is_on() else request.headers
        return await self._pool.call(
            head,
            head.message(request.body, headers),
            connect_s=endpoint.adapter.provider.connect_timeout_s,
            within_s=within_s,
        )

    async def get(self, url: str, *, headers: Mapping[str, str], within_s: float) -> Answer:
        """A GET, for health probes. Raises `ProviderError`."""
        head = requests.prepare("GET", url, headers)
        return await self._pool.repeatable_call(head, head.message(None), within_s=within_s)

    async def aclose(self) -> None:
        await self._pool.aclose()
