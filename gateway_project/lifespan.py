"""Start-up and shutdown of one server process: what must be there before the first request, and what is drained at the end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.urls import reverse

from accounting import ledger
from accounting.spend_follower import SpendFollower
from catalog.seed.problems import SeedRefused
from completions import runtime, snapshot
from completions.snapshot import Follower
from gateway_project import collector, embedded, heaps, installation, server, supervisor
from gateway_project.embedded import Sharer, Worker
from gateway_project.watch import Watch

log = logging.getLogger("gateway.lifespan")

Message = Mapping[str, Any]


class Lifespan:
    """The ASGI lifespan protocol over `startup` and `shutdown`."""

    def __init__(self) -> None:
        self._follower: Follower | None = None
        self._spending: SpendFollower | None = None
        self._worker: Worker | Sharer | None = None
        self._watch = Watch()
        self._heartbeat = supervisor.Heartbeat(supervisor.watchdog_limit_s())

    async def __call__(self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
        await receive()
        try:
            await self.startup()
        except Exception as error:
            log.error(
                "the gateway cannot start: %s", error, exc_info=not isinstance(error, (ImproperlyConfigured, SeedRefused))
            )
            await self.shutdown()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    async def startup(self) -> None:
        """Database, catalogue, embedded engine, snapshot, ledger, connections: in this order, each needing the ones before."""
        heaps.share()
        self._worker = await asyncio.to_thread(_prepare)
        ledger.start()
        runtime.start()
        self._watch.start()
        self._follower = Follower(settings.SNAPSHOT_POLL_S)
        self._follower.start()
        self._spending = SpendFollower(runtime.current().pipeline.gate.budgets)
        await asyncio.to_thread(self._spending.refresh)
        self._spending.start()
        _drain_on_signals()
        _load_views()
        collector.spare()
        log.info("serving catalogue revision %d", snapshot.current().revision)
        self._heartbeat.start()
        supervisor.ready()

    async def shutdown(self) -> None:
        """The server has finished or cut off all requests by now: stop the threads and write what is left."""
        await self._heartbeat.stop()
        if self._follower is not None:
            await asyncio.to_thread(self._follower.stop)
        if self._spending is not None:
            await asyncio.to_thread(self._spending.stop)
        await runtime.stop()
        await self._watch.stop()
        await asyncio.to_thread(ledger.stop, settings.SHUTDOWN_GRACE_S)
        if self._worker is not None:
            await asyncio.to_thread(self._worker.stop)


def _prepare() -> Worker | Sharer | None:
    """Everything that needs the database, in one thread: it closes its connection behind itself."""
    try:
        with installation.one_process_at_a_time():
            migrate_if_empty()
            if (report := installation.load_catalogue()) is not None:
                log.info("the catalogue was empty: %s", report.summary())
        worker = embedded.start_if_wanted()
        snapshot.load()
        return worker
    finally:
        connection.close()


def _load_views() -> None:
    """Import all views and forms of admin, for which the first request would wait 0.2 to 0.4 s."""
    reverse("admin:index")


def _drain_on_signals() -> None:
    """Tell the runtime of a shutdown as soon as the server hears of it: the lifespan itself is told only after the draining.

    A second Ctrl-C ends the draining. uvicorn (0.54) would leave everything at once then: threads, records that are not in the
    database yet, and a traceback for each request. Only a third one makes it do so.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    heard: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)

        def on_signal(number: int, frame: FrameType | None, handler: Any = handler) -> None:
            if heard and number != signal.SIGINT:
                return  # It is ending already. A worker hears of a Ctrl-C from the terminal and then from its parent.
            heard.append(number)
            if len(heard) == 1:
                runtime.drain()
                supervisor.stopping()
            elif len(heard) == 2:
                server.cut_off(handler)
                return
            if callable(handler):
                handler(number, frame)

        signal.signal(number, on_signal)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup's wish
        signal.signal(signal.SIGHUP, _end_to_be_restarted)


def _end_to_be_restarted(number: int, frame: FrameType | None) -> None:
    """`systemctl reload` of a single process: it cannot replace itself, but end well and be started again by systemd.

    Several processes are replaced one by one by their parent, which takes SIGHUP itself.
    """
    os.kill(os.getpid(), signal.SIGTERM)


def migrate_if_empty() -> None:
    """Create the tables of an empty SQLite file. Raises `ImproperlyConfigured` with the command to run for anything else."""
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not missing:
        return
    if connection.vendor == "sqlite" and not executor.loader.applied_migrations:
        installation.migrate()
        return
    raise ImproperlyConfigured(
        f"The database lacks {len(missing)} migrations (first: {missing[0][0]}). Run: uv run manage.py migrate"
    )
