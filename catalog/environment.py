"""Where the values behind `${VAR}` come from: the process environment, a file that `VAR_FILE` names, or an announcement.

A command runs beside the server and has not its environment: what the server found out for itself, it announces.

Called when a snapshot is built, never on the request path. Values are handed on, never kept, logged or put into a message.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from catalog.entries import NotAnnounced, Unconfigured

_announced: dict[str, tuple[Callable[[], str | None], str]] = {}


class UnreadableFile(Unconfigured):
    """`NAME_FILE` is set, but the file it names cannot be read. `str()` names both."""

    def __init__(self, variable: str, path: str, cause: str) -> None:
        super().__init__(variable)
        self.args = (f"{variable}_FILE names {path}, which cannot be read: {cause}",)


def announce(name: str, find: Callable[[], str | None], *, absence: str) -> None:
    """Let `find` give the value of `name` where the environment does not; `absence` says what it means that it finds none."""
    _announced[name] = (find, absence)


def _told(name: str) -> str | None:
    if name not in _announced:
        return None
    find, absence = _announced[name]
    if value := find():
        return value
    raise NotAnnounced(name, absence)


def lookup(name: str) -> str | None:
    """The value of environment variable `name`, else the stripped content of the file named by `name`_FILE, else None.

    An empty variable counts as unset. Raises `UnreadableFile` where the file is named but cannot be read, and `NotAnnounced`
    where another process would tell the value and none does.
    """
    value = os.environ.get(name)
    if value:
        return value
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return _told(name)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UnreadableFile(name, path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise UnreadableFile(name, path, "it is not UTF-8 text") from error
