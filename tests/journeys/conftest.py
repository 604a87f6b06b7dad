"""The gateway that most journeys share, and the ways in which they ask it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.databases import Template
from tests.fakes.catalogue import REFUSED, Served, impatient, seed
from tests.fakes.provider import FakeProvider
from tests.journeys.asking import Asker
from tests.live import Gateway

EARLY_FAULTS: dict[str, str | Served] = {
    "refused-connection": REFUSED,
    "status-500": "status?code=500",
    "status-503": "status?code=503",
    "status-429": "status?code=429&after=7",
    "status-401": "status?code=401",
    "status-404": "status?code=404",
    "reset": "reset",
    "hang-up": "hang-up",
    "html-502": "html",
    "html-200": "html?status=200",
    "empty-200": "empty",
    "error-200": "error-200",
    "error-frame": "error-frame?after=0",
    "cut": "cut?after=0",
    "silence": impatient("silence"),
    "mute": impatient("mute"),
    "only-comments": impatient("mute?beat=0.1"),
}
"""Faults of a provider before any content: another one answers instead."""

CALLERS_FAULTS: dict[str, str | Served] = {
    "status-400": "status?code=400",
    "status-422": "status?code=422",
    "too-long": "too-long",
    "refused": "refused",
}
"""What a provider says of the request itself: no other one is asked."""

MODELS: dict[str, str | Served | Sequence[str | Served]] = {
    "fake/ok": "ok",
    "fake/other": "ok",
    "fake/priced": "ok?tokens=8&cached=5&thinking=3",
    "fake/slow-stream": "ok?tokens=200&delay=0.05",
    "fake/slow-answer": "slow-first?delay=30",
    "early/silence-left": "silence",
    "fake/mute-left": "mute",
    "fake/slow-left": "ok?delay=0.5",
    "fake/tools": "tools",
    "fake/parallel-tools": "tools?calls=2",
    "fake/reasoning": "reasoning",
    "fake/reasoning-renamed": "reasoning?field=reasoning",
    "fake/filtered": "filtered",
    "fake/huge": "huge?kb=2048",
    "fake/gzip": "gzip",
    "fake/bytewise": "bytewise",
    "fake/crlf": "crlf",
    "fake/comments": "comments",
    "fake/nulls": "nulls",
    "fake/no-usage": "no-usage",
    "fake/no-done": "no-done",
    "fake/malformed": "malformed",
    "fake/late-cut": ("cut?tokens=9&after=3", "ok"),
    "fake/late-stall": (impatient("stall?tokens=9&after=3"), "ok"),
    "fake/late-truncation": ("truncated?tokens=9&after=3", "ok"),
    "fake/late-frame": ("error-frame?tokens=9&after=3", "ok"),
    "resume/cut": ("cut?tokens=9&after=3", "ok?tokens=9"),
    "resume/stall": (impatient("stall?tokens=9&after=3"), "ok?tokens=9"),
    "resume/truncation": ("truncated?tokens=9&after=3", "ok?tokens=9"),
    "resume/frame": ("error-frame?tokens=9&after=3", "ok?tokens=9"),
    "resume/shorter": ("cut?tokens=9&after=3", "ok?tokens=2"),
    "resume/continued": (
        "cut?tokens=9&after=3",
        Served("ok?tokens=2", {"continuation": "continue_final_message"}),
    ),
    "breaker/429": ("status?code=429&after=7", "ok"),
    "breaker/told": ("status?code=429&after=60", "ok"),
    "breaker/500": ("status?code=500", "ok"),
    "breaker/400": ("status?code=400", "ok"),
    "early/status-500-forbidden": ("status?code=500", "ok"),
    "fake/small": ("ok", "ok"),
    "fake/unset": Served("ok", {"api_key": "${NOBODY_SETS_THIS}"}),
    "unsendable/all": ("ok", "ok"),
    "unsendable/first": ("ok", Served("ok", {"speaks_openrouter": True})),
    "unsendable/shapeless": ("ok", "ok"),
}
# Each test has its own model with a given fault: what one request learns of a provider must not change the next.
for asker in ("books", "browser", "chain", "log", "openai", "openrouter"):
    MODELS |= {f"{asker}/only-{code}": f"status?code={code}" for code in (401, 500)}
    MODELS[f"{asker}/only-429"] = "status?code=429&after=1"
for way in ("whole", "streamed", "chained"):
    MODELS |= {f"early/{fault}-{way}": (served, "ok") for fault, served in EARLY_FAULTS.items()}
    MODELS |= {f"callers/{fault}-{way}": (served, "ok") for fault, served in CALLERS_FAULTS.items()}


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, fake: FakeProvider, migrated_database: Template) -> Iterator[Gateway]:
    """One gateway with every model above, open to callers without a key. At the end its log must be free of tracebacks."""
    content: dict[str, Any] = seed(fake, MODELS)
    content["models"][0]["aliases"] = ["ok-alias", "fake/ok-too"]
    content["models"][0] |= {"context_length": 32768, "max_output_length": 2048, "supports_tools": True}
    (small,) = (model for model in content["models"] if model["id"] == "fake/small")
    small |= {"context_length": 1000, "max_output_length": 500}
    directory = tmp_path_factory.mktemp("gateway")
    with Gateway(directory, content, database=migrated_database) as running:
        yield running
        assert "Traceback" not in running.log, running.log


@pytest.fixture(scope="session")
def strict_gateway(
    tmp_path_factory: pytest.TempPathFactory, fake: FakeProvider, migrated_database: Template
) -> Iterator[Gateway]:
    """One gateway with the settings that the other leaves at rest: keys, a small body, busy comments, contents kept."""
    environment = {"REQUIRE_API_KEY": "true", "MAX_BODY_MB": "0.1", "KEEPALIVE_S": "0.3", "LOG_CONTENT": "full"}
    models: dict[str, str | Served] = {
        "fake/ok": "ok",
        "fake/late": "slow-first?delay=1.3",
        "fake/pausing": "ok?tokens=2&delay=0.8",
        "fake/stalling": impatient("stall?tokens=5"),
    }
    directory = tmp_path_factory.mktemp("strict-gateway")
    with Gateway(directory, seed(fake, models), environment, database=migrated_database) as running:
        yield running
        assert "Traceback" not in running.log, running.log


@pytest.fixture(scope="session")
def strict_key(strict_gateway: Gateway) -> str:
    """An API key of the strict gateway."""
    return strict_gateway.create_key("journeys")


@pytest.fixture
def ask_strictly(strict_gateway: Gateway, marker: str, strict_key: str) -> Asker:
    """Asks the strict gateway with its key."""
    return Asker(strict_gateway, marker, key=strict_key)


@pytest.fixture(scope="session")
def key(gateway: Gateway) -> str:
    """An API key that the shared gateway knows."""
    return gateway.create_key("journeys")


@pytest.fixture
def ask(gateway: Gateway, marker: str) -> Asker:
    """Asks the shared gateway; every request carries the test's marker as `user`."""
    return Asker(gateway, marker)
