"""Fixtures for tests that need a provider or a running gateway, and the choice of the database under all tests.

`pytest --database=postgres` runs everything on a real PostgreSQL: Django's test database and those of live gateways.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connections

from tests import postgres
from tests.databases import PostgresDatabase, SqliteFile, Template
from tests.fakes.provider import FakeProvider
from tests.live import Gateway
from tests.postgres import Postgres

StartGateway = Callable[..., Gateway]
CHOSEN_SERVER = pytest.StashKey[Postgres | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=("sqlite", "postgres"), default="sqlite", help="what all tests keep rows in")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CHOSEN_SERVER] = None
    # The worker of a gateway that runs beside the tests is no part of them.
    settings.EMBEDDED_WORKER = False
    if config.getoption("--database") != "postgres":
        return
    stack = ExitStack()
    config.add_cleanup(stack.close)
    config.stash[CHOSEN_SERVER] = server = stack.enter_context(postgres.running())
    counted = {**server.settings("gateway"), "ENGINE": "django_prometheus.db.backends.postgresql"}
    settings.DATABASES["default"] = connections.configure_settings({"default": counted})["default"]
    # Start-up may have opened the other one.
    connections["default"].close()
    del connections["default"]


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """Of several test processes each has a database of its own: in memory, or on a server that it has started itself.

    pytest-django would give them names of files otherwise, as it knows SQLite by Django's own engine only.
    """


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeProvider]:
    """The fake provider, one for all."""
    with FakeProvider() as running:
        yield running


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Template:
    """A migrated database without rows, made once, for gateways to start from."""
    directory = tmp_path_factory.mktemp("migrated")
    server = pytestconfig.stash[CHOSEN_SERVER]
    if server is None:
        file = SqliteFile(directory)
        file.path.parent.mkdir(parents=True)
        Gateway(directory, {"models": []}).manage("migrate", "--verbosity", "0")
        return file
    server.create_database("migrated")
    database = PostgresDatabase(server, "migrated")
    Gateway(directory, {"models": []}, database.environment).manage("migrate", "--verbosity", "0")
    return database


@pytest.fixture
def start_gateway(tmp_path: Path, migrated_database: Template) -> Iterator[StartGateway]:
    """Starts a gateway of its own for a test: `start_gateway(seed, KEEPALIVE_S="0.3")`. Stopped after the test."""
    started: list[Gateway] = []

    def start(seed: Mapping[str, Any], *, options: tuple[str, ...] = (), **environment: str) -> Gateway:
        directory = tmp_path / f"gateway-{len(started)}"
        gateway = Gateway(directory, seed, environment, database=migrated_database, options=options)
        started.append(gateway)
        return gateway.__enter__()

    yield start
    for gateway in started:
        gateway.__exit__()


@pytest.fixture
def marker() -> str:
    """A word that only this test uses: sent as `user`, it finds the provider's call and the row in api_logs."""
    return f"marker-{uuid.uuid4().hex[:12]}"
