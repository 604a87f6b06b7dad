"""What `manage.py` itself says, whatever the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "VAR_DIR": str(directory)},
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
