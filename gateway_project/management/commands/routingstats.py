"""What routing was told to do beside what came of it: for somebody who has just changed weights."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from completions import routing_report
from gateway_project.errors import GatewayError


class Command(BaseCommand):
    help = "Show the configured and the actual split of traffic, success, fallbacks, times, tokens and cost per adapter."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--hours", type=int, default=24, help="UTC hours back, this one included (default 24)")
        parser.add_argument("--model", help="only this model, by id or alias")
        parser.add_argument("--json", action="store_true", help="for programs, and with more detail")

    def handle(self, *args: Any, **options: Any) -> str | None:
        if options["hours"] < 1:
            raise CommandError(f"--hours {options['hours']} must be at least 1")
        try:
            report = routing_report.report(options["hours"], timezone.now(), options["model"])
        except GatewayError as error:
            raise CommandError(error.message) from error
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=2))
            return None
        for line in routing_report.table(report):
            self.stdout.write(line)
        since = f"Since {report['since']}."
        if report["attempts_since"] != report["since"]:
            first = report["attempts_since"]
            since += f" Attempts are counted since {first}." if first else " No attempts are counted yet."
        return f"{since} Times are p50/p95/p99; attempts 'stood in' where another adapter had failed."
