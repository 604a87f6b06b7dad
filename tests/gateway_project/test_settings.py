"""The environment: every variable is documented, and a bad value stops the start by name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READS = re.compile(r"""(?:flag|positive|choice|(?:env|variables)\.\w+)\(\s*"([A-Z][A-Z_]+)\"""")
REFERENCES = re.compile(r"\$\{([A-Z][A-Z_]+)")


def documented() -> set[str]:
    return set(re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def start(tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import gateway_project.settings"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_a_folder_that_cannot_be_made_is_refused_with_the_variable_to_change(tmp_path):
    (tmp_path / "file").touch()
    result = start(tmp_path, VAR_DIR=str(tmp_path / "file" / "var"), SECRET_KEY="given")
    assert result.returncode != 0
    assert "cannot be made: [Errno 20] Not a directory" in result.stderr
    assert "set VAR_DIR or SQLITE_DB_PATH" in result.stderr.splitlines()[-1]


def test_the_example_lists_every_variable_that_the_settings_read():
    read = set(READS.findall((ROOT / "gateway_project" / "settings.py").read_text()))
    assert len(read) > 20, "the pattern finds nothing any more"
    otlp = set(re.findall(r'"(OTEL_[A-Z_]+)"', (ROOT / "gateway_project" / "otlp.py").read_text()))
    assert len(otlp) > 10
    read |= otlp
    assert read <= documented()


def test_the_example_lists_nothing_that_nobody_reads():
    source = "".join(
        path.read_text()
        for pattern in ("*.py", "*.yaml")
        for app in ("gateway_project", "catalog", "routingapp", "accounting")
        for path in (ROOT / app).rglob(pattern)
    )
    assert [name for name in sorted(documented()) if name not in source] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "0"),
        ("OFFLOAD", "maybe"),
        ("LOG_CONTENT", "some"),
        ("LOG_LEVEL", "LOUD"),
        ("MAX_BODY_MB", "-1"),
        ("KEEPALIVE_S", "never"),
        ("ROUTING_CONFIG", "no-such.yaml"),
        ("MODELS_CONFIG", "no-such.yaml"),
        ("DEEPSEEK_TPM_LIMIT", "plenty"),
        ("GEMINI_RPM_LIMIT", "0"),
        ("ACME_EU_TPD_LIMIT", "1.5"),
        ("ANONYMOUS_RPM_LIMIT", "-3"),
    ],
)
def test_a_bad_value_stops_the_start_in_under_a_second_naming_the_variable(tmp_path, name, value):
    began = time.process_time()
    result = start(tmp_path, **{name: value})
    assert result.returncode != 0
    assert f"{name}='{value}'" in result.stderr
    assert time.process_time() - began < 1


OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({OTLP: "http://localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL='grpc'"),
        ({OTLP: "http://a:1", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "OTLP_TRACES_PROTOCOL='http/json'"),
        ({OTLP: "collector:4317"}, f"{OTLP} must start with http://"),
        ({"OTEL_METRICS_EXPORTER": "otlp,carbon"}, "use one of otlp, none, console, prometheus"),
    ],
)
def test_what_would_never_arrive_over_otlp_stops_the_start(tmp_path, given, said):
    result = start(tmp_path, **given)
    assert result.returncode != 0
    assert said in result.stderr


@pytest.mark.parametrize(
    "given",
    [
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "prometheus", "OTEL_PROPAGATORS": "b3"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {OTLP: "http://localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_standard_words_of_opentelemetry_do_not_stop_a_start_that_sends_nothing(tmp_path, given):
    assert start(tmp_path, **given).returncode == 0


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    bad = {
        "DEBUG": "perhaps",
        "MAX_BODY_MB": "-1",
        "LOG_FORMAT": "xml",
        "GEMINI_RPM_LIMIT": "0",
        "ANONYMOUS_RPM_LIMIT": "-3",
    }
    run = subprocess.run(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "VAR_DIR": str(tmp_path),
            "USE_SQLITE_LOG": "false",
            "ALERT_WEBHOOK_URL": "x",
            **bad,
        },
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    first, *problems = run.stderr.splitlines()
    assert run.returncode == 1
    assert first == "8 variables cannot be used:"
    assert all(problem.startswith("- ") for problem in problems)
    assert [name for name in (*bad, "DATABASE_URL", "SECRET_KEY", "ALERT_WEBHOOK_URL") if name not in run.stderr] == []


@pytest.mark.parametrize("url", ["mysql://localhost/gateway", "postgres://localhost:port/gateway"])
def test_an_address_of_another_kind_of_database_is_refused(tmp_path, url):
    refused = start(tmp_path, USE_SQLITE_LOG="false", DATABASE_URL=url, SECRET_KEY="given")
    assert refused.returncode != 0
    assert "VariablesRefused: DATABASE_URL" in refused.stderr


def test_postgresql_without_an_address_is_refused(tmp_path):
    assert "USE_SQLITE_LOG=false needs DATABASE_URL" in start(tmp_path, USE_SQLITE_LOG="false", SECRET_KEY="given").stderr


def test_a_shared_database_needs_a_secret_key_that_is_shared(tmp_path):
    shared = {"USE_SQLITE_LOG": "false", "DATABASE_URL": "postgres:////run/postgresql/gateway"}
    assert "USE_SQLITE_LOG=false needs SECRET_KEY" in start(tmp_path, **shared).stderr
    assert start(tmp_path, **shared, SECRET_KEY="given").returncode == 0


def test_the_secret_key_is_made_once_and_kept(tmp_path):
    assert start(tmp_path).returncode == 0
    first = (tmp_path / "secret_key").read_text()
    assert start(tmp_path).returncode == 0
    assert (tmp_path / "secret_key").read_text() == first
    assert (tmp_path / "secret_key").stat().st_mode & 0o077 == 0


def test_a_secret_may_be_given_as_a_file(tmp_path):
    (tmp_path / "given").write_text("from a file\n")
    code = "from gateway_project.settings import SECRET_KEY as k; print(k.strip())"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path), "SECRET_KEY_FILE": str(tmp_path / "given")},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert result.stdout.strip() == "from a file"
