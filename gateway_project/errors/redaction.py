"""What must not be seen in any text that is logged, stored or shown: keys, and addresses of providers.

Owns the patterns that keys follow, and the secrets that this process has been told of. It knows nothing of errors.
"""

from __future__ import annotations

import json
import re

_URLS = re.compile(r"\b(?:https?|wss?)://[^\s\"'<>)\]}]+")
_KEYS = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|pplx|fw|AIza|AQ\.)[-_]?[A-Za-z0-9*_-]{12,}"
    r"|\b(?:hf_|nvapi-|LLM\|\d+\|)[\w-]{12,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|\b[Bb]earer\s+[\w.~+/=-]{8,}"
    r"|(?<=[?&\s])(?:api[-_]?key|key|token)=[^\s&\"']+"
)
_KEY_HINTS = (
    "sk",
    "pk",
    "rk",
    "xai",
    "pplx",
    "fw",
    "AIza",
    "AQ.",
    "hf_",
    "nvapi-",
    "LLM|",
    "eyJ",
    "earer",
    "key=",
    "token=",
)
"""One of these is in every text that `_KEYS` finds something in: looking for them costs a hundredth of the pattern."""
_HEADERS = re.compile(
    # What stands after a header's name, as `name: value` or in the repr of a dict or of ASGI's pairs, also within JSON.
    r"((?:x-(?:goog-)?api-key|api-key|(?:proxy-)?authorization|(?:set-)?cookie|sessionid)[\\\"']{0,2}\s*[:=,]\s*b?[\\\"']{0,2})"
    r"(?:(?:basic|bearer|token)\s+[^\s\"',;)}]+|(?=[^\s\"',;)}]*\d)[^\s\"',;)}]{8,})",
    re.IGNORECASE,
)
_HEADER_HINTS = ("api-key", "authorization", "cookie", "sessionid")
_LOGINS = re.compile(
    # Without double quotes and backslashes, which a URL cannot hold: past them a "password" would be what follows a URL in JSON.
    r"(\b[a-z][a-z0-9+]{0,30}://[^\s:/@\"\\]{0,100}:)[^\s/@\"\\]{1,200}(?=@)"
)
_REMOVED = "[key removed]"
_concealed: set[str] = set()
"""Secrets, each also as it stands within JSON, where quotes and backslashes are escaped."""
_concealed_pattern: re.Pattern[str] | None = None


def conceal(secret: str | None) -> None:
    """From now on `redact` removes `secret`, whatever it looks like. Ignored if it is too short to be one (under 8)."""
    global _concealed_pattern
    if secret and len(secret) >= 8 and secret not in _concealed:
        _concealed.update((secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]))
        _concealed_pattern = re.compile("|".join(map(re.escape, sorted(_concealed, key=len, reverse=True))))


def redact(text: str) -> str:
    """`text` without anything that is known to be a key or looks like one: safe to log."""
    if _concealed_pattern is not None:
        text = _concealed_pattern.sub(_REMOVED, text)
    if any(hint in text for hint in _KEY_HINTS):
        text = _KEYS.sub(_REMOVED, text)
    lowered = text.lower()
    if any(hint in lowered for hint in _HEADER_HINTS):
        text = _HEADERS.sub(rf"\1{_REMOVED}", text)
    return _LOGINS.sub(rf"\1{_REMOVED}", text) if "://" in text else text


def redact_each(texts: list[str]) -> list[str]:
    """Each of `texts` redacted by itself, so that nothing is found over the end of one. One look is enough where nothing is."""
    together = "\n".join(texts)
    return texts if redact(together) == together else [redact(text) for text in texts]


def scrub(text: str) -> str:
    """`text` without URLs and keys: safe to show to a caller and to store."""
    return redact(_URLS.sub("[url removed]", text))
