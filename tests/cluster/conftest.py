"""Two machines of one gateway: each with a VAR_DIR of its own, both on one PostgreSQL and one Redis, nginx in front of both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import postgres
from tests.databases import PostgresDatabase
from tests.deploy.supervision import Served as ServedGateway
from tests.fakes.catalogue import Served, seed
from tests.fakes.provider import FakeProvider
from tests.live import Gateway, until
from tests.nginx import Nginx
from tests.redis_server import RedisServer

POOL = {"api_key": "${POOL_A}", "api_keys": ["${POOL_B}"]}
TPM = 4_400
MODELS: dict[str, Any] = {
    "cluster/ok": "ok",
    "cluster/priced": "ok?tokens=10",
    "cluster/tpm": Served("ok?tokens=10", {"limits": {"tpm": TPM}}),
    "cluster/broken": ("status?code=500", "ok"),
    "cluster/refused": ("status?code=401", "ok"),
    "cluster/cooled": Served("by-key?a=429", POOL),
    "cluster/sticky": ("ok", "ok"),
}
ENVIRONMENT = {
    "FORWARDED_ALLOW_IPS": "127.0.0.1",
    "HTTPS_ONLY": "true",
    "METRICS_TOKEN": "only-for-tests",
    "POOL_A": "sk-fake-pool_a-0123456789abcdef",
    "POOL_B": "sk-fake-pool_b-0123456789abcdef",
    # More patience than in production, so that a busy machine does not decide the tests.
    "REDIS_PATIENCE_MS": "2000",
}


class OneForAll:
    """A database that is handed out as it is, not copied."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def copy_into(self, directory: Path) -> PostgresDatabase:
        return self._database


@dataclass
class Cluster:
    first: Gateway
    second: Gateway
    nginx: Nginx
    management: dict[str, str]

    @property
    def machines(self) -> tuple[Gateway, Gateway]:
        return self.first, self.second

    def create_key(self, name: str, **fields: Any) -> str:
        """A new key with these columns, known to both machines. Gives the secret."""
        made = f"from accounting import keys; print(keys.mint({name!r}, **{fields!r})[1])"
        secret = self.first.manage("shell", "-v", "0", "-c", made).strip()
        headers = {"Authorization": f"Bearer {secret}"}

        def is_known() -> bool:
            """A body that is refused as such shows that the key was not."""
            answers = [
                machine.client.post("/v1/chat/completions", content=b"{", headers=headers) for machine in self.machines
            ]
            return all(answer.status_code == 400 for answer in answers)

        until(is_known, f"both machines know the new key {name}")
        return secret

    def adapters(self, machine: Gateway, model: str) -> list[dict[str, Any]]:
        """What that machine says of the model's adapters."""
        answer = machine.client.get("/v1/routing", params={"model": model}, headers=self.management)
        assert answer.status_code == 200, answer.text
        adapters: list[dict[str, Any]] = answer.json()["data"]["models"][0]["adapters"]
        return adapters

    def metric(self, machine: Gateway, name: str, **labels: str) -> float:
        """What that machine says of a metric, added up over all series that have these labels."""
        token = ENVIRONMENT["METRICS_TOKEN"]
        text = machine.client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).text
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        series = (line for line in text.splitlines() if line.startswith(f"{name}{{"))
        return sum(float(line.rpartition(" ")[2]) for line in series if all(part in line for part in wanted))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, fake: FakeProvider) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    content = seed(fake, MODELS)
    for route in next(model for model in content["models"] if model["id"] == "cluster/sticky")["route"]:
        route["weight"] = 1
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(directory))
        server = stack.enter_context(postgres.running())
        server.create_database("gateway")
        database = OneForAll(PostgresDatabase(server, "gateway"))
        environment = {**ENVIRONMENT, "REDIS_URL": redis.url}
        # As deploy/README.md says of several machines: one of them prepares the database, and the others serve what is there.
        first = ServedGateway(directory / "first", content, environment, database=database)
        second = ServedGateway(directory / "second", content, environment, database=database, options=("--prepared",))
        first.manage("migrate", "--verbosity", "0")
        stack.enter_context(first)
        stack.enter_context(second)
        management = first.log.partition("Management key ")[2].split()[0]
        nginx_directory = directory / "nginx"
        nginx_directory.mkdir()
        nginx = stack.enter_context(Nginx(nginx_directory, [first.port, second.port]))
        yield Cluster(first, second, nginx, {"Authorization": f"Bearer {management}"})
        for machine in (first, second):
            assert "Traceback" not in machine.log, machine.log
