"""The snapshot: everything a request needs to know, in one immutable value that is swapped whole.

Owns the current snapshot of this process and the thread that follows the database's revision number. The request path only
ever reads `current()`: no query, no file, no lock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

import accounting.loader
import catalog.loader
import routingapp.loader
from accounting.keys import KeyRing
from catalog import environment, revision
from catalog.entries import Catalogue
from completions.transport.request import Unsendable
from completions.upstream import Endpoint, prepare
from gateway_project.errors import InternalError
from routingapp.entries import RoutingTable

log = logging.getLogger("gateway.snapshot")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view of catalogue, routing and keys. `endpoints` holds prepared URLs and headers by adapter id."""

    catalogue: Catalogue
    routing: RoutingTable
    keys: KeyRing
    revision: int = 0
    loaded_at: float = 0.0
    endpoints: Mapping[int, Endpoint] = field(default_factory=lambda: MappingProxyType({}), repr=False)


_current: Snapshot | None = None
_checked_at = 0.0


def current() -> Snapshot:
    """The snapshot in force. Raises `InternalError` before the first one is loaded."""
    if _current is None:
        raise InternalError("The gateway has not loaded its catalogue yet; try again in a moment.")
    return _current


def is_loaded() -> bool:
    return _current is not None


def checked_at() -> float:
    """When the database last said that the snapshot is the newest (epoch seconds)."""
    return _checked_at


def load() -> Snapshot:
    """Read everything from the database and put it in force."""
    global _current, _checked_at
    # The number is read first: an edit that happens meanwhile is loaded again rather than missed.
    number = revision.current()
    catalogue, endpoints = _prepared(catalog.loader.load(environment.lookup))
    _current = Snapshot(
        catalogue=catalogue,
        routing=routingapp.loader.load(offload=settings.OFFLOAD),
        keys=accounting.loader.load(),
        revision=number,
        loaded_at=time.time(),
        endpoints=MappingProxyType(endpoints),
    )
    _checked_at = _current.loaded_at
    return _current


def _prepared(catalogue: Catalogue) -> tuple[Catalogue, dict[int, Endpoint]]:
    """What is needed to call each configured adapter. One that HTTP cannot call is unconfigured in what is given back, with why."""
    endpoints: dict[int, Endpoint] = {}
    flaws: dict[int, str] = {}
    for model in catalogue.models:
        for adapter in model.adapters:
            if adapter.unconfigured is None:
                try:
                    endpoints[adapter.id] = prepare(adapter, environment.lookup)
                except Unsendable as flaw:
                    flaws[adapter.id] = str(flaw)
                    log.warning("%s at %s cannot be called: %s", model.id, adapter.provider.slug, flaw)
    if flaws:
        models = [
            replace(
                model,
                adapters=tuple(
                    replace(each, unconfigured=flaws.get(each.id, each.unconfigured)) for each in model.adapters
                ),
            )
            for model in catalogue.models
        ]
        catalogue = Catalogue.of(models, prices_change_at=catalogue.prices_change_at)
    return catalogue, endpoints


class Follower(threading.Thread):
    """Reloads the snapshot within `poll_s` of a change, or of the moment at which a price comes into force.

    A database that is away leaves the present snapshot in force.
    """

    def __init__(self, poll_s: float) -> None:
        super().__init__(name="snapshot-follower", daemon=True)
        self._poll_s = poll_s
        self._stopping = threading.Event()
        self._is_failing = False

    def run(self) -> None:
        global _checked_at
        while not self._stopping.wait(self._poll_s):
            try:
                if revision.current() != current().revision or time.time() >= current().catalogue.prices_change_at:
                    loaded = load()
                    log.info("catalogue revision %d is live: %d models", loaded.revision, len(loaded.catalogue.models))
                _checked_at = time.time()
                self._is_failing = False
            except DatabaseError as error:
                if not self._is_failing:
                    log.warning("the catalogue cannot be read; serving revision %d: %s", current().revision, error)
                self._is_failing = True
                close_old_connections()
            except Exception:  # A row that cannot be read must not end the following of all later edits.
                if not self._is_failing:
                    log.exception("the catalogue cannot be loaded; serving revision %d", current().revision)
                self._is_failing = True
        connection.close()

    def stop(self) -> None:
        self._stopping.set()
        self.join(timeout=5)
