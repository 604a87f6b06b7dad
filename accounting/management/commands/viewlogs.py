from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounting import moments, viewing
from accounting.models import RequestLog


class Command(BaseCommand):
    """What happened lately, for somebody at a terminal who does not want to open admin."""

    help = "Print request logs, newest last."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--model", help="Only this model id, e.g. deepseek-chat.")
        parser.add_argument("--status", help="Only this status: 429, 5xx, ok or failed.")
        parser.add_argument("--since", help="Only since then: 15m, 2h, 7d ago, or 2026-11-20T12:30 (UTC).")
        parser.add_argument("--limit", type=int, default=20, help="At most so many (default 20).")
        parser.add_argument("--follow", action="store_true", help="Go on printing new ones until interrupted.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["limit"] < 0:
            raise CommandError(f"--limit {options['limit']} is below 0; give a number of lines, e.g. --limit 50")
        logs = RequestLog.objects.all()
        try:
            if options["since"]:
                logs = logs.between(moments.parse(options["since"], timezone.now()), None)
            if options["status"]:
                logs = viewing.with_status(logs, options["status"])
        except ValueError as error:
            raise CommandError(str(error)) from error
        if options["model"]:
            logs = logs.filter(model_id=options["model"])
        show = viewing.follow if options["follow"] else viewing.latest
        try:
            for log in show(logs, options["limit"]):
                self.stdout.write(viewing.line(log))
                self.stdout.flush()
        except KeyboardInterrupt:
            return
