"""What tests of the pipeline on a virtual clock start from (`stage`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from accounting import ledger
from tests.completions.stage import begin_ledger
from tests.fakes.clock import VirtualLoop


@pytest.fixture
def books(tmp_path, monkeypatch) -> ledger.Ledger:
    return begin_ledger(tmp_path, monkeypatch)


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    virtual = VirtualLoop()
    yield virtual
    virtual.close()
