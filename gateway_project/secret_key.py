"""SECRET_KEY: as it was given, or generated once into VAR_DIR."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from gateway_project.variables import Variables


def read(variables: Variables, var_dir: Path) -> str:
    """The key. `check --deploy` warns about a generated one."""
    given = variables.secret("SECRET_KEY")
    if given or variables.is_given("SECRET_KEY"):
        return given
    path = var_dir / "secret_key"
    try:
        return _made_once(path) or variables.refuse(
            f"{path} is empty; put back the key that was generated there, or remove the file for a new one, which makes every API "
            "key and session unknown; or set SECRET_KEY",
            "",
        )
    except OSError as error:
        return variables.refuse(
            f"SECRET_KEY is not set and {path} cannot be written: {error}; set VAR_DIR to another folder", ""
        )


def _made_once(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        key = secrets.token_urlsafe(48)
        file.write(key)
        return key
