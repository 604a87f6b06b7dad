"""What browser applications of other origins need to call the API: the answer to a preflight, and headers on each response.

Any origin may call: keys travel in a header, never in cookies, so nothing is lent.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

EXPOSED = (
    "X-Generation-Id", "X-Request-Id", "Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
    "WWW-Authenticate", "Accept-Encoding",
)  # fmt: skip
TYPED = {"X-Content-Type-Options": "nosniff"}
"""On every response: that it is what its type says, and no script or page because it looks like one."""
READABLE = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": ", ".join(EXPOSED), **TYPED}
"""On every response of the API: that its body and these of its headers may be read."""

PREFLIGHT_S = "86400"


def in_bytes(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """`headers` as ASGI takes them."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def preflight(request: HttpRequest) -> HttpResponse | None:
    """The answer to a browser that asks whether it may ask, None for any other request. `READABLE` is to be added.

    It allows the very headers that are asked for, since SDKs send many of their own (`x-stainless-…`).
    """
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    asked = request.headers.get("Access-Control-Request-Headers", "Authorization, Content-Type")
    return HttpResponse(
        status=204,
        headers={
            "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
            "Access-Control-Allow-Headers": asked.replace("\r", "").replace("\n", ""),
            "Access-Control-Max-Age": PREFLIGHT_S,
        },
    )
