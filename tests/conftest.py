"""Fixtures for tests that need a provider or a running gateway. Others need nothing from here."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.provider import FakeProvider
from tests.live import Gateway

StartGateway = Callable[..., Gateway]


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeProvider]:
    """The fake provider, one for all."""
    with FakeProvider() as running:
        yield running


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty, migrated SQLite file, made once, for gateways to start from."""
    gateway = Gateway(tmp_path_factory.mktemp("migrated"), {"models": []})
    gateway.database_path.parent.mkdir(parents=True)
    gateway.manage("migrate", "--verbosity", "0")
    return gateway.database_path


@pytest.fixture
def start_gateway(tmp_path: Path, migrated_database: Path) -> Iterator[StartGateway]:
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
