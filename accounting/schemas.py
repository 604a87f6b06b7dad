"""What callers may send to the account endpoints (openrouter.md 5.7), and which fields of `ApiKey` it means.

`include_byok_in_limit` and `creator_user_id` are taken and have no effect: nobody brings keys of their own, and the owner of
a key is set in admin. What would be misleading to ignore is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from ninja import Field, Schema
from pydantic import AfterValidator

from accounting.account import WORKSPACE_ID
from accounting.statistics import ANONYMOUS_KEY, GroupBy


def _future(moment: datetime) -> datetime:
    """In UTC, unless it says otherwise."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment <= datetime.now(UTC):
        raise ValueError("This is in the past; to end a key now, disable or delete it")
    return moment


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("Contains the character NUL, which databases refuse; leave it out")
    return text


def _known_workspace(workspace_id: str) -> str:
    if workspace_id != WORKSPACE_ID:
        raise ValueError(f"There is only one workspace, {WORKSPACE_ID}; leave the field out")
    return workspace_id


def _no_partner(external: Any) -> Any:
    raise ValueError("Partners' own users and keys are not supported; leave the field out and use the key in the answer")


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_storable)]
Limit = Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=6, description="USD")]
Reset = Literal["daily", "weekly", "monthly"]
Workspace = Annotated[str, AfterValidator(_known_workspace)]


class NewKey(Schema):
    """A key to be created."""

    name: Name
    limit: Limit | None = None
    limit_reset: Reset | None = None
    expires_at: Annotated[datetime, AfterValidator(_future)] | None = None
    include_byok_in_limit: bool = False
    creator_user_id: str | None = None
    workspace_id: Workspace | None = None
    external: Annotated[Any, AfterValidator(_no_partner)] = None

    def fields(self) -> dict[str, Any]:
        """As fields of `ApiKey`."""
        return {
            "name": self.name,
            "limit_usd": self.limit,
            "limit_reset": self.limit_reset or "",
            "expires_at": self.expires_at,
        }


class KeyChange(Schema):
    """What is to change of a key; what is left out stays."""

    name: Name = ""
    disabled: bool = False
    limit: Limit | None = None
    limit_reset: Reset | None = None
    include_byok_in_limit: bool = False
    workspace_id: Workspace | None = None

    def fields(self) -> dict[str, Any]:
        """As fields of `ApiKey`, those that were given alone."""
        given = {
            "name": self.name,
            "disabled": self.disabled,
            "limit": self.limit,
            "limit_reset": self.limit_reset or "",
        }
        columns = {"disabled": "is_disabled", "limit": "limit_usd"}
        return {columns.get(name, name): value for name, value in given.items() if name in self.model_fields_set}


class KeysQuery(Schema):
    """Which keys to list. Expired and disabled ones only when they are asked for, as at OpenRouter."""

    offset: int = Field(0, ge=0, le=2**31)
    include_disabled: bool = False
    include_expired: bool = False
    workspace_id: Workspace | None = None

    def choice(self) -> dict[str, Any]:
        """As arguments of `account.page`."""
        return self.dict(include={"offset", "include_disabled", "include_expired"})


class ActivityQuery(Schema):
    """Which activity. `user_id` is of organisations and means nothing here."""

    date: str | None = Field(None, description="One of the last 30 complete UTC days, YYYY-MM-DD")
    api_key_hash: str | None = None
    group_by: Literal["workspace"] | None = None
    workspace_id: Workspace | None = None

    def apportion(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """`rows` as they are, or with the workspace they belong to, where that was asked for."""
        return [row | {"workspace_id": WORKSPACE_ID} for row in rows] if self.group_by else rows


class StatsQuery(Schema):
    """Which statistics."""

    hours: int = Field(24, ge=1, le=8784, description="The present UTC hour and those before it")
    model: str | None = Field(None, description="A model's public id")
    provider: str | None = Field(None, description="A provider's slug")
    key: str | None = Field(None, description=f"An API key's hash, or {ANONYMOUS_KEY!r}")
    group_by: GroupBy | None = None
