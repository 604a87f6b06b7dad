"""A real gateway for tests: a server process of its own, with its own directory, database and catalogue.

`Gateway` is started from what an operator has (environment, models.yaml, manage.py) and asked over HTTP; nothing in it is
replaced. Its providers are usually a `tests.fakes.provider.FakeProvider`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import yaml

from tests.databases import LiveDatabase, SqliteFile, Template

ROOT = Path(__file__).resolve().parent.parent
START_WITHIN_S = 60
STOP_WITHIN_S = 30
JSON_COLUMNS = ("attempts", "plan", "prices", "parameters", "metadata")
# Set even where a default would do, because settings also read the developer's .env.
ENVIRONMENT = {
    "USE_SQLITE_LOG": "true",
    "DATABASE_URL": "",
    "SQLITE_DB_PATH": "",
    "OPENROUTER_SQLITE_DB": "",
    "LOCAL_BASE_URL": "",
    "EMBEDDED_WORKER": "off",
    "OFFLOAD": "false",
    "REQUIRE_API_KEY": "false",
    "RATE_LIMIT_ENABLED": "true",
    # Fixtures that wait for a new key to be known send it many times before it is.
    "FAILED_AUTH_LIMIT": "1000000",
    "LOG_CONTENT": "none",
    "LOG_LEVEL": "INFO",
    "METRICS_TOKEN": "",
    "REDIS_URL": "",
    "DEBUG": "false",
    "SECRET_KEY": "only-for-tests-and-the-same-after-a-restart-0123456789",
    "FAKE_KEY": "sk-fake-0123456789abcdef",
}

T = TypeVar("T")


def until(probe: Callable[[], T], what: str, within_s: float = 5) -> T:
    """What `probe` returns as soon as that is true. Fails with `what` after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        if found := probe():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(0.01)


def free_port() -> int:
    """A loopback port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Gateway:
    """One gateway in `directory`. Use it as a context manager, or call `start` and `terminate`.

    `seed` is the content of its models.yaml, `environment` what differs from `ENVIRONMENT`, `database` a migrated
    database to copy (saves the migration), `options` go to uvicorn.
    """

    passed_fds: tuple[int, ...] = ()

    def __init__(
        self,
        directory: Path,
        seed: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        *,
        database: Template | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.database: LiveDatabase = database.copy_into(directory) if database else SqliteFile(directory)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # No bounds: httpcore (1.0.9, issue 1110) closes surplus connections that another thread has just been given.
        self.client = httpx.Client(base_url=self.url, timeout=20, limits=httpx.Limits())
        self.seed_path = directory / "models.yaml"
        self.routing_path = directory / "routing.yaml"
        self._log_path = directory / "stderr.log"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "VAR_DIR": str(directory),
            "MODELS_CONFIG": str(self.seed_path),
            "ROUTING_CONFIG": str(self.routing_path),
            "PORT": str(self.port),
            **ENVIRONMENT,
            **self.database.environment,
            **(environment or {}),
        }
        self.write_seed(seed)
        # An empty one of its own, or else the developer's would be read.
        self.routing_path.write_text("{}\n")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self._process is not None and self._process.poll() is None:
            self.kill9()

    # --- The process ---

    def start(self) -> None:
        """Start the server and wait until it calls itself ready. The first start fills the catalogue from models.yaml."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True,
                pass_fds=self.passed_fds,
            )  # fmt: skip
        try:
            until(self._is_ready, "the gateway is ready", START_WITHIN_S)
        except AssertionError as error:
            self.kill9()
            raise AssertionError(f"{error}\n{self.log}") from error

    def command(self) -> list[str]:
        """What is started. Overridden where it is not uvicorn alone."""
        command = [sys.executable, "-m", "uvicorn", "gateway_project.asgi:application", "--host", "127.0.0.1"]
        return [*command, "--port", str(self.port), "--log-level", "warning", *self._options]

    def _is_ready(self) -> bool:
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise AssertionError(f"the gateway exited with {code} instead of starting")
        with contextlib.suppress(httpx.TransportError):
            return self.client.get("/health/ready").status_code == 200
        return False

    def terminate(self) -> int:
        """SIGTERM to the server, as an operator stops it. Gives the exit code."""
        return self._stop(signal.SIGTERM, os.kill)

    def kill9(self) -> None:
        """SIGKILL to the server and everything it has started."""
        self._stop(signal.SIGKILL, os.killpg)

    def restart(self) -> None:
        self.terminate()
        self.start()

    def _stop(self, sent: signal.Signals, send: Callable[[int, int], None]) -> int:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            send(self._process.pid, sent)
        try:
            return self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise AssertionError(f"{sent.name} did not stop the gateway within {STOP_WITHIN_S} s:\n{self.log}") from None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All that the server has written to standard output and error so far."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    # --- The operator's means ---

    def write_seed(self, seed: Mapping[str, Any]) -> None:
        """Replace models.yaml. It takes effect with `manage("loadmodels")`."""
        self.seed_path.write_text(yaml.safe_dump(dict(seed), sort_keys=False))

    def manage(self, *arguments: str) -> str:
        """Run manage.py in the gateway's environment; gives its standard output. Fails with all it wrote if it fails."""
        run = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if run.returncode:
            raise AssertionError(f"manage.py {' '.join(arguments)} exited with {run.returncode}:\n{run.stdout}{run.stderr}")
        return run.stdout

    def create_key(self, name: str = "tests", *options: str) -> str:
        """A new API key that the running server already knows. Gives the secret."""
        secret = self.manage("createapikey", "--name", name, *options).strip()
        headers = {"Authorization": f"Bearer {secret}"}
        # A body that is refused as such shows that the key was not.
        until(
            lambda: self.client.post("/v1/chat/completions", content=b"{", headers=headers).status_code == 400,
            f"the new key {name} is known to the server",
        )
        return secret

    def sql(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """The rows of a query on the gateway's database, read-only."""
        return self.database.query(query, *parameters)

    def row(self, within_s: float = 5, **columns: Any) -> dict[str, Any]:
        """The one row of `api_logs` with these values, waiting for it; JSON columns parsed."""
        where = " AND ".join(f"{column} = ?" for column in columns)
        query = f"SELECT * FROM api_logs WHERE {where}"
        rows = until(lambda: self.sql(query, *columns.values()), f"a row of api_logs with {columns}", within_s)
        assert len(rows) == 1, f"{len(rows)} rows with {columns}"
        parsed = {name: json.loads(rows[0][name]) for name in JSON_COLUMNS if rows[0][name] is not None}
        return {**rows[0], **parsed}
