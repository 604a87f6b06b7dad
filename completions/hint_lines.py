"""Hints as they travel between processes: values to bytes and back. Pure.

Processes of two versions talk to each other while a new one is rolled out, so a hint that cannot be read is left out and counted,
and the rest of its line is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import orjson

from routingapp.breaker import Answering, Paused
from routingapp.keypool import Fault, KeyOut
from routingapp.stickiness import Pinned

MAX_ERROR = 300
"""Characters of an adapter's last error that are worth sending."""

Hint = KeyOut | Paused | Answering | Pinned


class Told(NamedTuple):
    """A hint under way. `mark`: for which address and keys it holds (`completions.hearsay`); `age_s`: how old it was when sent."""

    hint: Hint
    mark: str = ""
    age_s: float = 0.0


def encode(line: Iterable[Told]) -> bytes:
    """Several hints as one line."""
    return orjson.dumps([_parts(told) for told in line])


def decode(line: bytes) -> tuple[list[Told], int]:
    """The hints of a line, and how many things in it were none."""
    try:
        parts = orjson.loads(line)
    except orjson.JSONDecodeError:
        return [], 1
    if not isinstance(parts, list):
        return [], 1
    found = [told for part in parts if (told := _told(part)) is not None]
    return found, len(parts) - len(found)


def _parts(told: Told) -> list[Any]:
    hint, mark, age_s = told
    common = [mark, round(age_s, 3)]
    match hint:
        case Pinned(conversation, adapter_id):
            return ["pinned", *common, conversation, adapter_id]
        case KeyOut(provider_id, reference, fault, rest_s, revision):
            return ["key", *common, provider_id, reference, fault.value, rest_s, revision]
        case Paused(adapter_id, pause_s, is_asked, error):
            return ["paused", *common, adapter_id, pause_s, is_asked, error[:MAX_ERROR]]
        case Answering(adapter_id):
            return ["answering", *common, adapter_id]


def _pinned(conversation: list[Any], adapter_id: int) -> Pinned:
    key_id, model, session = conversation
    return Pinned((key_id, str(model), str(session)), int(adapter_id))


def _key(provider_id: int, reference: str, fault: str, rest_s: float, revision: int) -> KeyOut:
    return KeyOut(int(provider_id), str(reference), Fault(fault), float(rest_s), int(revision))


def _paused(adapter_id: int, pause_s: float, is_asked: bool, error: str) -> Paused:
    return Paused(int(adapter_id), float(pause_s), bool(is_asked), str(error))


def _answering(adapter_id: int) -> Answering:
    return Answering(int(adapter_id))


_READERS: dict[str, Callable[..., Hint]] = {
    "pinned": _pinned, "key": _key, "paused": _paused, "answering": _answering,
}  # fmt: skip


def _told(part: Any) -> Told | None:
    try:
        kind, mark, age_s, *fields = part
        return Told(_READERS[kind](*fields), str(mark), float(age_s))
    except (KeyError, TypeError, ValueError):
        return None
