"""Where the values behind `${VAR}` come from: the process environment, or a file that `VAR_FILE` names.

Called when a snapshot is built, never on the request path. Values are handed on, never kept, logged or put into a message.
"""

from __future__ import annotations

import os
from pathlib import Path

from catalog.entries import Unconfigured


class UnreadableFile(Unconfigured):
    """`NAME_FILE` is set, but the file it names cannot be read. `str()` names both."""

    def __init__(self, variable: str, path: str, cause: str) -> None:
        super().__init__(variable)
        self.args = (f"{variable}_FILE names {path}, which cannot be read: {cause}",)


def lookup(name: str) -> str | None:
    """The value of environment variable `name`, else the stripped content of the file named by `name`_FILE, else None.

    An empty variable counts as unset. Raises `UnreadableFile` where the file is named but cannot be read.
    """
    value = os.environ.get(name)
    if value:
        return value
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UnreadableFile(name, path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise UnreadableFile(name, path, "it is not UTF-8 text") from error
