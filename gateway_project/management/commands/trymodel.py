"""Ask a model from the command line, through the whole pipeline: is the key right, does the provider answer, what does it cost?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from completions import trial
from gateway_project import embedded
from gateway_project.errors import GatewayError


class Command(BaseCommand):
    help = "Send one prompt to a model and show the plan, the answer, the tokens and the cost. The request is recorded."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="an id or alias from GET /v1/models")
        parser.add_argument("prompt", nargs="?", help="what to ask; may be left out where --body has messages")
        parser.add_argument("--stream", action="store_true", help="show the answer as it comes")
        parser.add_argument("--body", type=Path, metavar="FILE", help="JSON file with further fields of the request")

    def handle(self, *args: Any, **options: Any) -> str:
        body: dict[str, Any] = {**_read(options["body"]), "model": options["model"], "stream": options["stream"]}
        if options["prompt"]:
            body["messages"] = [*body.get("messages", ()), {"role": "user", "content": options["prompt"]}]
        worker = embedded.start_if_wanted()
        try:
            record = trial.run(body, lambda text: self.stdout.write(text, ending=""))
        except (GatewayError, OSError) as error:
            raise CommandError(trial.explain(error)) from error
        finally:
            if worker is not None:
                worker.stop()
        self.stdout.write("\n")
        for line in trial.plan_of(record):
            self.stdout.write(line)
        estimated = " (estimated)" if record.is_estimated else ""
        return (
            f"{record.request_id}: {record.model_id} by {record.provider}, {record.prompt_tokens} + "
            f"{record.completion_tokens} tokens{estimated}, USD {record.cost_usd}, {record.finish_reason}, "
            f"{record.latency_ms} ms"
        )


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        body = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CommandError(f"--body {path} cannot be read: {error}") from error
    if not isinstance(body, dict):
        raise CommandError(f'--body {path} is no JSON object; give fields of a chat request, e.g. {{"max_tokens": 20}}')
    return body
