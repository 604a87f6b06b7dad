"""What `manage.py` itself says, whatever the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

MANY_LOGS = """
from django.utils import timezone
from accounting.models import RequestLog
RequestLog.objects.bulk_create(
    RequestLog(request_id=f"gen-{n}", timestamp=timezone.now(), model_id="acme/falcon", status_code=200, latency_ms=1)
    for n in range(2000)
)
"""


def environment(directory: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "VAR_DIR": str(directory)}


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(directory),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", [("viewlogs",), ("createapikey", "--name", "ci")], ids=lambda command: command[0])
def test_a_database_without_tables_is_told_with_the_command_to_run(tmp_path, command):
    result = run(tmp_path, *command)
    assert result.returncode == 1
    assert "no such table" in result.stderr
    assert "run: uv run manage.py migrate" in result.stderr
    assert "Traceback" not in result.stderr


def test_whoever_asks_for_it_sees_where_the_database_was_asked(tmp_path):
    assert "Traceback" in run(tmp_path, "viewlogs", "--traceback").stderr


@pytest.mark.parametrize("command", ["viewlogs --limit 100000", "exportlogs", "exportlogs --format csv", "help"])
def test_a_reader_that_has_enough_is_no_error(tmp_path, command):
    """As `manage.py viewlogs | head` is: the reader goes before everything is written."""
    assert run(tmp_path, "migrate", "--verbosity", "0").returncode == 0
    assert run(tmp_path, "shell", "--verbosity", "0", "-c", MANY_LOGS).returncode == 0
    process = subprocess.Popen(
        [sys.executable, "manage.py", *command.split()],
        cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    told = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert not told
