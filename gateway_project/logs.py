"""Log lines: one formatter for people, one for machines. Both name the request, and redact what looks like a key.

What callers send may be in any message, so nothing in a message can end its line or steer a terminal.
"""

from __future__ import annotations

import logging
import re
import time
from functools import lru_cache

import orjson

from completions import underway
from gateway_project.errors import redact

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


class ConsoleFormatter(logging.Formatter):
    """`21:40:03 INFO gateway.ledger: adopted 3 records segment=…`; what follows of a traceback is indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        line = super().formatMessage(record)
        return escape(line + "".join(f" {name}={value}" for name, value in fields_of(record).items()))

    def format(self, record: logging.LogRecord) -> str:
        first, *more = super().format(record).split("\n")
        return redact("\n".join([first, *(f"  {escape(line)}" for line in more)]))


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
        return redact(orjson.dumps(line, default=str).decode())
