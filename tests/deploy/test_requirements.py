"""deploy/requirements.txt: what production installs is pinned, hashed, and in step with pyproject.toml."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.live import ROOT

TEXT = (ROOT / "deploy" / "requirements.txt").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CURE = "run deploy/export-requirements"


def pins() -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)", TEXT, re.M)
    assert len(found) > 20, "the pattern finds nothing any more"
    return {canonicalize_name(name): version for name, version in found}


def direct() -> list[Requirement]:
    return [Requirement(line) for line in PROJECT["project"]["dependencies"]]


def test_every_direct_dependency_is_pinned_within_its_range():
    pinned = pins()
    for requirement in direct():
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is missing: {CURE}"
        assert requirement.specifier.contains(version), f"{requirement.name}=={version} is outside {requirement}: {CURE}"


def test_what_direct_dependencies_need_is_pinned_too():
    pinned = pins()
    for requirement in direct():
        for line in requires(requirement.name) or []:
            needed = Requirement(line)
            wanted = needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in (requirement.extras or {""})
            )
            if wanted:
                assert canonicalize_name(needed.name) in pinned, f"{needed.name} of {requirement.name} is missing: {CURE}"


def test_every_pin_has_hashes_and_names_no_host():
    for block in re.split(r"\n(?=\w)", TEXT.split("\n", 1)[1]):
        assert "--hash=sha256:" in block, f"no hash: {block[:80]}"
    assert "://" not in TEXT
    assert not re.search(r"^\s*(-i|--(extra-)?index-url|--find-links|--trusted-host)", TEXT, re.M)


def test_neither_tests_nor_the_demo_engine_go_into_production():
    pinned = pins()
    for group in ("dev", "demo"):
        names = {
            canonicalize_name(Requirement(line).name)
            for line in PROJECT["dependency-groups"][group]
            if isinstance(line, str)
        }
        assert not names & pinned.keys()


# --- Known vulnerabilities --------------------------------------------------------------------------------------------

SAFE = {"name": "safe", "version": "1.0", "vulns": []}
FLAW = {"id": "PYSEC-2026-1", "fix_versions": ["1.1"], "aliases": [], "description": ""}
SKIPPED = {"name": "elsewhere", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def audit(directory: Path, answer: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The gate's step, with an auditor that answers `answer`."""
    auditor = directory / "uvx"
    auditor.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
    auditor.chmod(0o755)
    path = f"{directory}:{os.environ['PATH']}"
    command = [sys.executable, str(ROOT / ".ci" / "audit_requirements.py")]
    return subprocess.run(command, env={"PATH": path, **environment}, capture_output=True, text=True, check=False)


def answer(*packages: object) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_known_vulnerability_ends_the_gate(tmp_path):
    found = audit(tmp_path, answer(SAFE, {**SAFE, "name": "leaky", "vulns": [FLAW]}, SKIPPED))
    assert found.returncode == 1
    assert "leaky 1.0: PYSEC-2026-1, mended in 1.1" in found.stdout


def test_nothing_found_is_said_of_what_was_looked_up_alone(tmp_path):
    assert audit(tmp_path, answer(SAFE, SAFE)).stdout == "no known vulnerability in 2 packages\n"


@pytest.mark.parametrize("said", [answer(SKIPPED), answer(SAFE, SKIPPED), answer(), "", "no route to host"])
def test_what_was_not_looked_up_is_never_silent(tmp_path, said):
    found = audit(tmp_path, said)
    assert "NOT AUDITED: " in found.stdout
    assert found.returncode == 0
    assert audit(tmp_path, said, AUDIT="required").returncode == 1
