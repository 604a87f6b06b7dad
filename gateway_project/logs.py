"""Log lines: one formatter for people, one for machines. Both name the request, and redact what looks like a key.

What callers send may be in any message, so nothing in a message can end its line or steer a terminal. Each text is redacted before
it is put into its line: patterns that ran over a whole line would let a caller's words swallow what is said beside them.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from types import NoneType

import orjson

from completions import underway
from gateway_project.errors import redact, redact_each

_NUMBERS = (bool, int, float, NoneType)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def escape(text: str) -> str:
    r"""`text` on one line: control characters, ESC and Unicode's line ends as `\n`, `\x1b`, `\u2028`."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """What the call passed as `extra={"fields": {…}}` and, while a request is served, its id."""
    fields: dict[str, object] = getattr(record, "fields", {})
    if "request_id" not in fields and (request := underway.current()) is not None:
        return {**fields, "request_id": request.request_id}
    return fields


class Suspicions(logging.Filter):
    """What Django calls suspicious is some caller's doing: a line and a warning, without the way through Django's middleware.

    Scanners name hosts that are none of ours all day long; at Django's 30 lines each they would fill the log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.exc_info = record.exc_text = None
        return True


class ConsoleFormatter(logging.Formatter):
    """`21:40:03 INFO gateway.ledger: adopted 3 records segment=…`; what follows of a traceback is indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        fields = [f" {name}={value}" for name, value in fields_of(record).items()]
        return escape("".join(redact_each([super().formatMessage(record), *fields])))

    def format(self, record: logging.LogRecord) -> str:
        first, line_end, more = super().format(record).partition("\n")
        return first + line_end + "\n".join(f"  {escape(line)}" for line in redact(more).split("\n") if line_end)


@lru_cache(maxsize=2)
def _second(epoch_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch_s))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (RFC 3339, UTC), level, logger, message, and what the call passed as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        text = orjson.dumps(line, default=str).decode()
        if "\\" not in text and redact(text) == text:
            return text  # Most lines: nothing is escaped in them, so that what is not found in the whole is in none of its parts.
        return orjson.dumps(_redacted(line)).decode()


def _redacted(fields: Mapping[str, object]) -> dict[str, object]:
    """`fields` as JSON can say them, each text in them redacted, as the value of a header where its name is one's."""
    return {redact(name): _redacted_value(name, value) for name, value in fields.items()}


def _redacted_value(name: str, value: object) -> object:
    if isinstance(value, _NUMBERS):
        return value
    if isinstance(value, Mapping):
        return _redacted({str(key): each for key, each in value.items()})
    if isinstance(value, (list, tuple)):
        return [_redacted_value(name, each) for each in value]
    return redact(f"{name}: {value}").removeprefix(f"{name}: ")
