"""`manage.py serve` as an operator meets it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from django.core.management import CommandError, call_command

from gateway_project import server, welcome
from tests import postgres
from tests.databases import PostgresDatabase
from tests.live import ENVIRONMENT, ROOT, free_port, until


@dataclass
class Served:
    process: subprocess.Popen[bytes]
    output_path: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self.output_path.read_text()

    @property
    def worker_port(self) -> int:
        (port,) = re.findall(r"^Engine .*:(\d+)/v1$", self.output, re.M)
        return int(port)

    def is_healthy(self) -> bool:
        assert self.process.poll() is None, self.output
        try:
            return requests.get(f"{self.url}/health", timeout=2).status_code == 200
        except requests.ConnectionError:
            return False


def environment(directory: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        **ENVIRONMENT,
        "VAR_DIR": str(directory),
        "MODELS_CONFIG": "",
        "EMBEDDED_WORKER": "on",
        "EMBEDDED_BASE_URL": "",
        **more,
    }


def serve(directory: Path, run: str, *options: str, **more: str) -> Served:
    """Start `manage.py serve` and wait until it is healthy."""
    port = free_port()
    output = directory / f"{run}.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--host", "127.0.0.1", "--port", str(port), *options],
            cwd=ROOT,
            env=environment(directory, **more),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    served = Served(process, output, port)
    try:
        until(served.is_healthy, "serve is healthy", 60)
    except BaseException:
        process.kill()
        raise
    return served


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def first(directory: Path) -> Iterator[Served]:
    served = serve(directory, "first")
    yield served
    served.process.kill()
    served.process.wait()


def test_the_printed_command_is_answered_by_the_embedded_worker(first):
    (line,) = re.findall(r"^curl .*$", first.output, re.M)
    command = shlex.split(line)
    answer = requests.post(
        command[1], data=command[command.index("-d") + 1], headers={"Content-Type": "application/json"}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    assert "Paris" in answer.json()["choices"][0]["message"]["content"]


def test_the_first_start_prints_a_password_that_opens_admin(first):
    (password,) = re.findall(r"Admin user admin, password (\S+)", first.output)
    session = requests.Session()
    login = f"{first.url}/admin/login/"
    session.get(login, timeout=10)
    form = {
        "username": "admin",
        "password": password,
        "csrfmiddlewaretoken": session.cookies["csrftoken"],
        "next": "/admin/",
    }
    response = session.post(login, data=form, timeout=20)
    assert response.url == f"{first.url}/admin/"
    assert response.status_code == 200


def test_the_first_start_prints_a_management_key(first):
    assert len(re.findall(r"Management key (sk-or-v1-\w{64})$", first.output, re.M)) == 1


def test_responses_do_not_name_the_server_software(first):
    assert "Server" not in requests.get(f"{first.url}/health", timeout=5).headers


def manage(directory: Path, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env=environment(directory), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return run.stdout


def test_commands_find_the_worker_of_the_server_beside_them(directory, first):
    explained = manage(directory, "explainroute", "smollm2-135m-instruct")
    assert "1. smollm2-135m-instruct at embedded" in explained
    report = json.loads(manage(directory, "routingstats", "--json", "--model", "smollm2-135m-instruct"))
    assert [row["left_out"] for row in report["adapters"] if row["provider"] == "embedded"] == [None]


def test_a_port_in_use_is_named_with_the_cure_before_the_database_is_touched():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=rf"Port {port} on 0\.0\.0\.0 .* in use.*--port {port + 1}, or set PORT"):
            call_command("serve", port=port)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 70000}, "Port 70000 does not exist; use one from 1 to 65535"),
        ({"host": "no-such-host.invalid", "port": 8080}, "no-such-host.invalid is no address of this machine"),
        ({"workers": 0}, "--workers 0 must be at least 1"),
    ],
)
def test_a_bad_option_is_named_with_the_cure(options, message):
    with pytest.raises(CommandError, match=re.escape(message)):
        call_command("serve", **options)


def test_sigterm_ends_server_and_worker_with_exit_code_0(first):
    worker_port = first.worker_port
    assert is_listening(worker_port)
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(30) == 0
    assert not is_listening(worker_port)
    assert not is_listening(first.port)
    assert "Traceback" not in first.output


def test_a_command_says_that_no_worker_is_running_where_none_is(directory, first):
    if first.process.poll() is None:
        first.process.terminate()
        first.process.wait(30)
    assert "unconfigured: no embedded worker is running" in manage(directory, "explainroute", "smollm2-135m-instruct")


def test_a_later_start_with_two_workers_prints_no_secret_and_ends_on_ctrl_c(directory, first):
    if first.process.poll() is None:
        first.process.terminate()
        first.process.wait(30)
    second = serve(directory, "second", "--workers", "2")
    worker_port = second.worker_port
    os.killpg(second.process.pid, signal.SIGINT)
    assert second.process.wait(30) == 0
    assert not is_listening(worker_port)
    assert "password" not in second.output
    assert "sk-or-" not in second.output
    assert "Traceback" not in second.output


def test_it_makes_the_tables_of_an_empty_postgresql_where_uvicorn_alone_names_the_command(tmp_path):
    with postgres.running() as running:
        running.create_database("empty")
        without_worker = {**PostgresDatabase(running, "empty").environment, "EMBEDDED_WORKER": "off"}
        alone = subprocess.run(
            [sys.executable, "-m", "uvicorn", "gateway_project.asgi:application", "--port", str(free_port())],
            cwd=ROOT, env=environment(tmp_path, **without_worker), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert alone.returncode != 0
        assert "Run: uv run manage.py migrate" in alone.stderr
        served = serve(tmp_path, "postgresql", **without_worker)
        try:
            assert "Management key sk-or-v1-" in served.output
        finally:
            served.process.terminate()
            assert served.process.wait(30) == 0


@pytest.mark.parametrize(
    ("host", "port", "shown"),
    [
        ("0.0.0.0", 80, "http://localhost"),
        ("::", 8080, "http://localhost:8080"),
        ("10.0.0.7", 8080, "http://10.0.0.7:8080"),
        ("::1", 80, "http://[::1]"),
    ],
)
def test_addresses_are_shown_as_one_types_them(host, port, shown):
    assert server.url(host, port) == shown


def test_it_serves_without_an_engine_and_says_what_is_missing():
    text = welcome.text("http://localhost:8080", [], 3, engine=None, needs_key=False)
    assert "0 of 3 can answer" in text
    assert "set LOCAL_BASE_URL or a provider's key" in text
    assert "curl" not in text


def test_the_printed_command_carries_a_key_where_one_is_required():
    text = welcome.text("http://localhost:8080", ["m"], 1, engine=None, needs_key=True)
    assert "with KEY from `manage.py createapikey --name me`" in text
    assert 'Authorization: Bearer $KEY"' in text
