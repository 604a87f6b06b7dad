from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from accounting import readmission


class Command(BaseCommand):
    """For after the cause was cured for which request logs were refused: a full column, a bug, a disk that tore a line."""

    help = "Put request logs that could not be stored (rejected.ndjson) back into the journal, and list them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only list them.")

    def handle(self, *args: Any, **options: Any) -> str:
        directory = Path(settings.JOURNAL_DIR)
        found = readmission.refused(directory) if options["dry_run"] else readmission.readmit(directory)
        for one in found:
            self.stdout.write(f"{one.name}  {one.fault or 'can be read'}")
        readable = sum(one.fault is None for one in found)
        verb = "would be" if options["dry_run"] else "were"
        return f"{readable} request logs {verb} put back into the journal; {len(found) - readable} cannot be read and stay."
