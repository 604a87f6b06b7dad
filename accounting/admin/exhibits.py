"""What a request log holds, as people read it in admin: tables, prices per million tokens, indented JSON. Everything escaped.

Takes whatever an older version may have written: a missing entry is an empty cell, not an error.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounting.admin.key_usage import Budget

NOTHING = "–"

ATTEMPT = {
    "provider": "provider",
    "upstream_model": "upstream model",
    "status": "status",
    "started_ms": "began after (ms)",
    "latency_ms": "took (ms)",
    "ttft_ms": "first token (ms)",
    "prompt_tokens": "prompt tokens",
    "completion_tokens": "answer tokens",
    "cost_usd": "cost (USD)",
    "error_type": "error type",
    "error": "error",
}
"""Headings by the fields of `accounting.record.Attempt`."""

PLAN = {"rank": "rank", "model": "model", "provider": "provider", "tag": "endpoint", "share": "share", "reason": "why"}
"""Headings by the keys of a plan's entries."""


def table(rows: Any, headings: Mapping[str, str]) -> SafeString | str:
    """One line per entry of `rows`, a list of JSON objects; columns that are empty throughout are left out."""
    entries = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, Sequence) else []
    if not entries:
        return NOTHING
    shown = [key for key in headings if any(row.get(key) not in (None, "") for row in entries)]
    head = format_html_join("", "<th>{}</th>", ((headings[key],) for key in shown))
    body = format_html_join("", "<tr>{}</tr>", ((_cells(row, shown),) for row in entries))
    return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)


def _cells(row: Mapping[str, Any], keys: Sequence[str]) -> SafeString:
    values = (row.get(key) for key in keys)
    return format_html_join("", "<td>{}</td>", (("" if value is None else value,) for value in values))


def prices(pricing: Any) -> SafeString | str:
    """Prices per token, shown per million, which is how price lists read."""
    if not isinstance(pricing, Mapping) or not pricing:
        return NOTHING
    return format_html_join(", ", "{}: {}", ((name, _per_million(price)) for name, price in pricing.items()))


def _per_million(price: Any) -> str:
    try:
        return amount(Decimal(str(price)) * 1_000_000)
    except InvalidOperation:
        return str(price)


def amount(value: Decimal) -> str:
    """Without an exponent and without zeros at the end."""
    return f"{value.normalize():f}"


def usd(value: Decimal) -> str:
    """An amount of money as people read it: cents, and smaller amounts to two digits that count."""
    if not value or abs(value) >= Decimal("0.095"):
        return f"${value:,.2f}" if value else "$0"
    return f"${amount(Decimal(f'{value:.2g}'))}"


def budget(found: Budget) -> SafeString:
    """A bar with what it says in words."""
    resets = f"again from {found.resets_at:%Y-%m-%d}" if found.resets_at else "never reset"
    return format_html(
        '<span class="nowrap">{} of {}</span><span class="meter"><i class="{}" style="width: {}%"></i></span>'
        '<span class="quiet under">{}{}</span>',
        usd(found.spent), usd(found.limit), found.state, round(found.share * 100),
        "spent, " if found.state == "bad" else "", resets,
    )  # fmt: skip


def json_text(value: Any) -> SafeString | str:
    return text(json.dumps(value, ensure_ascii=False, indent=2)) if value else NOTHING


def text(value: str | None) -> SafeString | str:
    """With its own line breaks; a stored prompt is usually JSON, which is indented."""
    if not value:
        return NOTHING
    if value[0] in "[{":
        with contextlib.suppress(ValueError):  # it only began like JSON, and is shown as it is
            value = json.dumps(json.loads(value), ensure_ascii=False, indent=2)
    return format_html('<pre style="white-space: pre-wrap; margin: 0">{}</pre>', value)
