"""deploy/requirements.txt: what production installs is pinned, hashed, and in step with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires

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
