from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounting import retention
from accounting.models import RequestLog


class Command(BaseCommand):
    """Retention. Run it daily; the hourly statistics of requests and lifetime totals stay."""

    help = "Delete old request logs, or only the prompts and answers in them, in small batches."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=int, help="Delete request logs older than so many days.")
        parser.add_argument("--content-days", type=int, help="Forget prompts and answers older than so many days.")
        parser.add_argument("--dry-run", action="store_true", help="Only count.")

    def handle(self, *args: Any, **options: Any) -> str:
        days, content_days = options["days"], options["content_days"]
        if days is None and content_days is None:
            raise CommandError("nothing to do; give --days N, --content-days M, or both")
        for name, value in (("--days", days), ("--content-days", content_days)):
            if value is not None and value < 1:
                raise CommandError(f"{name} {value} would reach into today; give at least 1")
        now = timezone.now()
        rows = contents = 0
        if days is not None:
            before = now - timedelta(days=days)
            old = RequestLog.objects.between(None, before)
            rows = old.count() if options["dry_run"] else retention.delete_logs(before, self._progress("deleted"))
            if not options["dry_run"]:
                retention.delete_attempts(before)
                no_longer_asked_for = now - timedelta(days=max(days, retention.PERCENTILE_DAYS))
                retention.delete_percentiles(no_longer_asked_for, self._progress("percentiles deleted"))
        if content_days is not None:
            before = now - timedelta(days=content_days)
            start = now - timedelta(days=days) if days is not None else None
            old = RequestLog.objects.between(start, before).with_content()
            contents = old.count() if options["dry_run"] else retention.delete_content(before, self._progress("cleared"))
        verb = "would be" if options["dry_run"] else "were"
        return f"{rows} request logs {verb} deleted, {contents} more {verb} stripped of their content."

    def _progress(self, verb: str) -> retention.Progress:
        return lambda number: self.stderr.write(f"{verb} {number} so far")
