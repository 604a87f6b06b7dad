"""One command from a fresh clone to an answer: prepare what is missing, start the embedded worker, serve."""

from __future__ import annotations

import os
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connections

from catalog.seed.problems import SeedRefused
from gateway_project import embedded, installation, server, supervisor, welcome


class Command(BaseCommand):
    help = "Serve the gateway; at the first start also create tables, catalogue, administrator and management key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: all)")  # noqa: S104
        parser.add_argument("--port", type=int, default=settings.PORT, help="default: PORT, or 8080")
        parser.add_argument("--workers", type=int, default=1, metavar="N", help="server processes (default: 1)")
        parser.add_argument(
            "--prepared", action="store_true", help="change nothing in the database: a job has run migrate and loadmodels"
        )
        parser.add_argument("--reload", action="store_true", help="restart when code changes (development)")

    def handle(self, *args: Any, **options: Any) -> str:
        host, port, workers = options["host"], options["port"], options["workers"]
        if workers < 1:
            raise CommandError(f"--workers {workers} must be at least 1")
        try:
            if (fd := supervisor.inherited_socket()) is None:
                server.check_address(host, port)
            else:
                host, port = server.address_of(fd)
            # Until uvicorn takes the signals over, and again after it is done, SIGTERM is as good as Ctrl-C.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            with embedded.kept_running() as wait_for_worker:
                if not options["prepared"]:
                    self.prepare()
                wait_for_worker()
                self.announce(host, port)
                server.run(host, port, fd=fd, workers=workers, reload=options["reload"])
        except (server.AddressUnusable, supervisor.UnusableSockets) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            pass  # uvicorn swallows those that arrive later; either way everything is stopped by now
        return "Stopped."

    def prepare(self) -> None:
        try:
            password, key = installation.prepare()
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}") from error
        except SeedRefused as refusal:
            raise CommandError(f"The catalogue could not be loaded:\n{refusal}") from refusal
        if password or key:
            self.stdout.write(welcome.secrets(password, key))

    def announce(self, host: str, port: int) -> None:
        models, total = installation.models_able_to_answer()
        connections.close_all()
        url, engine = server.url(host, port), os.environ.get(embedded.VARIABLE)
        self.stdout.write(welcome.text(url, models, total, engine=engine, needs_key=settings.REQUIRE_API_KEY))
        self.stdout.flush()  # into a pipe or a file it would otherwise appear when the server ends
