"""How wide a body may be: the number of its values and the lengths of its lists. Pure.

A value costs two bytes on the wire, up to 250 in memory and some microseconds wherever it is walked over, all of it on the event
loop. So they are counted before JSON is read, and a list is refused at its first wrong item. The bounds are far above what
conversations have: one of 7,000 calls of tools with their results has 100,000 values.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gateway_project.errors import InvalidRequest

MAX_VALUES = 100_000
MAX_MESSAGES = 10_000
MAX_TOOLS = 2_000
MAX_WORDS = 1_000
"""Of stop sequences and plugins."""

FIRST_ONLY = Field(fail_fast=True)
"""For lists: pydantic makes an error of about a kilobyte for each wrong item otherwise."""

_SEPARATORS = b",[{"


def refuse_too_many_values(body: bytes) -> None:
    """Raises `InvalidRequest` for JSON of more than `MAX_VALUES` values. What is no JSON may pass."""
    # A value takes two bytes: most bodies are too short to be looked at.
    if len(body) <= 2 * MAX_VALUES or _separators(body) <= MAX_VALUES:
        return
    # Text is full of commas, which are none of ours. Without what is escaped, every other piece between quotes is outside of text;
    # each string is a value or the name of one.
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 4 * MAX_VALUES or _separators(b"".join(plain.split(b'"')[::2])) > MAX_VALUES:
        raise InvalidRequest(
            f"The body has more than {MAX_VALUES} values (objects, arrays, strings, numbers), which is the most that one request "
            "may have; send fewer messages, parts or fields"
        )


def _separators(body: bytes) -> int:
    """Commas and beginnings of objects and arrays: as many as there are values, or a few more."""
    return len(body) - len(body.translate(None, _SEPARATORS))


def first_wrong_number(value: Any) -> Any:
    """For objects of numbers: `value` itself or, where a member is no number, that member alone, to be complained of."""
    if isinstance(value, dict):
        for name, number in value.items():
            if not isinstance(number, int | float):
                try:
                    float(number)
                except (TypeError, ValueError):
                    return {name: number}
    return value
