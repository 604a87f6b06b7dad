"""Catalogues for tests: a models.yaml whose models are scenarios of the fake provider."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.provider import FakeProvider

PRICING = {"prompt": "0.000001", "completion": "0.000002", "input_cache_read": "0.0000001"}
"""What every model of these catalogues costs, USD per token."""

_nobody = socket.socket()
_nobody.bind(("127.0.0.1", 0))
REFUSING_URL = f"http://127.0.0.1:{_nobody.getsockname()[1]}/v1"
"""A base URL at which connections are refused: the port is taken, but nobody listens."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model as one provider serves it: by `scenario`, with `stanza` added to the provider's stanza in models.yaml.

    `base_url` replaces the fake's.
    """

    scenario: str
    stanza: Mapping[str, Any] = field(default_factory=dict)
    base_url: str | None = None


REFUSED = Served("ok", base_url=REFUSING_URL)


def impatient(scenario: str) -> Served:
    """`scenario` at a provider that may be silent for 0.5 s in a stream and take 1 s in all."""
    return Served(scenario, {"timeouts": {"first_byte": 0.5, "idle": 0.5, "total": 1}})


def seed(fake: FakeProvider, models: Mapping[str, str | Served | Sequence[str | Served]], **fields: Any) -> dict[str, Any]:
    """A models.yaml with these models, each with its adapters in the order in which they are to be tried.

    Every adapter has a provider of its own, `<model>-<position>`, so that no fault of one test reaches another. `fields`
    are added to every model.
    """
    providers, listed = [], []
    for model, served in models.items():
        adapters = [served] if isinstance(served, str | Served) else list(served)
        routes = []
        for position, adapter in enumerate(adapters, start=1):
            adapter = adapter if isinstance(adapter, Served) else Served(adapter)
            kind = provider_slug(model, position)
            base_url = adapter.base_url or fake.base_url(kind)
            providers.append(
                {"kind": kind, "name": provider_name(model, position), "base_url": base_url, "api_key": "${FAKE_KEY}"}
                | dict(adapter.stanza)
            )
            # Weight 0 stands by until the others have failed, so the first is always tried first.
            routes.append({"kind": kind, "weight": int(position == 1), "provider_model_id": adapter.scenario})
        listed.append({"id": model, "name": f"Fake: {model}", "pricing": dict(PRICING), "route": routes, **fields})
    return {"providers": providers, "models": listed}


def provider_slug(model: str, position: int = 1) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{model} {position}")


def provider_name(model: str, position: int = 1) -> str:
    """The display name of a model's provider, which callers read as `provider`."""
    return f"{model.rpartition('/')[2].title()} {position}"
