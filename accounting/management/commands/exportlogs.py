from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounting import export, moments


class Command(BaseCommand):
    """Request logs for a spreadsheet, a warehouse or an archive before `prunelogs`."""

    help = "Write request logs to standard output, oldest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from", dest="start", help="From then on: 2026-11-01, 2026-11-01T12:30 (UTC) or 7d ago.")
        parser.add_argument("--to", dest="end", help="Before that time; the same forms.")
        parser.add_argument("--format", choices=export.FORMATS, default="ndjson")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        try:
            start, end = (moments.parse(text, now) if text else None for text in (options["start"], options["end"]))
        except ValueError as error:
            raise CommandError(str(error)) from error
        if start and end and start >= end:
            raise CommandError(f"--from {options['start']} is not before --to {options['end']}; swap them")
        lines = export.as_csv(start, end) if options["format"] == "csv" else export.ndjson(start, end)
        for line in lines:
            self.stdout.write(line, ending="")
