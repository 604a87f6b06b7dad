"""Why a request goes where it goes: which adapters would be tried in which order, and why each other one is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from completions import explanation
from gateway_project.errors import GatewayError


class Command(BaseCommand):
    help = "Show the plan for a request to a model, and why each adapter ranks or is left out. Nothing is sent."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="an id or alias from GET /v1/models")
        parser.add_argument("--body", type=Path, metavar="FILE", help="JSON file with the request as a caller sends it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            body = explanation.read_body(options["body"]) if options["body"] else {}
            for line in explanation.explain(options["model"], body):
                self.stdout.write(line)
        except (GatewayError, OSError) as error:
            raise CommandError(str(error)) from error
