"""The story of one request: what was planned, who was asked when, what came first, what was counted and charged, what went wrong.

Made from a request's `Record`, so it can be told as soon as the request has ended, before the database has it. Pure but for `find`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from accounting import ledger, pricing
from accounting.models import RequestLog
from accounting.record import COLUMNS, Attempt, Record
from accounting.usage import Usage
from catalog.prices import Prices, PricingError
from gateway_project.errors import LedgerUnavailable

READ = "accounting.view_requestlog"
"""Who may read the stories of others."""

_CLASS_WORDS = {
    "prompt_uncached": "prompt", "cache_read": "prompt, read from cache", "cache_read_audio": "audio in, read from cache",
    "cache_write": "prompt, written to cache", "cache_write_1h": "prompt, cached for an hour", "prompt_audio": "audio in",
    "prompt_image": "images in", "completion_text": "answer", "reasoning": "reasoning", "completion_audio": "audio out",
    "completion_image": "images out", "web_searches": "web searches",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bar:
    """One attempt on the timeline. Positions and widths in per cent of the whole request."""

    number: int
    attempt: Attempt
    start: float
    width: float
    first_token: float | None
    state: str

    @property
    def cost_usd(self) -> Decimal:
        return Decimal(self.attempt.cost_usd)


@dataclass(frozen=True, slots=True)
class Charge:
    """One class of tokens: how many, USD per token, USD together."""

    words: str
    count: int
    each_usd: Decimal
    cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Story:
    """`state` is good, bad or "" (the caller left). `charges` are None where the classes were not kept."""

    record: Record
    arrived: datetime
    state: str
    headline: str
    plan: Sequence[Mapping[str, Any]]
    bars: Sequence[Bar]
    charges: Sequence[Charge] | None
    parameters: Mapping[str, Any]
    prompt: Sequence[tuple[str, str]]

    @property
    def cost_usd(self) -> Decimal:
        return Decimal(self.record.cost_usd)


def find(request_id: str) -> Record | None:
    """The record of that request, from this machine's journals or the database."""
    try:
        record = ledger.find(request_id)
    except LedgerUnavailable:
        record = None  # a process that does not serve has no journal of its own; the database has the rest
    if record is None:
        row = RequestLog.objects.filter(request_id=request_id).values(*COLUMNS).first()
        if row is not None:
            record = Record.of(row | {"timestamp": row["timestamp"].timestamp(), "cost_usd": str(row["cost_usd"])})
    return record


def of(record: Record) -> Story:
    """The story that `record` tells."""
    whole_ms = max([record.latency_ms, *(one.started_ms + one.latency_ms for one in record.attempts)], default=0) or 1
    return Story(
        record=record,
        arrived=datetime.fromtimestamp(record.timestamp, UTC),
        state="" if record.is_cancelled else "bad" if record.status_code >= 400 or record.error_type else "good",
        headline=_headline(record),
        plan=[entry for entry in record.plan or () if isinstance(entry, Mapping)],
        bars=[_bar(number, attempt, whole_ms) for number, attempt in enumerate(record.attempts, start=1)],
        charges=_charges(record),
        parameters=parameters_of(record),
        prompt=_messages(record.prompt),
    )


def parameters_of(record: Record) -> dict[str, Any]:
    """The request's parameters, those with columns of their own among them."""
    own = {name: getattr(record, name) for name in ("temperature", "top_p", "max_tokens", "seed")}
    return {name: value for name, value in own.items() if value is not None} | (record.parameters or {})


def replayable(record: Record) -> dict[str, Any]:
    """What the playground needs to ask the same again. Messages are None where they were not stored."""
    return {
        "model": record.requested_model or record.model_id,
        "parameters": parameters_of(record),
        "messages": orjson.loads(record.prompt) if record.prompt else None,
    }


def _headline(record: Record) -> str:
    if record.is_cancelled:
        return "The caller left before the end"
    if record.status_code >= 400 or record.error_type:
        return f"{record.status_code} {record.error_type or ''}".strip()
    return f"{record.status_code}, {record.finish_reason or 'answered'}"


def _bar(number: int, attempt: Attempt, whole_ms: int) -> Bar:
    first = None if attempt.ttft_ms is None else (attempt.started_ms + attempt.ttft_ms) / whole_ms * 100
    state = "good" if attempt.status is not None and attempt.status < 300 and not attempt.error else "bad"
    width = max(0.6, attempt.latency_ms / whole_ms * 100)
    return Bar(number, attempt, attempt.started_ms / whole_ms * 100, width, first, state)


def _charges(record: Record) -> list[Charge] | None:
    """The classes of all attempts together, at the prices of the one that answered. None where they do not add up to the cost."""
    try:
        prices = Prices.parse(record.prices or {})
        usages = [Usage.of(attempt.usage) for attempt in record.attempts if attempt.usage]
    except (PricingError, TypeError):
        return None  # written by another version
    fee = prices.get("request")
    charges = []
    for usage in usages:
        for name, tokens in usage.classes().items():
            cost = pricing.cost(Usage.of({name: tokens}), prices).total - fee
            charges.append(Charge(_CLASS_WORDS.get(name, name), tokens, cost / tokens, cost))
        if fee:
            charges.append(Charge("request", 1, fee, fee))
    total = sum((charge.cost_usd for charge in charges), Decimal(0))
    return charges if charges and abs(total - Decimal(record.cost_usd)) < Decimal("1e-9") else None


def _messages(prompt: str | None) -> list[tuple[str, str]]:
    """Role and text of each stored message; what is not text, as JSON."""
    if not prompt:
        return []
    try:
        messages = orjson.loads(prompt)
    except orjson.JSONDecodeError:
        return [("prompt", prompt)]
    return [(str(message.get("role", "")), _text(message)) for message in messages if isinstance(message, dict)]


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str) and set(message) <= {"role", "content"}:
        return content
    rest = {name: value for name, value in message.items() if name != "role"}
    return orjson.dumps(rest, option=orjson.OPT_INDENT_2).decode()
