"""What a live gateway keeps its rows in, SQLite or PostgreSQL: made from a template, asked and changed behind its back.

Statements are written once, with `?` for parameters, and answered alike: JSON as text, decimals as floats.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.rows import dict_row
from psycopg.types.numeric import FloatLoader
from psycopg.types.string import TextLoader

from tests.postgres import Postgres


class LiveDatabase(Protocol):
    """The database of one gateway. `environment` is what that gateway must be told of it."""

    vendor: str
    environment: Mapping[str, str]

    def query(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """The rows of a query, which cannot write."""

    def change(self, statement: str, *parameters: Any) -> None:
        """Run and commit one statement."""

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Nobody writes request logs for the length of a `with` block; reading goes on."""


class Template(Protocol):
    """A migrated database without rows, for gateways to start from."""

    def copy_into(self, directory: Path) -> LiveDatabase:
        """A copy for the gateway whose VAR_DIR is `directory`."""


class SqliteFile:
    """In its default place below `directory`, so that the gateway is told nothing."""

    vendor = "sqlite"
    environment: Mapping[str, str] = {}

    def __init__(self, directory: Path) -> None:
        self.path = directory / "db" / "openrouter_logs.db"

    def copy_into(self, directory: Path) -> SqliteFile:
        copy = SqliteFile(directory)
        copy.path.parent.mkdir(parents=True)
        shutil.copyfile(self.path, copy.path)
        return copy

    def query(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(statement, parameters)]

    def change(self, statement: str, *parameters: Any) -> None:
        with contextlib.closing(sqlite3.connect(self.path, timeout=5)) as database, database:
            database.execute(statement, parameters)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=5)) as database:
            database.execute("BEGIN IMMEDIATE")
            yield
            database.rollback()


class PostgresDatabase:
    """One database of a server that all gateways of a test run share."""

    vendor = "postgresql"
    _numbers = itertools.count()

    def __init__(self, server: Postgres, name: str) -> None:
        self._server = server
        self._name = name
        settings = server.settings(name)
        self._address = {"host": settings["HOST"], "user": settings["USER"], "dbname": name}
        self.environment: Mapping[str, str] = {
            "USE_SQLITE_LOG": "false",
            "DATABASE_URL": f"postgres://{settings['USER']}@/{name}?host={settings['HOST']}",
        }

    def copy_into(self, directory: Path) -> PostgresDatabase:
        name = f"{directory.name}-{next(self._numbers)}"
        self._server.create_database(name, template=self._name)
        return PostgresDatabase(self._server, name)

    def query(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        with self._connection() as database:
            database.read_only = True
            cursor = database.cursor(row_factory=dict_row)
            return cursor.execute(_marked(statement), parameters).fetchall()

    def change(self, statement: str, *parameters: Any) -> None:
        with self._connection() as database:
            database.execute(_marked(statement), parameters)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with self._connection() as database:
            database.execute("LOCK TABLE api_logs IN EXCLUSIVE MODE")
            yield

    def _connection(self) -> psycopg.Connection:
        database = psycopg.connect(**self._address, options="-c timezone=UTC")
        database.adapters.register_loader("numeric", FloatLoader)
        database.adapters.register_loader("jsonb", TextLoader)
        return database


def _marked(statement: str) -> bytes:
    return statement.replace("%", "%%").replace("?", "%s").encode()
