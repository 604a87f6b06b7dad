"""The record of one request, from its first byte to its journal line. Pure: field names are the columns of `api_logs`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Attempt(msgspec.Struct):
    """One call of one adapter for a request. Milliseconds; `started_ms` counts from the request's start.

    `usage` are the classes that it was charged for (`Usage.classes`), so that it can be charged anew; None: it was free.
    """

    adapter_id: int
    provider: str
    upstream_model: str
    started_ms: int = 0
    latency_ms: int = 0
    ttft_ms: int | None = None
    status: int | None = None
    error_type: str | None = None
    error: str | None = None
    upstream_id: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: str = "0"
    usage: dict[str, int] | None = None


class Record(msgspec.Struct, omit_defaults=True):
    """Everything that is kept of one request. Exactly one exists per request; `accounting.ledger.settle` makes it durable.

    Times are epoch seconds (`timestamp`) and milliseconds; money is a decimal string in USD. `model_id` is the public id of
    the model that answered or, where none did, the one asked for; `requested_model` is what the caller sent.
    `error_domain` says whose doing the error was (`gateway_project.errors.DOMAINS`).
    """

    request_id: str
    timestamp: float
    endpoint: str = "chat"
    model_id: str = ""
    requested_model: str = ""
    provider: str = ""
    adapter_id: int | None = None
    upstream_model: str = ""
    upstream_id: str | None = None
    api_key_id: int | None = None
    user_id: str | None = None
    session_id: str | None = None
    status_code: int = 0
    error: str | None = None
    error_type: str | None = None
    error_domain: str | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    stream: bool = False
    is_cancelled: bool = False
    is_estimated: bool = False
    latency_ms: int = 0
    ttft_ms: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    cost_usd: str = "0"
    prices: dict[str, str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    parameters: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    http_referer: str = ""
    app_title: str = ""
    user_agent: str = ""
    prompt: str | None = None
    response: str | None = None
    prompt_hash: str | None = None
    plan: list[dict[str, Any]] | None = None
    attempts: list[Attempt] = msgspec.field(default_factory=list)
    is_settled: bool = False
    """Whether the journal holds it; from then on nothing may change it. In no line, as it has its default when that is written."""

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Record:
        """The record that was written as the journal line `line`; names this version does not know are left out."""
        known = {name: value for name, value in line.items() if name in _COLUMN_SET}
        attempts = [
            Attempt(**{name: value for name, value in attempt.items() if name in _ATTEMPT_SET})
            for attempt in known.pop("attempts", ())
        ]
        return cls(**known, attempts=attempts, is_settled=True)

    def mark_settled(self) -> None:
        """Called by the ledger alone, once the journal line is written."""
        self.is_settled = True


COLUMNS = tuple(name for name in Record.__struct_fields__ if name != "is_settled")
"""The columns of `api_logs`, in the order in which the writer inserts them."""

_COLUMN_SET = frozenset(COLUMNS)
_ATTEMPT_SET = frozenset(Attempt.__struct_fields__)
