"""Start-up: what a process has done before it calls itself ready."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.live import ENVIRONMENT, ROOT, START_WITHIN_S

STARTING = """
import asyncio, sys
from gateway_project.asgi import lifespan

async def start():
    await lifespan.startup()
    assert "gateway_project.console.urls" in sys.modules, "the first request would import the console"
    await lifespan.shutdown()

asyncio.run(start())
"""


def test_all_views_are_imported_before_the_first_request(tmp_path):
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "VAR_DIR": str(tmp_path), **ENVIRONMENT}
    started = subprocess.run(
        [sys.executable, "-c", STARTING], cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        timeout=START_WITHIN_S,
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
