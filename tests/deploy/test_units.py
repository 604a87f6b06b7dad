"""The systemd units: systemd's own tools find nothing wrong, and what they say fits the settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_project import server, settings
from tests.live import ROOT

UNITS = ROOT / "deploy" / "systemd"
PYTHON = "/opt/gateway/.venv/bin/python"
SERVICES = ("gateway.service", "gateway-prune.service")

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="no systemd-analyze (apt-get install systemd)"
)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units, with the interpreter of this machine instead of production's, which need not be here."""
    copies = []
    for unit in UNITS.iterdir():
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text().replace(PYTHON, sys.executable))
        copies.append(copy)
    return sorted(copies)


@needs_systemd
def test_systemd_reads_every_unit_without_complaint(units):
    assert len(units) == 4
    found = run("systemd-analyze", "verify", *units)
    ours = [line for line in (found.stdout + found.stderr).splitlines() if "gateway" in line]
    assert ours == []


@needs_systemd
@pytest.mark.parametrize("service", SERVICES)
def test_systemd_calls_the_exposure_ok(service):
    found = run("systemd-analyze", "security", "--offline=yes", "--threshold=20", UNITS / service)
    if "unrecognized option" in found.stderr:
        pytest.skip("this systemd-analyze cannot judge a file that is not loaded (before 250)")
    assert found.returncode == 0, found.stdout[-300:]
    assert re.search(r"Overall exposure level for \S+: [0-2]\.\d OK", found.stdout)


def directive(unit: str, name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", (UNITS / unit).read_text(), re.M)
    return str(value)


def test_systemd_waits_longer_for_the_end_than_the_gateway_takes():
    assert int(directive("gateway.service", "TimeoutStopSec")) > 2 * settings.SHUTDOWN_GRACE_S


def test_the_gateway_leaves_the_socket_as_long_a_queue_as_systemd_gave_it():
    assert int(directive("gateway.socket", "Backlog")) == server.BACKLOG


@pytest.mark.parametrize("service", SERVICES)
def test_every_unit_runs_a_command_that_exists(service):
    command = directive(service, "ExecStart").removeprefix(f"{PYTHON} manage.py ").split()
    options = [word for word in command if word.startswith("--")]
    found = run(sys.executable, ROOT / "manage.py", command[0], "--help")
    assert found.returncode == 0, found.stderr
    assert [option for option in options if option not in found.stdout] == []
