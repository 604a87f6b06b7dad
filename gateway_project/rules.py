"""What addresses in variables may look like. Each rule takes what was written and gives what is wrong with it and the cure, or "".

Knows no variable. What may hold a password is never repeated.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

_HOST = re.compile(r"\*|\.?[A-Za-z0-9_](?:[A-Za-z0-9_.-]*)|\[[0-9A-Fa-f:.]+\]")
_ORIGIN = re.compile(r"https?://[^/@\s?#]+")


def base_url(written: str) -> str:
    """Of an HTTP API."""
    url = _split(written)
    if url is None or url.scheme not in ("http", "https") or not url.hostname:
        return "is no address of an HTTP API; give it with http:// or https:// and its version path, e.g. http://localhost:8000/v1"
    return ""


def redis_url(written: str) -> str:
    url = _split(written)
    cure = "give e.g. redis://localhost:6379/0, rediss:// for TLS, or unix:///run/redis.sock"
    if url is None or url.scheme not in ("redis", "rediss", "unix"):
        return f"is no address of a Redis; {cure}"
    if url.scheme != "unix" and not re.fullmatch(r"/?[0-9]*", url.path):
        return f"must end with the number of a database; {cure}"
    return ""


def proxy(written: str) -> str:
    """One of FORWARDED_ALLOW_IPS as uvicorn reads them: an address, a network, or `*` for everybody."""
    try:
        if written != "*":
            ipaddress.ip_network(written)
    except ValueError as error:
        return f"is no address of a proxy ({error}); give e.g. 10.0.0.5 or 10.0.0.0/24"
    return ""


def host(written: str) -> str:
    """One of ALLOWED_HOSTS."""
    return (
        ""
        if _HOST.fullmatch(written)
        else "is no name of a host; give it without scheme, port and path, e.g. gateway.example.org"
    )


def origin(written: str) -> str:
    """One of CSRF_TRUSTED_ORIGINS."""
    return (
        "" if _ORIGIN.fullmatch(written) else "is no origin; give scheme and host alone, e.g. https://gateway.example.org"
    )


def _split(written: str) -> SplitResult | None:
    """The parts of a URL with a possible port; None where there are none."""
    try:
        url = urlsplit(written)
        return url if url.port is None or url.port > 0 else None
    except ValueError:
        return None
