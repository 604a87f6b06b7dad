"""`GET /routing`: what the process that answers knows of its adapters and engines. Definitions only.

Health lives in the memory of each serving process, and belongs to its event loop: so the view is asynchronous, and of several
workers each answers for itself and says which one it is.
"""

from __future__ import annotations

import os
import time
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from completions import envelope, runtime, snapshot
from routingapp import overview

router = Router(tags=["statistics"])


@router.get("/routing", summary="Weights, shares, breakers, speeds and engines, as one process sees them now")
async def get_routing(request: HttpRequest, model: str | None = None) -> HttpResponse:
    loaded, running, now = snapshot.current(), runtime.current(), time.monotonic()
    capacity = running.pipeline.gate.capacity
    models = overview.overview(loaded.catalogue, loaded.routing, running.health, now=now, capacity=capacity, only=model)
    data: dict[str, Any] = {
        "pid": os.getpid(),
        "revision": loaded.revision,
        "engines": overview.engines(loaded.catalogue, running.health, now=now),
        "models": models,
    }
    return envelope.json({"data": data}, headers={"Cache-Control": "no-store"})
