"""The files through which the processes of one VAR_DIR agree on one embedded worker: a lock and its address.

Owns both files, wherever they were when the agreement began. Must not know how a worker is run, nor who wants one.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of the two files."""

    folder: Path

    @classmethod
    def configured(cls) -> Place:
        """VAR_DIR as it is now."""
        return cls(Path(settings.VAR_DIR))

    @property
    def lock_file(self) -> Path:
        return self.folder / "embedded.lock"

    @property
    def _address_file(self) -> Path:
        return self.folder / "embedded.json"

    def acquire(self) -> IO[str] | None:
        """The open lock file, or None if another process holds it. The kernel frees it when its holder dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.lock_file.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def publish(self, base_url: str) -> None:
        """Write the address for the processes that share the worker, in one step: they may be reading.

        It stays when the worker ends: its successor is to be found there.
        """
        draft = self._address_file.with_suffix(".new")
        draft.write_text(json.dumps({"base_url": base_url, "owner_pid": os.getpid()}))
        draft.replace(self._address_file)

    def withdraw(self) -> None:
        """Take the address back: somebody else is there now."""
        self._address_file.unlink(missing_ok=True)

    def published(self) -> str:
        """The address last written, or an empty string where none can be read; whether anybody answers there is not said."""
        try:
            return str(json.loads(self._address_file.read_text())["base_url"])
        except (OSError, ValueError, KeyError):
            return ""


def port_of(base_url: str) -> int:
    """Its port, or 0 for an address without one."""
    return urlsplit(base_url).port or 0


def is_free(port: int) -> bool:
    """Whether a worker could listen on loopback `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
