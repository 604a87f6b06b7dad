"""Real databases for the ledger's tests: a SQLite file and a PostgreSQL server, migrated once and copied for each test."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from accounting.ledger import Ledger
from accounting.models import (
    ApiKey,
    HourlyAttempt,
    HourlyError,
    HourlySketch,
    HourlySpread,
    HourlyUsage,
    RequestLog,
    SlotUsage,
    UsageTotal,
)
from accounting.record import Attempt, Record
from catalog.models import Adapter, LanguageModel, Provider
from tests import postgres as postgres_server
from tests.postgres import Postgres


@dataclass(frozen=True)
class Database:
    """A database of its own for one test. `alias` is its name in Django; `adapter`, `model` and `key` are its only rows."""

    alias: str
    vendor: str
    adapter: Adapter
    key: ApiKey

    @property
    def model(self) -> LanguageModel:
        return self.adapter.model

    def rows(self, table: str, columns: str = "*", where: str = "1 = 1") -> list[tuple[Any, ...]]:
        with connections[self.alias].cursor() as cursor:
            cursor.execute(f"SELECT {columns} FROM {table} WHERE {where}")
            return cursor.fetchall()

    def count(self, table: str = "api_logs") -> int:
        return self.rows(table, "COUNT(*)")[0][0]


def connect(alias: str, database: dict[str, Any]) -> None:
    """Make `alias` known to Django."""
    connections.settings[alias] = connections.configure_settings({"default": {}, alias: database})[alias]


def disconnect(alias: str) -> None:
    connections[alias].close()
    del connections[alias]
    del connections.settings[alias]


def sqlite(path: Path) -> dict[str, Any]:
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": _SQLITE_OPTIONS}


# As in gateway_project.settings, but with less patience: no test may take ten seconds to find a lock.
_SQLITE_OPTIONS = {
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=300;",
    "transaction_mode": "IMMEDIATE",
    "timeout": 0.3,
}


def populated(alias: str, vendor: str) -> Database:
    provider = Provider.objects.using(alias).create(slug="acme", name="Acme", base_url="https://acme.example/v1")
    model = LanguageModel.objects.using(alias).create(public_id="acme/falcon", name="Falcon", owned_by="acme")
    adapter = Adapter.objects.using(alias).create(model=model, provider=provider, upstream_model="falcon")
    key = ApiKey.objects.using(alias).create(name="ci", hash="0" * 64, label="sk-or-v1-000...000")
    return Database(alias, vendor, adapter, key)


def wait_for(condition: Callable[[], object], timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def journal_lines(directory: Path) -> list[bytes]:
    return [line for path in directory.glob("[0-9]*.ndjson") for line in path.read_bytes().splitlines()]


def orphan(directory: Path, *lines: bytes, name: str = "1-1.ndjson") -> None:
    """What a dead process leaves behind."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_bytes(b"".join(lines))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_server.running() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    connect("template", sqlite(path))
    with django_db_blocker.unblock():
        call_command("migrate", database="template", verbosity=0)
        populated("template", "sqlite")
        disconnect("template")
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres: Postgres, django_db_blocker: Any) -> Iterator[Database]:
    connect("postgres", postgres.create_database("gateway"))
    with django_db_blocker.unblock():
        call_command("migrate", database="postgres", verbosity=0)
        yield populated("postgres", "postgresql")
        disconnect("postgres")


@pytest.fixture
def sqlite_database(tmp_path: Path, sqlite_template: Path, django_db_blocker: Any) -> Iterator[Database]:
    path = tmp_path / "logs.db"
    shutil.copy(sqlite_template, path)
    alias = f"sqlite-{uuid.uuid4().hex[:8]}"
    connect(alias, sqlite(path))
    with django_db_blocker.unblock():
        adapter = Adapter.objects.using(alias).select_related("model").get()
        yield Database(alias, "sqlite", adapter, ApiKey.objects.using(alias).get())
        disconnect(alias)


@pytest.fixture
def postgres_database(migrated_postgres: Database, django_db_blocker: Any) -> Iterator[Database]:
    """The server's one database, without a trace of earlier tests."""
    rows = (RequestLog, UsageTotal, HourlyUsage, HourlyError, HourlySketch, HourlySpread, HourlyAttempt, SlotUsage)
    tables = (row._meta.db_table for row in rows)
    with django_db_blocker.unblock():
        with connections["postgres"].cursor() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY")
        yield migrated_postgres
        connections["postgres"].close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    """Each test that asks for it runs on both."""
    return request.getfixturevalue(f"{request.param}_database")


@pytest.fixture
def journal_dir(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def start_ledger(journal_dir: Path) -> Iterator[Callable[[Database], Ledger]]:
    """Starts a ledger on `journal_dir`, like one process of the gateway. Stopped after the test."""
    started: list[Ledger] = []

    def start(database: Database) -> Ledger:
        ledger = Ledger(journal_dir, using=database.alias)
        ledger.start()
        started.append(ledger)
        return ledger

    yield start
    for ledger in started:
        ledger.stop(5)


@pytest.fixture
def new_record() -> Callable[..., Record]:
    """A finished, successful request of the database's adapter and key: `new_record(database, status_code=502)`."""

    def new(database: Database, **fields: Any) -> Record:
        pk = database.adapter.pk
        served: dict[str, Any] = {
            "model_id": database.model.public_id,
            "provider": "Acme",
            "adapter_id": pk,
            "api_key_id": database.key.pk,
            "status_code": 200,
            "latency_ms": 812,
            "ttft_ms": 120,
            "prompt_tokens": 90,
            "completion_tokens": 10,
            "total_tokens": 100,
            "cost_usd": "0.000123000001",
            "prices": {"prompt": "0.000001"},
            "attempts": [Attempt(pk, "Acme", "falcon", status=200)],
        }
        served |= {"request_id": f"gen-{uuid.uuid4().hex}", "timestamp": 1_763_851_000.25}
        return Record(**served | fields)

    return new
