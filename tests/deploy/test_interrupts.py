"""Ctrl-C in front of `manage.py serve`, and again while it waits for a stream to end."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.deploy.supervision import Served
from tests.fakes.catalogue import seed


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one worker", "two workers"])
def test_a_second_ctrl_c_ends_streams_at_once_and_quietly(tmp_path, fake, migrated_database, marker, options):
    models = seed(fake, {"fake/long": "ok?tokens=2000&delay=0.05"})
    body = {"model": "fake/long", "stream": True, "user": marker, "messages": [{"role": "user", "content": "go on"}]}
    with Served(tmp_path, models, database=migrated_database, options=options) as gateway:
        with gateway.client.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()
            assert any('"content"' in line for line in lines)
            os.killpg(gateway.pid, signal.SIGINT)  # as a terminal does: to all processes of the command
            time.sleep(0.5)
            assert '"content"' in "".join(next(lines) for _ in range(4)), "the first one lets streams go on"
            os.killpg(gateway.pid, signal.SIGINT)
            events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        assert "is shutting down" in json.loads(events[-2] if events[-1] == "[DONE]" else events[-1])["error"]["message"]
        assert gateway.wait_for_the_end() == 0
        assert gateway.log.endswith("Stopped.\n")
        assert not [word for word in ("Traceback", "ERROR", "WARNING") if word in gateway.log]
        assert gateway.row(user_id=marker)["status_code"] == 503
