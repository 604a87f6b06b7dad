"""Asks a provider for its list of models, as an operator who waits for it: one short conversation within bounds.

Not the request path: `requests`, synchronous. The address is the provider's own base URL, which only operators write, and never
one of a cloud's metadata (SECURITY.md). Redirects are not followed, the environment's proxies not used, the key is in a header.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import RequestException, SSLError, Timeout

from catalog.discovery import guard, offers
from catalog.discovery.guard import ForbiddenAddress
from catalog.discovery.offers import Offer, Unreadable
from catalog.entries import DialectName, Lookup, ProviderEntry, resolve
from catalog.loader import provider_entry
from catalog.models import Provider
from gateway_project.errors import scrub

WITHIN_S = 20.0
"""For all pages together, however slowly they come."""
SILENCE_S = 10.0
MAX_BYTES = 16 * 1024 * 1024
"""Of all pages together. OpenRouter's list, the longest known, has less than 2 MB (2026-11)."""
MAX_PAGES = 20
_CHUNK_BYTES = 64 * 1024
_EXCERPT_CHARACTERS = 300
_ANTHROPIC_VERSION = "2023-06-01"


class DiscoveryFailed(Exception):
    """The provider's list cannot be had. `str()` says why, and what to do; it holds no key and no address but its host."""


@dataclass(frozen=True, slots=True)
class Offered:
    """What a provider offers, by id. `left_out`: entries of its list that no request could be sent to."""

    offers: tuple[Offer, ...]
    left_out: int = 0


def ask(provider: Provider, lookup: Lookup) -> Offered:
    """The list of `provider`, whether it is switched on or not. Raises `DiscoveryFailed`."""
    entry = provider_entry(provider, lookup)
    if entry.unconfigured:
        raise DiscoveryFailed(f"{provider.name} is unconfigured: {entry.unconfigured}.")
    key = resolve(entry.api_keys[0], lookup) if entry.api_keys else None
    deadline = time.monotonic() + WITHIN_S
    found: dict[str, Offer] = {}
    left_out = size = 0
    with guard.session() as session:
        session.headers.update(_headers(entry, key))
        query: Mapping[str, str] | None = offers.first_query(entry.dialect)
        for _ in range(MAX_PAGES):
            if query is None:
                break
            body = _get(session, entry, query, deadline, MAX_BYTES - size)
            size += len(body)
            page = _read(entry, body)
            found |= {offer.upstream_model: offer for offer in page.offers}
            left_out, query = left_out + page.left_out, page.then
        else:
            raise DiscoveryFailed(f"{entry.name} sends more than {MAX_PAGES} pages; what it offers cannot be told.")
    return Offered(tuple(found[name] for name in sorted(found)), left_out)


def _headers(entry: ProviderEntry, key: str | None) -> dict[str, str]:
    """As requests have them (`completions.dialects`). Uncompressed, so that a small answer stays small."""
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "openrouter-gateway"}
    if entry.dialect is DialectName.ANTHROPIC:
        headers["anthropic-version"] = _ANTHROPIC_VERSION
    headers |= entry.extra_headers
    if key:
        name = {DialectName.ANTHROPIC: "x-api-key", DialectName.GEMINI: "x-goog-api-key"}.get(
            entry.dialect, entry.quirks.auth_header
        )
        headers[name] = f"Bearer {key}" if name.lower() == "authorization" else key
    return headers


def _get(session: requests.Session, entry: ProviderEntry, query: Mapping[str, str], deadline: float, room: int) -> bytes:
    """The body of one page. What goes wrong on the way is told by its kind: the words of libraries quote addresses."""
    host = urlsplit(entry.base_url).netloc.rpartition("@")[2]
    version = {"api-version": entry.quirks.api_version} if entry.quirks.api_version else {}
    try:
        with session.get(
            f"{entry.base_url}/models",
            params={**version, **query},
            timeout=(min(entry.connect_timeout_s, SILENCE_S), SILENCE_S),
            allow_redirects=False,
            stream=True,
        ) as response:
            return _body(response, entry, deadline, room)
    except ForbiddenAddress as error:
        rule = "which is link-local or a cloud's metadata: no provider is there. Correct the base URL."
        raise DiscoveryFailed(f"{host} leads to {error.address}, {rule}") from error
    except (Timeout, urllib3.exceptions.TimeoutError) as error:
        raise DiscoveryFailed(
            f"{host} did not answer within {SILENCE_S:.0f} s. Is it running, and can it be reached?"
        ) from error
    except SSLError as error:
        raise DiscoveryFailed(f"The certificate of {host} is not good. Is the base URL right?") from error
    except NoConnection as error:
        raise DiscoveryFailed(f"{host} cannot be reached. Is it running, and is the base URL right?") from error
    except urllib3.exceptions.HTTPError as error:
        raise DiscoveryFailed(f"{host} broke off while it sent its list. Try again.") from error
    except (RequestException, ValueError) as error:
        raise DiscoveryFailed(f"{host} cannot be asked ({type(error).__name__}). Is the base URL right?") from error


def _body(response: requests.Response, entry: ProviderEntry, deadline: float, room: int) -> bytes:
    if response.is_redirect or 300 <= response.status_code < 400:
        target = urlsplit(response.headers.get("Location", "")).hostname or "another address"
        raise DiscoveryFailed(
            f"{entry.name} redirects to {scrub(target)}. Redirects are not followed, as the key would travel along; "
            "if that is its address now, make it the base URL."
        )
    read = bytearray()
    # As it arrives: `iter_content` would wait for a whole chunk, and whoever sends a byte now and then would never be late.
    while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
        read += chunk
        if len(read) > room:
            raise DiscoveryFailed(f"{entry.name} sends more than {MAX_BYTES // 1024**2} MB; that is no list of models.")
        if time.monotonic() > deadline:
            raise DiscoveryFailed(f"{entry.name} did not send its list within {WITHIN_S:.0f} s. Try again later.")
    if response.status_code != 200:
        raise DiscoveryFailed(_refusal(entry, response.status_code, bytes(read)))
    return bytes(read)


def _refusal(entry: ProviderEntry, status: int, body: bytes) -> str:
    told = scrub(" ".join(body[:2000].decode("utf-8", "replace").split()))[:_EXCERPT_CHARACTERS]
    said = f" It says: {told}" if told else ""
    if status in (401, 403):
        key = f"the key in {entry.api_keys[0]}" if entry.api_keys else "a request without a key"
        return f"{entry.name} refuses {key} ({status}). Set a good one.{said}"
    if status in (404, 405):
        return f"{entry.name} has no list of models at its base URL, which should end in the version path ({status}).{said}"
    if status == 429:
        return f"{entry.name} limits the rate of requests (429). Try again in a minute.{said}"
    return f"{entry.name} answered with {status} instead of its list.{said}"


def _read(entry: ProviderEntry, body: bytes) -> offers.Page:
    try:
        return offers.read(entry.dialect, body)
    except Unreadable as error:
        raise DiscoveryFailed(
            f"{entry.name} answered with something else than a list of models: {error}. Is its dialect {entry.dialect}?"
        ) from error
