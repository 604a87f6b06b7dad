"""Links to media, read as far as dialects must know them. Pure."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from gateway_project.errors import InvalidRequest


def split(url: str, field: str) -> SplitResult:
    """The parts of `url`. Raises `InvalidRequest` naming `field` for what is none."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise InvalidRequest(
            f"{field}: {url[:100]!r} is no URL ({error}); write e.g. https://example.com/cat.png"
        ) from error
