"""Writes the catalogue and the default policy as models.yaml and routing.yaml: what loadmodels makes the same rows of.

For a copy of what was edited in admin: to keep under version control, or to take to another gateway. Secrets are in neither.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from routingapp import export


class Command(BaseCommand):
    help = "Writes the catalogue as a models.yaml that loads back to the same rows."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", nargs="?", type=Path, help="Where to; without it, to the standard output.")
        parser.add_argument("--routing", type=Path, help="Write the default policy, as a routing.yaml, to this path.")
        parser.add_argument("--overwrite", action="store_true", help="Replace files that exist; comments in them are lost.")

    def handle(self, *args: Any, **options: Any) -> str | None:
        paths = [path for path in (options["path"], options["routing"]) if path]
        for path in paths:
            if path.exists() and not options["overwrite"]:
                raise CommandError(f"{path} exists; name another file, or replace it with --overwrite.")
        try:
            exported = export.write()
        except export.ExportRefused as refusal:
            raise CommandError(f"Nothing was written; the files could not be loaded back:\n{refusal}") from refusal
        if options["routing"]:
            if exported.routing is None:
                raise CommandError("There is no default policy to write; leave out --routing.")
            _write(options["routing"], exported.routing)
        for told in exported.left_out:
            self.stderr.write(f"Not in the files: {told}")
        if options["path"] is None:
            self.stdout.write(exported.models, ending="")
            return None
        _write(options["path"], exported.models)
        return f"Wrote {exported.summary} to {' and '.join(map(str, paths))}."


def _write(path: Path, text: str) -> None:
    """All of it or nothing: a gateway may be reading the file it replaces."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            file.write(text)
        # Readable as any file that its owner makes: a temporary one is not.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(file.name, 0o666 & ~umask)
        os.replace(file.name, path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror or error}") from error
