"""A worker that dies: `manage.py serve --workers 2` starts another one, and says so."""

from __future__ import annotations

import os
import re
import signal

from tests.deploy.supervision import Served, workers_of
from tests.fakes.catalogue import seed
from tests.live import until

UVICORNS = re.compile(r"(?:parent|child) process \[", re.IGNORECASE)
"""Of what uvicorn says of its processes."""


def test_a_worker_that_dies_is_replaced_and_leaves_a_line(tmp_path, fake, migrated_database):
    with Served(tmp_path, seed(fake, {"fake/ok": "ok"}), database=migrated_database, options=("--workers", "2")) as gateway:
        until(lambda: len(workers_of(gateway.pid)) == 2, "both workers run", 30)
        assert "WARNING" not in gateway.log, "a normal start warns of nothing"
        assert not UVICORNS.search(gateway.log), "nor does it tell of its processes"
        victim = min(workers_of(gateway.pid))
        os.kill(victim, signal.SIGKILL)
        line = f"WARNING gateway.server: worker {victim} has died; another one is started in its place"
        until(lambda: line in gateway.log, "the death is told", 30)
        until(lambda: len(workers_of(gateway.pid) - {victim}) == 2, "another one runs", 30)
        assert gateway.terminate() == 0
        assert gateway.log.count("WARNING") == 1
        assert not UVICORNS.search(gateway.log)
