"""Known vulnerabilities of what production installs, and how much of it could be looked up: `python .ci/audit_requirements.py`.

`pip-audit` asks PyPI. Behind a mirror that has packages but no advisories it looks nothing up, and yet says that nothing was found
(2.10, seen 2026-11); so what it skipped is counted here, and said. Ends with 1 for a vulnerability, and where AUDIT=required also
for what was not looked up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REQUIREMENTS = Path(__file__).resolve().parent.parent / "deploy" / "requirements.txt"
AUDITOR = (
    "uvx",
    "--quiet",
    "pip-audit>=2.10,<3",
    "--disable-pip",
    "--require-hashes",
    "--progress-spinner=off",
    "--format=json",
)
PATIENCE_S = 120


def found(packages: Sequence[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """A line for each vulnerability, and the names of the packages that were not looked up."""
    vulnerable = [
        f"{package['name']} {package['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for package in packages
        for flaw in package.get("vulns", ())
    ]
    return vulnerable, [package["name"] for package in packages if "skip_reason" in package]


def look_up() -> tuple[list[dict[str, Any]], str]:
    """What the auditor says of each package; and, where it says nothing, why not."""
    try:
        run = subprocess.run(  # noqa: S603  nothing in it comes from outside
            [*AUDITOR, "--requirement", str(REQUIREMENTS)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        return json.loads(run.stdout)["dependencies"], ""
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], str(error)
    except (ValueError, KeyError):
        return [], (run.stderr.strip().splitlines() or ["it printed nothing"])[-1]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main() -> int:
    packages, trouble = look_up()
    vulnerable, skipped = found(packages)
    if len(packages) > len(skipped):
        say("\n".join(vulnerable) or f"no known vulnerability in {len(packages) - len(skipped)} packages")
    is_incomplete = bool(skipped or trouble or not packages)
    if is_incomplete:
        why = trouble or f"the index has no advisories for {len(skipped)} of {len(packages)} packages"
        say(f"NOT AUDITED: {why}. Run this where PyPI itself is reached.")
    return 1 if vulnerable or (is_incomplete and os.environ.get("AUDIT") == "required") else 0


if __name__ == "__main__":
    sys.exit(main())
