"""Why a request would go where it goes: a plan made outside the serving processes, as lines for a terminal."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accounting.keys import ANONYMOUS
from completions import bodies, intake, snapshot
from completions.exchange import ClientHeaders, Exchange
from completions.schemas import ChatRequest
from gateway_project.errors import GatewayError, InvalidRequest
from routingapp import plan as planner
from routingapp.health import Health

NO_HEALTH = (
    "Without live health: breakers, queues, speeds and limits of the serving processes are not known here; "
    "GET /v1/routing tells them."
)


def read_body(path: Path) -> dict[str, Any]:
    """The request in that file. Raises `InvalidRequest` where it is no JSON object, `OSError` where it cannot be read."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidRequest(f"{path} is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise InvalidRequest(f"{path} must hold a JSON object, as a caller would send it, not {type(body).__name__}")
    return body


def explain(model: str, body: Mapping[str, Any]) -> Iterator[str]:
    """The lines. Raises `GatewayError` for a request that is none, or for a model that does not exist."""
    loaded = snapshot.load()
    request = {"messages": [{"role": "user", "content": "Hello"}], **body, "model": model}
    exchange = Exchange.begin(ANONYMOUS, loaded, ClientHeaders())
    intake.accept(exchange, bodies.checked(ChatRequest, request), request, log_content="none")
    assert exchange.ask is not None
    try:
        built = planner.build(
            exchange.ask, loaded.catalogue, loaded.routing, Health(), now=time.monotonic(), dice=random.Random()
        )
    except GatewayError as error:
        if "exclusions" not in error.metadata:
            raise
        yield f"{error.status}: {error.message}"
        yield from _left_out(error.metadata["exclusions"])
        yield NO_HEALTH
        return
    policy = built.policy
    yield f"{model}: ordered by {built.strategy}; at most {policy.max_attempts} attempts within {policy.deadline_s:g} s"
    for rank, candidate in enumerate(built.candidates, start=1):
        who = f"{candidate.model.id} at {candidate.adapter.tag}"
        yield f"{rank:3}. {who:44} {candidate.share:6.1%}  {candidate.reason}"
    yield from _left_out([entry | {"detail": entry["reason"]} for entry in built.describe() if entry["rank"] is None])
    yield NO_HEALTH


def _left_out(exclusions: list[dict[str, Any]]) -> Iterator[str]:
    for entry in exclusions:
        who = f"{entry.get('model_id') or entry.get('model')} at {entry['tag']}"
        yield f"  -  {who:44} {entry['code']}: {entry['detail']}"
