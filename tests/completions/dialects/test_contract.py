"""What every dialect owes, checked on recorded bodies. The layout of `tests/wire` is described in its README."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec import structs

from accounting.usage import Usage
from catalog.entries import AdapterEntry, DialectName, Prices, ProviderEntry, Quirks
from completions.dialects.base import Chunk, Completion, Dialect, StreamDecoder
from completions.dialects.openai import failures
from gateway_project import errors

WIRE = Path(__file__).parents[2] / "wire"
SECRET = "wire-test-secret"
FINISH_REASONS = {None, "tool_calls", "stop", "length", "content_filter", "error"}
KNOWN_FILES = {
    "request.json", "adapter.json", "encoded.json", "response.json", "stream.txt", "expected.json", "error.json",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """One recorded case: the files that share a name."""

    dialect: str
    name: str

    def path(self, kind: str) -> Path:
        return WIRE / self.dialect / f"{self.name}.{kind}"

    def has(self, kind: str) -> bool:
        return self.path(kind).exists()

    def json(self, kind: str) -> Any:
        return json.loads(self.path(kind).read_bytes())

    def __str__(self) -> str:
        return f"{self.dialect}-{self.name}"

    @property
    def adapter(self) -> AdapterEntry:
        overrides = self.json("adapter.json") if self.has("adapter.json") else {}
        quirks = Quirks(**overrides.pop("quirks", {}))
        if self.has("request.json"):
            overrides.setdefault("upstream_model", self.json("request.json").get("model", "test-model"))
        if "supported_parameters" in overrides:
            overrides["supported_parameters"] = frozenset(overrides["supported_parameters"])
        return dataclasses.replace(adapter_with(DialectName(self.dialect), quirks), **overrides)


def adapter_with(dialect: DialectName, quirks: Quirks) -> AdapterEntry:
    provider = ProviderEntry(
        id=1, slug="acme", name="Acme", dialect=dialect, base_url="http://127.0.0.1:9/base", api_keys=("${ACME_KEY}",),
        is_local=False, connect_timeout_s=1, first_byte_timeout_s=1, idle_timeout_s=1, total_timeout_s=1,
        extra_headers={}, quirks=quirks,
    )  # fmt: skip
    return AdapterEntry(
        id=1, model_id="acme/falcon", provider=provider, upstream_model="test-model", is_enabled=True, prices=Prices(),
        context_length=128_000, max_output_length=None, quantization=None, supported_parameters=frozenset(),
        unconfigured=None,
    )  # fmt: skip


def _cases(*kinds: str) -> list[Any]:
    """The recorded cases that have one of `kinds`, all of them if none is named."""
    found = set()
    for path in WIRE.glob("*/*.*"):
        name, _, kind = path.name.partition(".")
        if kind in kinds or not kinds:
            found.add(Case(path.parent.name, name))
    return [pytest.param(case, id=str(case)) for case in sorted(found, key=str)]


def _dialect(name: str) -> Dialect:
    importlib.import_module(f"completions.dialects.{name}")
    pending = list(Dialect.__subclasses__())
    while pending:
        found = pending.pop()
        if getattr(found, "name", None) == name and not getattr(found, "__abstractmethods__", None):
            return found()
        pending.extend(found.__subclasses__())
    raise LookupError(f"completions.dialects.{name} defines no Dialect named {name!r}")


def _plain_usage(usage: Usage) -> dict[str, Any]:
    return {name: value for name, value in structs.asdict(usage).items() if value}


def _plain(piece: Completion | Chunk) -> dict[str, Any]:
    """`piece` as its recording writes it: what is empty is left out."""
    plain: dict[str, Any] = {"choices": piece.choices}
    if piece.usage is not None:
        plain["usage"] = _plain_usage(piece.usage)
    if piece.upstream_id is not None:
        plain["upstream_id"] = piece.upstream_id
    if piece.extra:
        plain["extra"] = piece.extra
    return plain


def _plain_error(error: errors.ProviderError) -> dict[str, Any]:
    return {"class": type(error).__name__, "status": error.status}


def _run(decoder: StreamDecoder, data: bytes, size: int) -> dict[str, Any]:
    chunks: list[Chunk] = []
    plain: dict[str, Any] = {}
    try:
        for start in range(0, len(data), size):
            chunks += decoder.feed(data[start : start + size])
        chunks += decoder.flush()
    except errors.ProviderError as error:
        plain["error"] = _plain_error(error)
    plain["chunks"] = [_plain(chunk) for chunk in chunks]
    plain["is_finished"] = decoder.is_finished
    if decoder.malformed:
        plain["malformed"] = decoder.malformed
    return plain


def _assert_canonical(message: dict[str, Any]) -> None:
    """Rules that clients enforce on any message or delta (openrouter.md 9.1): omit, never null; arguments are strings."""
    for name in ("tool_calls", "reasoning_details", "images", "annotations"):
        assert name not in message or (isinstance(message[name], list) and message[name])
    for call in message.get("tool_calls", ()):
        assert isinstance(call["function"]["arguments"], str)
        assert None not in (call.get("id", ""), call.get("type", ""), call["function"].get("name", ""))


@pytest.mark.parametrize("case", _cases())
def test_every_recorded_file_is_one_that_the_contract_knows(case):
    kinds = {path.name.partition(".")[2] for path in (WIRE / case.dialect).glob(f"{case.name}.*")}
    assert kinds <= KNOWN_FILES
    answers = kinds & {"response.json", "stream.txt", "error.json"}
    assert len(answers) == 1 or (not answers and "encoded.json" in kinds), "a case is one answer, or about encode alone"
    assert ("expected.json" in kinds) == bool(kinds & {"response.json", "stream.txt"})


@pytest.mark.parametrize("case", _cases("request.json"))
@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_encoded_without_being_changed(case, stream):
    chat = case.json("request.json")
    before = copy.deepcopy(chat)
    dialect = _dialect(case.dialect)
    encoded = dialect.encode(chat, case.adapter, stream=stream)
    assert chat == before
    assert isinstance(orjson.loads(encoded.body), dict)
    assert dialect.encode(chat, case.adapter, stream=stream) == encoded, "no randomness and no clock in a dialect"


@pytest.mark.parametrize("case", _cases("encoded.json"))
def test_a_request_is_encoded_as_recorded(case):
    chat = case.json("request.json")
    encoded = _dialect(case.dialect).encode(chat, case.adapter, stream=bool(chat.get("stream")))
    assert orjson.loads(encoded.body) == case.json("encoded.json")


@pytest.mark.parametrize("case", _cases("request.json"))
def test_the_secret_is_in_the_headers_alone(case):
    dialect = _dialect(case.dialect)
    path = dialect.path(case.adapter, stream=True)
    assert path.startswith("/")
    assert SECRET not in path
    assert any(SECRET in value for value in dialect.headers(case.adapter.provider, SECRET).values())
    assert not any("None" in value for value in dialect.headers(case.adapter.provider, None).values())


@pytest.mark.parametrize("case", _cases("response.json"))
def test_a_response_is_decoded_as_recorded(case):
    expected = case.json("expected.json")
    dialect = _dialect(case.dialect)
    body = case.path("response.json").read_bytes()
    if "error" in expected:
        with pytest.raises(getattr(errors, expected["error"]["class"])) as caught:
            dialect.decode(body, case.adapter)
        assert _plain_error(caught.value) == expected["error"]
        return
    completion = dialect.decode(body, case.adapter)
    assert _plain(completion) == expected
    for choice in completion.choices:
        assert choice["finish_reason"] in FINISH_REASONS
        assert choice["message"]["role"] == "assistant"
        _assert_canonical(choice["message"])


@pytest.mark.parametrize("case", _cases("stream.txt"))
@pytest.mark.parametrize("size", [1, 2, 7, None], ids=["1", "2", "7", "all"])
def test_a_stream_is_decoded_as_recorded_whatever_the_pieces(case, size):
    data = case.path("stream.txt").read_bytes()
    decoded = _run(_dialect(case.dialect).decoder(case.adapter), data, size or max(1, len(data)))
    assert decoded == case.json("expected.json")
    for chunk in decoded["chunks"]:
        for choice in chunk["choices"]:
            assert choice["finish_reason"] in FINISH_REASONS
            _assert_canonical(choice["delta"])


@pytest.mark.parametrize("case", _cases("stream.txt"))
def test_a_stream_that_is_cut_is_not_finished(case):
    data = case.path("stream.txt").read_bytes()
    decoded = _run(_dialect(case.dialect).decoder(case.adapter), data[: len(data) // 8], 7)
    assert decoded["is_finished"] is False


@pytest.mark.parametrize("case", _cases("error.json"))
def test_an_error_is_understood_as_recorded(case):
    recorded = case.json("error.json")
    body = recorded["body"] if isinstance(recorded["body"], str) else json.dumps(recorded["body"])
    headers = {name.lower(): value for name, value in recorded["headers"].items()}
    error = _dialect(case.dialect).error(recorded["status"], headers, body.encode())
    expected = recorded["expected"]
    assert _plain_error(error) == {"class": expected["class"], "status": expected["status"]}
    assert error.retry_after_s == expected.get("retry_after_s")
    assert error.upstream_status == recorded["status"]
    assert error.message
    assert SECRET not in error.message


NO_NUMBER = ("\u00b2", "9" * 400, "9" * 5000, "-1", "nan", "inf", "1e400", "1.2.3")


@pytest.mark.parametrize("dialect", sorted({case.values[0].dialect for case in _cases()}))
@pytest.mark.parametrize("text", NO_NUMBER)
def test_a_wait_that_is_no_number_is_no_wait(dialect, text):
    headers = [
        {name: text, "date": "Fri, 20 Nov 2026 12:00:00 GMT"}
        for name in ("retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-reset-requests")
    ]
    headers += [{"x-ratelimit-reset-tokens": f"{text}{unit}"} for unit in ("h", "m", "s", "ms")]
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{text}s"}
    body = json.dumps({"error": {"code": text, "message": "slow down", "details": [delay]}}).encode()
    for each in headers:
        error = _dialect(dialect).error(429, each, body)
        assert (error.status, error.retry_after_s) == (429, None), each


@pytest.mark.parametrize("text", NO_NUMBER)
def test_a_code_that_is_no_status_is_none(text):
    error = failures.told({"error": {"code": text, "message": "no"}}, b"")
    assert (error.status, error.provider_code) == (502, text)


@pytest.mark.parametrize("dialect", sorted({case.values[0].dialect for case in _cases()}))
@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"null", b"[]", b'{"unrelated": 1}', b"\xff\xfe"])
def test_what_is_no_answer_is_refused(dialect, body):
    adapter = adapter_with(DialectName(dialect), Quirks())
    with pytest.raises(errors.ProviderError):
        _dialect(dialect).decode(body, adapter)
    error = _dialect(dialect).error(502, {"content-type": "text/html"}, body)
    assert isinstance(error, errors.ProviderUnavailable)


@pytest.mark.parametrize("dialect", sorted({case.values[0].dialect for case in _cases()}))
def test_a_stream_that_says_nothing_gives_nothing_and_is_not_finished(dialect):
    decoder = _dialect(dialect).decoder(adapter_with(DialectName(dialect), Quirks()))
    assert decoder.feed(b": keep-alive\r\n\r\n") == []
    assert decoder.flush() == []
    assert decoder.is_finished is False
