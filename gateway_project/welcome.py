"""What `manage.py serve` says once everything is in place: where things are, how to try them. Text only, no effects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from textwrap import dedent


def text(url: str, models: Sequence[str], models_total: int, *, engine: str | None, needs_key: bool) -> str:
    """Addresses below `url`, and a command to paste for the first of `models`, those able to answer of `models_total`.

    `engine` is the embedded worker's base URL, None without one.
    """
    places = dedent(f"""\
        API        {url}/v1  (or {url}/api/v1)
        Admin      {url}/admin/  (dashboard, catalogue, keys, requests)
        API docs   {url}/v1/docs
        Health     {url}/health
        Models     {len(models)} of {models_total} can answer
        """)
    if engine:
        places += f"Engine     SmolLM2-135M on {engine}\n"
    if not models:
        return places + "\nNo model can answer yet: set LOCAL_BASE_URL or a provider's key, or add a model in admin."
    try_it = "Try it, with KEY from `manage.py createapikey --name me`:" if needs_key else "Try it:"
    return f"{places}\n{try_it}\n{_command(url, models[0], needs_key)}"


def secrets(password: str | None, key: str | None) -> str:
    """The lines for what was made at the first start, empty when nothing was. Shown this once: neither is stored."""
    lines = []
    if password:
        lines.append(f"Admin user admin, password {password}")
    if key:
        lines.append(f"Management key {key}")
    if lines:
        lines.append("Keep them now: they are not shown again.\n")
    return "\n".join(lines)


def _command(url: str, model: str, needs_key: bool) -> str:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "What is the capital of France?"}]})
    key = ' -H "Authorization: Bearer $KEY"' if needs_key else ""
    return f"curl {url}/v1/chat/completions{key} -H 'Content-Type: application/json' -d '{body}'"
