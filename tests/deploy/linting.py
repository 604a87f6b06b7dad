"""Linters that come as Python packages, run as an operator would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def lint(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What `program` of the virtual environment says."""
    command = [Path(sys.executable).with_name(program), *arguments]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60, check=False)
