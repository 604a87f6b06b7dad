"""Log lines: one per event whatever a caller sends, with the request's id, without a key; and the ids in headers."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest

from completions import underway
from completions.underway import Underway
from gateway_project import errors
from gateway_project.errors import redact
from gateway_project.logs import ConsoleFormatter, JsonFormatter
from tests.fakes.catalogue import Served, seed
from tests.live import Gateway, until

KEYS = [
    "sk-or-v1-" + "ab12" * 16,
    "sk-proj-abc_def-1234567890abcdef",
    "sk-ant-api03-AbCdEf1234567890",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "gsk_abcdefghijklmnop1234",
    "xai-abcdefghijklmnop1234",
    "pplx-abcdefghijklmnop1234",
    "hf_abcdefghijklmnopqrstuvwx",
    "nvapi-abcdefghijklmnopqrstuv123456",
    "LLM|123456789012345|abcdefghijklmnopqrst",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
]
SHAPELESS = "0123456789abcdef0123"
PLACES = [
    "Authorization: Bearer {}",
    "authorization: Basic {}",
    "{{'Authorization': 'Bearer {}'}}",
    "{{'x-api-key': '{}'}}",
    '{{"x-goog-api-key": "{}"}}',
    '{{"x-api-key": "{}"}}',
    '{{"authorization": "Basic {}"}}',
    '"?key={}"',
    "(b'x-api-key', b'{}')",
    "api-key: {}",
    "Cookie: sessionid={}",
    "https://host.example/v1?key={}",
    "postgres://gateway:{}@localhost/db",
    "redis://:{}@localhost:6379/0",
]


def made(message: str, *args, level: int = logging.INFO, **more) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": "gateway.test", "levelno": level, "levelname": "INFO", "msg": message, "args": args, **more}
    )


@pytest.fixture
def request_under_way() -> Iterator[str]:
    token = underway.begin(Underway("gen-1-abc"))
    yield "gen-1-abc"
    underway.end(token)


@pytest.fixture
def formatter_of_json() -> JsonFormatter:
    return JsonFormatter()


# --- Keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formatter", [ConsoleFormatter(), JsonFormatter()])
@pytest.mark.parametrize("key", KEYS)
def test_what_looks_like_a_key_is_not_logged(formatter, key):
    line = formatter.format(made("refused: %s", f"the key {key} is wrong", fields={"model": key}))
    if isinstance(formatter, JsonFormatter):
        assert json.loads(line)["model"] == "[key removed]"
    assert key not in line
    assert line.count("[key removed]") == 2


@pytest.mark.parametrize("place", PLACES)
def test_what_stands_where_keys_stand_is_not_logged(place):
    text = place.format(SHAPELESS)
    assert SHAPELESS not in redact(text), redact(text)
    assert SHAPELESS not in ConsoleFormatter().format(made(text, fields={"told": text}))
    line = JsonFormatter().format(made(text, fields={"told": text}))
    assert SHAPELESS not in line
    assert json.loads(line)["message"] == json.loads(line)["told"] == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "model acme/sk-small answered in 12 ms",
        "authorization: failed",
        "the cookie banner is shown",
        "disk full: 12 tokens=34 kept",
        "GET https://host.example:8080/v1/models failed",
    ],
)
def test_what_is_no_key_stays(text):
    assert redact(text) == text


def test_a_known_secret_is_removed_whatever_it_looks_like():
    errors.conceal("correct horse battery staple")
    errors.conceal("short")
    assert redact("I sent correct horse battery staple, in short") == "I sent [key removed], in short"


def test_a_known_secret_is_removed_also_where_it_stands_within_json(formatter_of_json):
    secret = 'pass"word\\ü-of-ours'
    errors.conceal(secret)
    said = made("it said %s", json.dumps({"error": f"not {secret}"}), fields={"told": secret, "pair": [{"of": secret}]})
    line = json.loads(formatter_of_json.format(said))
    assert line["message"] == 'it said {"error": "not [key removed]"}'
    assert (line["told"], line["pair"]) == ("[key removed]", [{"of": "[key removed]"}])


def test_what_is_nested_is_redacted_as_what_its_name_says(formatter_of_json):
    sent = {
        "headers": {"Authorization": f"Basic {SHAPELESS}", "accept": "text/html"},
        "ports": (80, 443),
        "cost": Decimal("0.1"),
    }
    line = json.loads(formatter_of_json.format(made("sent", fields={"request": sent})))
    headers = {"Authorization": "[key removed]", "accept": "text/html"}
    assert line["request"] == {"headers": headers, "ports": [80, 443], "cost": "0.1"}


@pytest.mark.parametrize("formatter", [ConsoleFormatter(), JsonFormatter()])
def test_a_key_in_a_traceback_is_not_logged(formatter):
    try:
        raise ValueError(f'no {{"x-api-key": "{SHAPELESS}"}}\nnor {KEYS[0]}')
    except ValueError:
        text = formatter.format(made("it failed", exc_info=sys.exc_info()))
    assert "ValueError: no" in text
    assert SHAPELESS not in text
    assert KEYS[0] not in text
    if isinstance(formatter, JsonFormatter):
        assert "Traceback" in json.loads(text)["exception"]


@pytest.mark.parametrize("model", ["http://x:", "Bearer", "authorization:", "?key=", 'x"token='])
@pytest.mark.parametrize("caller_id", ["a@b", "1234567890", "/c@d"])
def test_words_of_a_caller_make_no_other_field_disappear(formatter_of_json, model, caller_id):
    fields = {
        "model": model,
        "status": 404,
        "error_type": "not_found",
        "client": "192.0.2.1",
        "caller_request_id": caller_id,
    }
    assert json.loads(formatter_of_json.format(made("chat whole", fields=fields))).items() >= fields.items()
    people = ConsoleFormatter().format(made("chat whole", fields=fields))
    assert people.endswith(f" status=404 error_type=not_found client=192.0.2.1 caller_request_id={caller_id}")


def test_a_url_with_a_login_ends_where_its_quotes_do():
    assert redact('{"a":"http://x:","b":"c@d"}') == '{"a":"http://x:","b":"c@d"}'
    assert redact("'redis://:it's-secret@localhost'") == "'redis://:[key removed]@localhost'"


def test_libraries_loggers_stay_below_the_level_at_which_they_show_headers():
    for name in ("django", "django.request", "aiohttp", "httpx", "httpcore", "urllib3", "asyncio", "uvicorn", "ninja"):
        assert not logging.getLogger(name).isEnabledFor(logging.DEBUG), name


# --- Lines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "evil", ["a\nERROR forged", "a\r\nforged", "a\x1b[2Jforged", "a\u2028forged", "a\x85forged", "a\x00forged"]
)
def test_what_callers_send_ends_no_line_and_steers_no_terminal(evil):
    line = ConsoleFormatter().format(made("no model %s", evil, fields={"model": evil}))
    assert line.splitlines() == [line]
    assert line.isprintable()
    parsed = JsonFormatter().format(made("no model %s", evil, fields={"model": evil}))
    assert "\n" not in parsed
    assert json.loads(parsed)["model"] == evil


def test_a_traceback_is_indented_so_that_nothing_in_it_looks_like_a_line_of_its_own():
    try:
        raise ValueError("bad\n00:00:00 INFO gateway.access: forged")
    except ValueError:
        text = ConsoleFormatter().format(made("it failed", exc_info=sys.exc_info()))
    first, *more = text.split("\n")
    assert first.endswith("it failed")
    assert more[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in more)


def test_lines_of_a_request_carry_its_id(request_under_way):
    assert ConsoleFormatter().format(made("hello")).endswith("hello request_id=gen-1-abc")
    assert json.loads(JsonFormatter().format(made("hello")))["request_id"] == "gen-1-abc"


def test_lines_of_no_request_carry_none():
    assert "request_id" not in ConsoleFormatter().format(made("hello"))
    assert "request_id" not in json.loads(JsonFormatter().format(made("hello")))


def test_json_says_when_how_bad_and_who():
    line = json.loads(JsonFormatter().format(made("n=%d", 3, created=1795000000.25, msecs=250.0, fields={"ms": 12})))
    expected = {"ts": "2026-11-18T11:06:40.250Z", "level": "INFO", "logger": "gateway.test", "message": "n=3", "ms": 12}
    assert line == expected


# --- A gateway that says all it can -----------------------------------------------------------------------------------

CALLER = "sk-or-v1-" + "0badcafe" * 8
ODD_SECRET = "correct.horse.battery.staple"
MODELS: dict[str, str | Served] = {
    "l/ok": "ok?tokens=4&cached=2",
    "l/leaky": "status?code=500",
    "l/closed": "status?code=401",
}


@pytest.fixture(scope="module")
def talkative(tmp_path_factory, fake, migrated_database) -> Iterator[Gateway]:
    environment = {
        "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": "json",
        "ACCESS_LOG": "true",
        "FAKE_KEY": ODD_SECRET,
        "METRICS_TOKEN": "scrape-0123456789",
    }
    directory = tmp_path_factory.mktemp("talkative")
    with Gateway(directory, seed(fake, MODELS), environment, database=migrated_database) as running:
        yield running


def lines(gateway: Gateway) -> list[dict]:
    return [json.loads(line) for line in gateway.log.splitlines() if line.startswith("{")]


def access_line(gateway: Gateway, request_id: str) -> dict:
    def find() -> list[dict]:
        return [line for line in lines(gateway) if line["logger"] == "gateway.access" and line["request_id"] == request_id]

    (line,) = until(find, f"the access line of {request_id}")
    return line


def ask(gateway: Gateway, model: str, headers: dict[str, str] | None = None, **more):
    body = {"model": model, "messages": [{"role": "user", "content": "one two"}], **more}
    return gateway.client.post("/v1/chat/completions", json=body, headers=headers or {})


def test_a_request_leaves_one_line_that_says_what_became_of_it(talkative):
    response = ask(talkative, "l/ok", {"X-Request-Id": "caller-7"}, stream=True)
    line = access_line(talkative, response.headers["x-request-id"])
    assert line["level"] == "INFO"
    assert (line["message"], line["model"], line["provider"], line["status"]) == ("chat stream", "l/ok", "l-ok-1", 200)
    assert (line["prompt_tokens"], line["completion_tokens"], line["attempts"]) == (12, 4, 1)
    assert line["cost_usd"] == str(talkative.row(request_id=line["request_id"])["cost_usd"]) or float(line["cost_usd"]) > 0
    assert 0 <= line["ttft_ms"] <= line["ms"]
    assert line["caller_request_id"] == "caller-7"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "error_type"),
    [
        ("POST", "/v1/chat/completions", {"Authorization": f"Bearer {CALLER}"}, 401, "authentication"),
        ("GET", "/v1/models/no/such", {}, 404, "not_found"),
        ("GET", "/api/v1/models", {}, 200, None),
        ("GET", "/v1/keys", {}, 401, "authentication"),
        ("GET", "/v1/nothing/" + "x" * 500, {}, 404, "not_found"),
    ],
)
def test_a_request_without_a_record_leaves_a_line_too(talkative, method, path, headers, status, error_type):
    response = talkative.client.request(method, path, json={}, headers={**headers, "X-Request-Id": "caller-8"})
    assert response.status_code == status
    line = access_line(talkative, response.headers["x-request-id"])
    assert (line["message"], line["status"], line.get("error_type")) == (f"{method} {path}"[:204], status, error_type)
    assert (line["client"], line["caller_request_id"]) == ("127.0.0.1", "caller-8")
    assert 0 <= line["ms"] < 5000


def test_no_request_leaves_two_lines_and_health_checks_and_admin_none(talkative):
    paths = ("/health", "/health/live", "/admin/login/")
    silent = {talkative.client.get(path).headers["x-request-id"] for path in paths}
    for model in ("l/ok", "no/such"):
        assert access_line(talkative, ask(talkative, model).headers["x-request-id"])
    named = [line["request_id"] for line in lines(talkative) if line["logger"] == "gateway.access"]
    assert len(named) == len(set(named))
    assert not silent & set(named)


def test_the_id_in_the_header_is_the_generations(talkative):
    response = ask(talkative, "l/ok")
    assert response.headers["x-request-id"] == response.json()["id"] == response.headers["x-generation-id"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/health", None, 200),
        ("GET", "/v1/models", None, 200),
        ("GET", "/v1/no/such/page", None, 404),
        ("PUT", "/v1/models", None, 405),
        ("POST", "/v1/chat/completions", b"{", 400),
        ("OPTIONS", "/v1/models", None, 405),
        ("GET", "/metrics", None, 401),
        ("GET", "/v1/keys", None, 401),
    ],
)
def test_every_response_has_an_id_of_its_own(talkative, method, path, body, status):
    headers = {"Content-Type": "application/json"}
    responses = [talkative.client.request(method, path, content=body, headers=headers) for _ in range(2)]
    assert [response.status_code for response in responses] == [status, status]
    first, second = (response.headers["x-request-id"] for response in responses)
    assert re.fullmatch(r"gen-\d+-[A-Za-z0-9]{20}", first)
    assert first != second


@pytest.mark.parametrize("given", ["x" * 129, "a b", "a;b", 'a"b', "<script>", "\u00e9"])
def test_an_id_of_a_caller_that_could_do_harm_is_neither_logged_nor_echoed(talkative, given):
    response = ask(talkative, "l/ok", {"X-Request-Id": given.encode()})
    assert response.status_code == 200
    assert given not in str(response.headers)
    assert "caller_request_id" not in access_line(talkative, response.headers["x-request-id"])


def test_a_forged_line_in_a_models_name_stays_in_its_line(talkative):
    forged = 'x\n{"level": "ERROR", "logger": "forged"}'
    response = ask(talkative, forged)
    assert response.status_code == 404
    assert access_line(talkative, response.headers["x-request-id"])["model"] == forged
    assert not [line for line in lines(talkative) if line["logger"] == "forged"]


def test_what_looks_like_a_login_in_a_models_name_leaves_the_rest_of_its_line(talkative):
    response = ask(talkative, "http://x:", {"X-Request-Id": "a@b"})
    line = access_line(talkative, response.headers["x-request-id"])
    assert (line["model"], line["caller_request_id"], line["status"]) == ("http://x:", "a@b", 404)
    assert line["client"] == "127.0.0.1"


def test_no_key_is_in_logs_answers_or_rows(talkative):
    """Keys of callers, of providers, in provider's error texts, in a model's name; with every logger of ours at DEBUG."""
    answers = [
        ask(talkative, "l/leaky", {"Authorization": f"Bearer {CALLER}"}),
        ask(talkative, "l/leaky", {"x-api-key": CALLER}),
        ask(talkative, "l/leaky"),
        ask(talkative, "l/closed"),
        ask(talkative, f"model {CALLER}"),
        talkative.client.get("/metrics", headers={"Authorization": "Bearer scrape-0123456789-wrong"}),
        talkative.client.get("/v1/key", headers={"Authorization": f"Bearer {CALLER}"}),
    ]
    assert [answer.status_code for answer in answers[:2]] == [401, 401]
    until(lambda: len(talkative.sql("SELECT 1 FROM api_logs WHERE model_id = 'l/closed'")) == 1, "the row is written")
    rows = str(talkative.sql("SELECT * FROM api_logs"))
    said = "".join(answer.text for answer in answers[:4])
    for secret in (CALLER, ODD_SECRET, "sk-secret0123456789abcdef", "scrape-0123456789"):
        assert secret not in talkative.log
        assert secret not in said
        assert secret not in rows
