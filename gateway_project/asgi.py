"""The ASGI application: start-up and shutdown, and the choice between the two lanes (design.md section 3)."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import django
from django.conf import settings

from gateway_project import worker_metrics

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
worker_metrics.share(settings.VAR_DIR)
django.setup(set_prefix=False)

from gateway_project import observed  # noqa: E402  needs the settings above
from gateway_project.django_lane import DjangoLane  # noqa: E402
from gateway_project.lane import ApiLane  # noqa: E402
from gateway_project.lifespan import Lifespan  # noqa: E402

DJANGO_PAGES = ("docs", "openapi.json", "key", "auth/key", "keys", "credits", "activity", "generation", "stats", "routing")
"""What below /v1 needs the database or a synchronous view, and so goes through Django's own handler."""

_LEAN = re.compile(rf"^/(?:health(?:/|$)|(?:api/)?v1(?:$|/(?!(?:{'|'.join(map(re.escape, DJANGO_PAGES))})(?:/|$))))")

lean_lane = ApiLane()
django_lane = DjangoLane()
lifespan = Lifespan()


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Mapping[str, Any]]],
    send: Callable[[Mapping[str, Any]], Awaitable[None]],
) -> None:
    """What the ASGI server calls: once for the lifespan, then for every request."""
    if scope["type"] == "http":
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # in counts and lines as well; the server knows better, and sends no content
        path = scope["path"]
        # ASGI's path begins with the prefix at which a proxy mounts the gateway (uvicorn's --root-path).
        if prefix := scope.get("root_path"):
            path = path.removeprefix(prefix)
        if _LEAN.match(path):
            await lean_lane(scope, receive, send)
        else:
            await observed.named(django_lane, scope, receive, send)
    elif scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        await send({"type": "websocket.close", "code": 1000})
