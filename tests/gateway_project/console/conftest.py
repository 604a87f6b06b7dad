"""People who use the console, and traffic for them to look at."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounting import rollups, slots
from accounting.lines import write
from accounting.models import ApiKey
from accounting.rows import read
from catalog.models import Adapter
from tests import factories

_numbers = itertools.count(1)


@pytest.fixture
def browser(db) -> Client:
    """A superuser's browser."""
    return factories.browser()


@pytest.fixture
def staff(db) -> Callable[..., Client]:
    """The browser of somebody with just these rights: `staff("view_languagemodel")`."""

    def log_in(*codenames: str) -> Client:
        user = User.objects.create_user(f"staff-{next(_numbers)}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client()
        client.force_login(user)
        return client

    return log_in


def used(adapter: Adapter, key: ApiKey | None = None, *, hours_ago: float = 0, times: int = 1, **fields: Any) -> None:
    """Sums of successful requests: 100 tokens in, 50 out, 200 ms to the first token, 0.01 USD each."""
    line = {
        "request_id": "gen-1-used",
        "timestamp": (timezone.now() - timedelta(hours=hours_ago)).timestamp(),
        "model_id": adapter.model.public_id,
        "provider": adapter.provider.slug,
        "adapter_id": adapter.pk,
        "api_key_id": key.pk if key else None,
        "status_code": 200, "error_type": None, "is_cancelled": False, "is_estimated": False, "stream": True,
        "latency_ms": 900, "ttft_ms": 200, "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
        "reasoning_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0, "image_tokens": 0,
        "cost_usd": "0.01", "attempts": [{}],
    }  # fmt: skip
    rows = [read(write(line | fields))] * times
    slots.add(rows, *rollups.add(rows, connection), connection)
