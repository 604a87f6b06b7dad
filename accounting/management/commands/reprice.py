from __future__ import annotations

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounting import moments, repricing
from accounting.models import RequestLog
from catalog.prices import plain


class Command(BaseCommand):
    """A price was missing, wrong, or announced for the past: add the row in admin, then correct what was charged."""

    help = "Charge stored requests anew at the prices that were in force when they arrived, and keep a trail."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--from", dest="start", required=True, help="Since then: 2h, 7d ago, or 2026-11-20T12:30 (UTC)."
        )
        parser.add_argument("--to", dest="end", default="0s", help="Before then; without it, until now.")
        parser.add_argument("--model", help="Only this model id, e.g. deepseek-chat.")
        parser.add_argument("--adapter", type=int, help="Only the adapter with this number.")
        parser.add_argument(
            "--published",
            action="store_true",
            help="Also requests of adapters without a price of their own, at their model's present price.",
        )
        parser.add_argument("--by", default=getpass.getuser(), help="Whose name the trail shows; without it, yours.")
        parser.add_argument("--dry-run", action="store_true", help="Only compute.")

    def handle(self, *args: Any, **options: Any) -> str:
        now = timezone.now()
        try:
            logs = RequestLog.objects.between(moments.parse(options["start"], now), moments.parse(options["end"], now))
        except ValueError as error:
            raise CommandError(str(error)) from error
        if options["model"]:
            logs = logs.filter(model_id=options["model"])
        if options["adapter"] is not None:
            logs = logs.filter(adapter_id=options["adapter"])
        try:
            done = repricing.reprice(logs, options["by"][:150], published=options["published"], dry_run=options["dry_run"])
        except (repricing.UnreadablePrice, LookupError) as error:
            raise CommandError(f"Stopped; batches before this one are done. {error}") from error
        verb = "would be" if options["dry_run"] else "were"
        old, new = plain(done.old_usd), plain(done.new_usd)
        return (
            f"Of {done.requests} requests {done.corrected} {verb} corrected, from {old} to {new} USD; "
            f"{done.unpriced} have no price of that time and stay as they are; {done.free} had no answer to charge."
        )
