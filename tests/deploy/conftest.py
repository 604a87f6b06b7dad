"""Gateways as production runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.databases import Template
from tests.deploy.supervision import Served, Supervised
from tests.fakes.catalogue import seed
from tests.fakes.provider import FakeProvider

MODELS = {"fake/ok": "ok", "fake/slow-stream": "ok?tokens=20&delay=0.05", "fake/flood": "ok?tokens=60000"}


@pytest.fixture
def supervise(tmp_path: Path, fake: FakeProvider, migrated_database: Template) -> Iterator[Callable[..., Supervised]]:
    """Starts a gateway under a supervisor: `supervise("--workers", "2", WATCHDOG_USEC="3000000")`."""
    started: list[Supervised] = []

    def start(*options: str, **environment: str) -> Supervised:
        gateway = Supervised(
            tmp_path / "gateway", seed(fake, MODELS), environment, database=migrated_database, options=options
        )
        started.append(gateway)
        gateway.__enter__()
        return gateway

    yield start
    for gateway in started:
        gateway.__exit__()


@pytest.fixture(scope="session")
def impatient_gateway(
    tmp_path_factory: pytest.TempPathFactory, fake: FakeProvider, migrated_database: Template
) -> Iterator[Served]:
    """One that gives slow clients half a second, and writes a line of JSON for each request."""
    patience = {"HEAD_TIMEOUT_S": "0.5", "BODY_TIMEOUT_S": "0.5", "SEND_TIMEOUT_S": "0.5", "MAX_BODY_MB": "1"}
    logged = {"ACCESS_LOG": "true", "LOG_FORMAT": "json"}
    directory = tmp_path_factory.mktemp("impatient") / "gateway"
    with Served(directory, seed(fake, MODELS), patience | logged, database=migrated_database) as gateway:
        yield gateway
