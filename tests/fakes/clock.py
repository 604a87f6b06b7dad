"""An event loop whose time passes only while everything waits: an hour of timeouts takes as long as its callbacks."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from unittest import mock

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Instead of waiting for its next timer it moves its clock there. For code that waits for nothing outside the process."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_Skipping(self))

    def time(self) -> float:
        return self.now

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end, with `time.monotonic` telling this loop's time."""
        with mock.patch.object(time, "monotonic", self.time):
            return self.run_until_complete(work)


class _Skipping(selectors.DefaultSelector):
    """A selector that never sleeps."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everything waits for something that never happens"
            self._loop.now += timeout
        return ready
