"""Loads models.yaml and routing.yaml into the database.

The files are the seed of the catalogue: this makes rows of them, and can be run again after every edit. What has been edited
in admin since the last run is left as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.seed.problems import SeedRefused
from routingapp import seed


class Command(BaseCommand):
    help = "Loads models.yaml and routing.yaml into the database. Edits made in admin are kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", nargs="?", type=Path, help="The models file; without it, MODELS_CONFIG.")
        parser.add_argument("--routing", type=Path, help="The routing file; without it, ROUTING_CONFIG where it exists.")
        parser.add_argument("--dry-run", action="store_true", help="Print what would change, and change nothing.")
        parser.add_argument("--prune", action="store_true", help="Disable what is no longer in the file.")
        parser.add_argument("--force", action="store_true", help="Overwrite what was edited in admin.")

    def handle(self, *args: Any, **options: Any) -> str:
        try:
            report = seed.load(
                options["path"],
                options["routing"],
                dry_run=options["dry_run"],
                prune=options["prune"],
                force=options["force"],
            )
        except SeedRefused as refusal:
            count = len(refusal.problems)
            raise CommandError(f"Nothing was loaded; {count} problem{'s' if count > 1 else ''}:\n{refusal}") from refusal
        for line in report.lines(lists_gone=options["verbosity"] > 1):
            self.stdout.write(line)
        return report.summary()
