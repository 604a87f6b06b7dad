"""What rows of the catalogue refuse, and why."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from catalog.validators import validate_headers


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer x"}, {"X-Team": "sk-or-v1-0123456789abcdef0123"}, {"api-key": "x"}, {"X": 1}, []]
)
def test_headers_with_what_looks_like_a_secret_are_refused(headers):
    with pytest.raises(ValidationError):
        validate_headers(headers)


def test_plain_headers_are_taken():
    validate_headers({"HTTP-Referer": "https://example.org", "anthropic-version": "2023-06-01", "X-Title": "Gateway"})
