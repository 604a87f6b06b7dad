"""What OpenAI-compatible providers say when they fail, over HTTP, inside a 200 answer and inside a stream. Pure.

The shapes in use: `{"error": {"message", "code", "type"}}` (OpenAI and most), `{"error": "…"}` (Ollama before 0.3),
`{"object": "error", "message", "code"}` (vLLM before 0.11, Mistral), `{"detail": "…" | [{"loc", "msg"}]}` (FastAPI: SGLang,
Fireworks, Mistral's 422), `[{"error": …}]` (Google's compatible endpoint), and no JSON at all (a proxy in between).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from completions.dialects.base import JSON
from completions.dialects.faults import classify, number, retry_after
from gateway_project.errors import ProviderError, ProviderRateLimited

_DURATION = re.compile(r"(?:([\d.]+)h)?(?:([\d.]+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")
_UNITS_S = (3600.0, 60.0, 1.0, 0.001)
_STATUS = re.compile(r"[45][0-9]{2}")
_EPOCH_FROM = 1_000_000_000
_EPOCH_MS_FROM = 1_000_000_000_000
_RAW_BYTES = 8000


def over_http(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """The error for an answer with `status` >= 400, whose body may be anything. Header names are in lower case."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    message, code = _words_of(parsed)
    patience = retry_after(headers)
    if patience is None and status in (413, 429, 503):
        patience = _until_reset(headers)
    if status == 413 and code == "rate_limit_exceeded":
        # Groq: "Request too large for model … on tokens per minute (TPM)". Its limit for us, not the request's size
        # (console.groq.com/docs/errors, seen 2026): another provider may take it.
        return ProviderRateLimited(
            message, upstream_status=status, raw=_text(body), provider_code=code, retry_after_s=patience
        )
    return classify(status, message or f"Provider answered {status}", raw=_text(body), code=code, retry_after_s=patience)


def told(event: JSON, raw: bytes) -> ProviderError:
    """The error that an answer with status 200, or an event of a stream, carries instead of choices."""
    message, code = _words_of(event)
    status = int(code) if code and _STATUS.fullmatch(code) else 502
    return classify(status, message or "Provider sent an error inside its answer", raw=_text(raw), code=code)


def _words_of(body: Any) -> tuple[str, str | None]:
    """Message and code of an error body of any shape; "" and None where it tells none."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return "", None
    error = body.get("error") or body
    if not isinstance(error, dict):
        return _words(error), None
    code = error.get("code") or error.get("type")
    message = _words(error.get("message")) or _words(error.get("detail"))
    return message or _words(body.get("message")) or _words(body.get("detail")), str(code) if code else None


def _words(said: Any) -> str:
    """`said` as one line: text as it is, a list of FastAPI's findings as `body.seed: Extra inputs are not permitted`."""
    if isinstance(said, str):
        return said
    if isinstance(said, dict) and "detail" in said:
        return _words(said["detail"])
    if isinstance(said, list) and all(isinstance(finding, dict) and "msg" in finding for finding in said):
        return "; ".join(f"{'.'.join(map(str, finding.get('loc') or ()))}: {finding['msg']}" for finding in said)
    return orjson.dumps(said).decode() if said else ""


def _until_reset(headers: Mapping[str, str]) -> float | None:
    """Seconds until the limit that was hit starts anew, from `x-ratelimit-…` headers; None where they do not tell.

    OpenAI, Groq and others send durations ("6m0s", "250ms") for requests and for tokens, beside what remains of each
    (platform.openai.com/docs/guides/rate-limits). OpenRouter sends `x-ratelimit-reset` as epoch milliseconds, which are
    compared with the answer's own `date`, so that no clock is needed here.
    """
    for kind in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{kind}") == "0":
            return _duration(headers.get(f"x-ratelimit-reset-{kind}", ""))
    told = [_duration(headers.get(f"x-ratelimit-reset-{kind}", "")) for kind in ("requests", "tokens")]
    known = [seconds for seconds in told if seconds is not None]
    return max(known) if known else _from_epoch(headers.get("x-ratelimit-reset", ""), headers.get("date", ""))


def _duration(text: str) -> float | None:
    if (seconds := number(text)) is not None:
        return seconds if seconds < _EPOCH_FROM else None
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        return None
    total_s = 0.0
    for written, unit_s in zip(found.groups("0"), _UNITS_S, strict=True):
        amount = number(written)
        if amount is None:
            return None
        total_s += amount * unit_s
    return total_s


def _from_epoch(text: str, date: str) -> float | None:
    told = number(text)
    if told is None or not date:
        return None
    at = told / (1000 if told >= _EPOCH_MS_FROM else 1)
    try:
        now = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    return max(0.0, at - now) if at >= _EPOCH_FROM else told


def _text(body: bytes) -> str:
    return body[:_RAW_BYTES].decode("utf-8", "replace").strip()
