"""What every dialect can do. Sans-I/O: bytes and canonical values in and out; no network, no clock, no Django.

The canonical form is OpenRouter's chat JSON: `encode` takes a canonical request body (a dict as the caller sent it, with
`reasoning` and `max_tokens` already unified by `completions.schemas`), `decode` and `StreamDecoder.feed` give canonical
choices. Whatever a provider adds that has no home in the canonical form stays in `extra`.

A dialect raises `gateway_project.errors.ProviderError` and its children for what a provider says, and
`gateway_project.errors.InvalidRequest` (naming the field) for a request that it cannot say. That a request has the shape of one
(`completions.shape`) is known before.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import orjson
from msgspec import Struct, field

from accounting.usage import Usage
from catalog.entries import AdapterEntry, DialectName, ProviderEntry
from completions.sse import EventTooLargeError, SSEDecoder
from gateway_project.errors import InvalidRequest, ProviderError, ProviderUnavailable

JSON = dict[str, Any]


NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Encoded(NamedTuple):
    """A request body in the provider's words, and headers that depend on the request (most have none)."""

    body: bytes
    headers: Mapping[str, str] = NO_HEADERS


class Completion(Struct):
    """A whole answer. `choices`: canonical `{index, message, finish_reason, native_finish_reason, logprobs}`."""

    choices: list[JSON]
    usage: Usage | None = None
    upstream_id: str | None = None
    extra: JSON = field(default_factory=dict)


class Chunk(Struct):
    """A piece of a streamed answer. `choices`: canonical `{index, delta, finish_reason, native_finish_reason, logprobs?}`.

    `usage`, where present, is the total so far, not an increment.
    """

    choices: list[JSON]
    usage: Usage | None = None
    upstream_id: str | None = None
    extra: JSON = field(default_factory=dict)


class StreamDecoder(abc.ABC):
    """Turns the bytes of one streamed answer into chunks, whatever the sizes they arrive in.

    `is_finished` becomes true once the answer is known to be whole, by its finish reason or what else the dialect takes for
    one; a stream that ends before is broken. `is_done` becomes true at the end mark: nothing more will come. `malformed`
    counts events that were skipped because they could not be read.
    """

    is_finished: bool = False
    is_done: bool = False
    malformed: int = 0
    failure: ProviderError | None = None
    """An error frame that has been seen but not raised yet, because chunks came in one piece with it."""

    @abc.abstractmethod
    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that `data` completes. Raises `ProviderError` on an error frame inside the stream."""

    @abc.abstractmethod
    def flush(self) -> list[Chunk]:
        """What is left when the stream has ended. Call it once."""


class EventStreamDecoder(StreamDecoder):
    """A decoder of server-sent events with JSON inside: everything but what an event means, which is `on_event`.

    An error frame that arrives in one piece with chunks before it is held in `failure` and raised by the next call, so that
    what was said before it is not lost. An event whose values are of other types than `on_event` reads is skipped.
    """

    def __init__(self) -> None:
        self._sse = SSEDecoder()
        self.failure: ProviderError | None = None

    @abc.abstractmethod
    def on_event(self, name: bytes, data: bytes) -> Chunk | None:
        """What one event means; None if nothing. Raises `ProviderError` on an error frame.

        `AttributeError`, `TypeError`, `KeyError` and `ValueError` mean that the event cannot be read.
        """

    def feed(self, data: bytes) -> list[Chunk]:
        try:
            return self._chunks(self._sse.feed(data))
        except EventTooLargeError as error:
            raise ProviderUnavailable(f"Provider sent {error}") from error

    def flush(self) -> list[Chunk]:
        return self._chunks(self._sse.flush())

    def _chunks(self, events: list[tuple[bytes, bytes]]) -> list[Chunk]:
        if self.failure is not None:
            raise self.failure
        chunks: list[Chunk] = []
        for name, data in events:
            try:
                chunk = self.on_event(name, data)
            except ProviderError as error:
                self.failure = error
                if not chunks:
                    raise
                break
            except (AttributeError, TypeError, KeyError, ValueError):
                self.malformed += 1
                continue
            if chunk is not None:
                chunks.append(chunk)
        return chunks

    def parse(self, data: bytes) -> JSON | None:
        """The JSON object in an event's data; None, counted as malformed, where it is something else."""
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            event = None
        if isinstance(event, dict):
            return event
        self.malformed += 1
        return None


class Dialect(abc.ABC):
    """One wire dialect. Stateless: one instance serves every provider that speaks it."""

    name: ClassVar[DialectName]

    @abc.abstractmethod
    def path(self, adapter: AdapterEntry, *, stream: bool) -> str:
        """What is appended to the provider's base URL, with a leading slash. Never holds a secret."""

    @abc.abstractmethod
    def headers(self, provider: ProviderEntry, secret: str | None) -> dict[str, str]:
        """Headers sent with every request to `provider`, authentication included. Prepared once, then reused."""

    def encode(self, chat: Mapping[str, Any], adapter: AdapterEntry, *, stream: bool) -> Encoded:
        """The canonical request `chat` in the provider's words. Never changes `chat`.

        `chat` is of the shape that `completions.shape` checks. Raises `InvalidRequest` naming a field that this provider cannot
        be told.
        """
        try:
            return self.write(chat, adapter, stream=stream)
        except TypeError as error:
            refuse_depth(error)
            raise

    @abc.abstractmethod
    def write(self, chat: Mapping[str, Any], adapter: AdapterEntry, *, stream: bool) -> Encoded:
        """What a dialect does of `encode`."""

    @abc.abstractmethod
    def decode(self, body: bytes, adapter: AdapterEntry) -> Completion:
        """A whole answer (HTTP 200). Raises `ProviderError` if it is none: an error object, HTML, nothing at all."""

    @abc.abstractmethod
    def decoder(self, adapter: AdapterEntry) -> StreamDecoder:
        """A fresh decoder for one stream."""

    @abc.abstractmethod
    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer with HTTP status >= 400 stands for."""


def refuse_depth(error: TypeError) -> None:
    """Raise `InvalidRequest` if `error` is orjson's about a value nested too deeply: it reads 1024 levels, but writes only 254."""
    if str(error) == "Recursion limit reached":
        raise InvalidRequest(
            "The request is nested deeper than 254 levels, which cannot be sent on; flatten it."
        ) from error


def parse_json(body: bytes, what: str) -> JSON:
    """The JSON object in `body`. Raises `ProviderUnavailable` where it is something else, quoting its beginning."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        excerpt = body[:200].decode("utf-8", "replace").strip()
        raise ProviderUnavailable(f"Provider sent {what} that is not a JSON object", raw=excerpt)
    return value
