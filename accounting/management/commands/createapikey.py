"""Make an API key from the command line, e.g. before anybody can log in to admin, or in a deployment script."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounting import keys
from catalog import amounts


class Command(BaseCommand):
    help = "Create an API key. Standard output is the key alone: it is shown this once and cannot be read back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True, help="who or what uses it, e.g. ci")
        parser.add_argument("--management", action="store_true", help="it may use the account endpoints")
        parser.add_argument("--limit", metavar="USD", help="spend limit, e.g. 25 (default: none)")
        parser.add_argument(
            "--reset", choices=["daily", "weekly", "monthly"], default="", help="when the limit starts anew"
        )
        parser.add_argument("--expires", metavar="DATE", help="2027-01-31 (its first moment, UTC) or 2027-01-31T18:00")

    def handle(self, *args: Any, **options: Any) -> str:
        if options["reset"] and not options["limit"]:
            raise CommandError(f"--reset {options['reset']} needs a limit to reset; add e.g. --limit 25")
        try:
            row, secret = keys.mint(
                options["name"],
                is_management=options["management"],
                limit_usd=_amount(options["limit"]),
                limit_reset=options["reset"],
                expires_at=_moment(options["expires"]),
            )
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self.stderr.write(f"Created {'management ' if row.is_management else ''}key {row}. It is shown only now:")
        return secret


def _amount(given: str | None) -> Decimal | None:
    amount = amounts.read(given) if given else None
    if given and amount is None:
        raise CommandError(f"--limit {given} is not an amount; give USD, e.g. --limit 25")
    return amount


def _moment(given: str | None) -> datetime | None:
    if not given:
        return None
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise CommandError(f"--expires {given} is not a date; give e.g. --expires 2027-01-31") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= timezone.now():
        raise CommandError(f"--expires {given} is in the past; the key would never work")
    return moment
