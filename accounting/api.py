"""The account endpoints (openrouter.md 5.4-5.8) and the statistics: definitions only.

Three routers, because three kinds of callers: any key, management keys, and those or the staff. Whoever mounts them passes the
matching `accounting.access`. Synchronous views, for Django's own lane: they read the database.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Query, Router, Status

from accounting import account, activity, generations, statistics
from accounting.reports import published
from accounting.schemas import ActivityQuery, KeyChange, KeysQuery, NewKey, StatsQuery
from accounting.statistics import Scope

own_router = Router(tags=["account"])
management_router = Router(tags=["management"])
statistics_router = Router(tags=["statistics"])


@own_router.get("/generation", summary="One request, from the moment its answer has ended")
def get_generation(request: HttpRequest, id: str) -> dict[str, Any]:
    return {"data": generations.describe(generations.find(id, request.auth))}  # type: ignore[attr-defined]


@own_router.get("/generation/content", summary="What was asked and answered, where that is stored")
def get_generation_content(request: HttpRequest, id: str) -> dict[str, Any]:
    return {"data": generations.content(generations.find(id, request.auth))}  # type: ignore[attr-defined]


@own_router.get("/key", summary="The API key that is sent with the request")
@own_router.get("/auth/key", include_in_schema=False)
def get_current_key(request: HttpRequest) -> dict[str, Any]:
    return {"data": account.current(request.auth)}  # type: ignore[attr-defined]


@management_router.get("/credits", summary="What was spent, and what may still be")
def get_credits(request: HttpRequest) -> dict[str, Any]:
    return {"data": account.credits(timezone.now())}


@management_router.get("/activity", summary="What each endpoint did on each of the last 30 complete UTC days")
def get_activity(request: HttpRequest, query: Query[ActivityQuery]) -> dict[str, Any]:
    first, last = activity.days(timezone.now(), query.date)
    return {"data": query.apportion(activity.rows(first, last, query.api_key_hash))}


@management_router.get("/keys", summary="List API keys")
def list_keys(request: HttpRequest, query: Query[KeysQuery]) -> dict[str, Any]:
    return {"data": account.page(**query.choice())}


@management_router.post("/keys", response={201: dict[str, Any]}, summary="Create an API key; the answer has its secret")
def create_key(request: HttpRequest, body: NewKey, response: HttpResponse) -> Status[dict[str, Any]]:
    response["Cache-Control"] = "no-store"
    key, secret = account.create(body.fields())
    return Status(201, {"data": account.describe(key), "key": secret})


@management_router.get("/keys/{key_hash}", summary="One API key")
def get_key(request: HttpRequest, key_hash: str) -> dict[str, Any]:
    return {"data": account.describe(account.find(key_hash))}


@management_router.patch("/keys/{key_hash}", summary="Change an API key")
def update_key(request: HttpRequest, key_hash: str, body: KeyChange) -> dict[str, Any]:
    return {"data": account.describe(account.change(account.find(key_hash), body.fields()))}


@management_router.delete("/keys/{key_hash}", summary="End an API key for good")
def delete_key(request: HttpRequest, key_hash: str) -> dict[str, Any]:
    account.delete(account.find(key_hash))
    return {"deleted": True}


@statistics_router.get("/stats", summary="Requests, errors, tokens, money and latencies of the last hours")
def get_stats(request: HttpRequest, query: Query[StatsQuery]) -> dict[str, Any]:
    scope = Scope.last(query.hours, timezone.now(), model=query.model, provider=query.provider, key=query.key)
    return {"data": published(statistics.summary(scope, query.group_by), query.group_by)}
