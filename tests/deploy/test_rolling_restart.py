"""Workers that are replaced under load: `manage.py serve --workers 2` and the signal of `systemctl reload`."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from tests.deploy.kept_clients import Clients
from tests.deploy.supervision import Served, workers_of
from tests.fakes.catalogue import seed
from tests.live import until

WORKERS = 2
REPLACED_WITHIN_S = 120
TRIES = 3


@pytest.fixture
def gateway(tmp_path, fake, migrated_database):
    models = {"fake/ok": "ok", "fake/stream": "ok?tokens=5&delay=0.02"}
    options = ("--workers", str(WORKERS))
    with Served(tmp_path / "gateway", seed(fake, models), database=migrated_database, options=options) as running:
        until(lambda: len(workers_of(running.pid)) == WORKERS, "both workers run", 30)
        yield running


async def replace_workers(gateway: Served) -> None:
    before = workers_of(gateway.pid)

    def are_replaced() -> bool:
        return len(now := workers_of(gateway.pid)) == WORKERS and not now & before

    for times in range(1, TRIES + 1):
        os.kill(gateway.pid, signal.SIGHUP)
        # On a busy machine a worker may start too slowly for its parent, which then keeps the old one and says so.
        was_given_up = partial(_has_said, gateway, "aborting the restart", times)
        await asyncio.to_thread(_until_either, are_replaced, was_given_up)
        if are_replaced():
            return
    raise AssertionError(f"no new workers after {TRIES} tries:\n{gateway.log}")


def _until_either(first: Callable[[], bool], second: Callable[[], bool]) -> None:
    until(lambda: first() or second(), "two new workers", REPLACED_WITHIN_S)


def _has_said(gateway: Served, what: str, times: int) -> bool:
    return gateway.log.count(what) >= times


async def test_a_rolling_restart_under_load_loses_no_request(gateway):
    clients = Clients(gateway.url)
    await clients.during(asyncio.ensure_future(replace_workers(gateway)))

    assert clients.failures == []
    query = "SELECT request_id FROM api_logs WHERE status_code = 200"
    until(lambda: len(gateway.sql(query)) >= len(clients.ids), "every answer has its row", 20)
    assert Counter(row["request_id"] for row in gateway.sql(query)) == Counter(clients.ids), "once each, and nothing else"
    assert gateway.terminate() == 0
    assert "Traceback" not in gateway.log
