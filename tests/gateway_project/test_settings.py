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
        ("PORT", "99999"),
        ("LOCAL_BASE_URL", "localhost:8000"),
        ("MAX_BODY_MB", "nan"),
        ("MAX_BODY_MB", "inf"),
        ("SHUTDOWN_GRACE_S", "1e400"),
        ("ALLOWED_HOSTS", "https://gateway.example.org"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.0/99"),
        ("FORWARDED_ALLOW_IPS", "the-proxy"),
        ("CSRF_TRUSTED_ORIGINS", "x"),
        ("SECRET_KEY_FILE", "/missing"),
        ("METRICS_TOKEN_FILE", "/missing"),
        ("DATABASE_URL_FILE", "/missing"),
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


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("REDIS_URL", "foo", "is no address of a Redis"),
        ("REDIS_URL", "http://h:1", "is no address of a Redis"),
        ("REDIS_URL", "redis://h:hidden/0", "is no address of a Redis"),
        ("REDIS_URL", "redis://u:hidden@h/zz", "must end with the number of a database"),
        ("LOCAL_BASE_URL", "localhost:8000", "is no address of an HTTP API"),
        ("EMBEDDED_BASE_URL", "http://:8000", "is no address of an HTTP API"),
        ("LLAMA_BASE_URL", "u:hidden@h", "is no address of an HTTP API"),
        ("SECRET_KEY", " ", "holds nothing but white space"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_without_showing_it(tmp_path, name, value, rule):
    refused = start(tmp_path, **{name: value}).stderr.splitlines()[-1]
    assert re.search(rf"VariablesRefused: {name}.* {rule}.*(give|set) ", refused)
    assert "hidden" not in refused


def test_addresses_that_are_some_are_taken(tmp_path):
    good = {
        "ALLOWED_HOSTS": "gateway.example.org, .example.com,127.0.0.1,[::1],*",
        "FORWARDED_ALLOW_IPS": "127.0.0.1, 10.0.0.0/8,::1,*",
        "CSRF_TRUSTED_ORIGINS": "https://gateway.example.org,https://*.example.org:8443",
        "LOCAL_BASE_URL": "http://[::1]:8000/v1",
        "LLAMA_BASE_URL": " ",
    }
    for redis in ("redis://localhost", "rediss://u:p@h:1/2?protocol=3", "unix:///run/redis.sock?db=1", ""):
        result = start(tmp_path, **good, REDIS_URL=redis)
        assert result.returncode == 0, result.stderr


def test_a_folder_for_everything_that_cannot_be_made_is_told_where_nothing_else_needs_it(tmp_path):
    (tmp_path / "file").touch()
    given = {"SECRET_KEY": "given", "SQLITE_DB_PATH": str(tmp_path / "db.sqlite3")}
    refused = start(tmp_path, VAR_DIR=str(tmp_path / "file" / "var"), **given).stderr
    assert "cannot be made: Not a directory; set VAR_DIR to another folder" in refused.splitlines()[-1]


def test_a_generated_key_that_is_lost_is_told_with_its_file(tmp_path):
    (tmp_path / "secret_key").touch()
    refused = start(tmp_path).stderr.splitlines()[-1]
    assert f"{tmp_path / 'secret_key'} is empty; put back the key" in refused


def test_a_file_that_is_missing_hides_no_other_problem(tmp_path):
    refused = start(tmp_path, SECRET_KEY_FILE="/missing", PORT="0", REDIS_URL="foo").stderr
    assert "3 variables cannot be used:" in refused
    assert "- SECRET_KEY_FILE='/missing' cannot be read: No such file or directory; correct the path" in refused
    assert not (tmp_path / "secret_key").exists()


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
