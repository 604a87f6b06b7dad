"""Google's own SDK as the judge: what we encode is what it would send, and what we replay is what it understands."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import types

from catalog.entries import DialectName, Quirks
from completions.dialects.gemini import Gemini
from tests.completions.dialects.test_contract import adapter_with

WIRE = Path(__file__).parents[2] / "wire" / "gemini"
KEY = "loopback-key"


def _names(kind: str) -> list[str]:
    return sorted(path.name.partition(".")[0] for path in WIRE.glob(f"*.{kind}"))


def _load(name: str, kind: str) -> Any:
    return json.loads((WIRE / f"{name}.{kind}").read_bytes())


def _events(name: str) -> list[Any]:
    events = []
    for line in (WIRE / f"{name}.stream.txt").read_text().splitlines():
        data = line.removeprefix("data: ")
        if data.startswith("{") and not data.startswith("{broken"):
            events.append(json.loads(data))
    return events


class _Google(ThreadingHTTPServer):
    """Gives `answer` (status, media type, body) to every request and keeps what was `asked` (path, headers, body)."""

    answer: tuple[int, str, bytes]
    asked: tuple[str, dict[str, str], Any]


class _Replay(BaseHTTPRequestHandler):
    server: _Google

    def do_POST(self):
        length = int(self.headers["content-length"])
        self.server.asked = (self.path, dict(self.headers), json.loads(self.rfile.read(length)))
        status, media_type, body = self.server.answer
        self.send_response(status)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        """Stay silent."""


@pytest.fixture(scope="module")
def google() -> Iterator[_Google]:
    server = _Google(("127.0.0.1", 0), _Replay)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def client(google) -> genai.Client:
    return genai.Client(
        api_key=KEY,
        http_options=types.HttpOptions(
            base_url=f"http://127.0.0.1:{google.server_port}",
            api_version="v1beta",
            retry_options=types.HttpRetryOptions(attempts=1),
        ),
    )


def _config(body: dict[str, Any]) -> types.GenerateContentConfig:
    """All of `body` but the contents, in the one object in which the SDK takes it. Unknown fields are refused."""
    beside = {key: value for key, value in body.items() if key not in ("contents", "generationConfig")}
    return types.GenerateContentConfig.model_validate({**beside, **body.get("generationConfig", {})})


def _normal(value: Any) -> Any:
    """`value` in one spelling: the SDK sends some fields by their Python names, bytes in the URL-safe kind of base64 (protobuf's
    JSON takes both), and an empty generationConfig where there is none."""
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if not isinstance(value, dict):
        return value
    spelled = {_camel(key): _normal(item) for key, item in value.items() if (key, item) != ("generationConfig", {})}
    for key in {"data", "thoughtSignature"} & set(spelled):
        spelled[key] = spelled[key].replace("-", "+").replace("_", "/")
    return spelled


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@pytest.mark.parametrize("name", _names("encoded.json"))
def test_the_sdk_would_send_what_we_encode(name, google, client):
    body = _load(name, "encoded.json")
    google.answer = (200, "application/json", b'{"candidates": []}')
    model = _load(name, "request.json")["model"]
    contents = [types.Content.model_validate(content) for content in body["contents"]]
    client.models.generate_content(model=model, contents=contents, config=_config(body))
    path, headers, sent = google.asked
    assert _normal(sent) == _normal(body)
    adapter = adapter_with(DialectName.GEMINI, Quirks())
    assert path == "/v1beta" + Gemini().path(adapter, stream=False).replace("test-model", model)
    ours = Gemini().headers(adapter.provider, KEY)
    assert {name.lower(): value for name, value in headers.items()}["x-goog-api-key"] == ours["x-goog-api-key"] == KEY


@pytest.mark.parametrize("name", _names("response.json"))
def test_recorded_answers_are_of_googles_shape(name):
    types.GenerateContentResponse.model_validate(_load(name, "response.json"))


@pytest.mark.parametrize("name", _names("stream.txt"))
def test_recorded_streams_are_of_googles_shape(name):
    for event in _events(name):
        if "error" not in event:
            types.GenerateContentResponse.model_validate(event)


@pytest.mark.parametrize("name", [name for name in _names("response.json") if "error" not in _load(name, "expected.json")])
def test_the_sdk_reads_in_an_answer_what_we_read(name, google, client):
    google.answer = (200, "application/json", (WIRE / f"{name}.response.json").read_bytes())
    theirs = client.models.generate_content(model="gemini-any", contents="x")
    ours = _load(name, "expected.json")
    message = ours["choices"][0]["message"]
    parts = (theirs.candidates[0].content and theirs.candidates[0].content.parts) or []
    assert "".join(part.text for part in parts if part.text and not part.thought) == (message["content"] or "")
    assert "".join(part.text for part in parts if part.text and part.thought) == (message["reasoning"] or "")
    calls = [(call.name, call.args) for call in theirs.function_calls or ()]
    assert calls == [
        (call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message.get("tool_calls", ())
    ]
    assert theirs.usage_metadata.total_token_count == sum(
        count for name, count in ours["usage"].items() if name != "web_searches"
    )


@pytest.mark.parametrize("name", ["stream", "reasoning_stream", "parallel_tools_stream", "grounded_stream"])
def test_the_sdk_reads_in_a_stream_what_we_read(name, google, client):
    google.answer = (200, "text/event-stream", (WIRE / f"{name}.stream.txt").read_bytes())
    theirs = list(client.models.generate_content_stream(model="gemini-any", contents="x"))
    path = Gemini().path(adapter_with(DialectName.GEMINI, Quirks()), stream=True)
    assert google.asked[0] == "/v1beta" + path.replace("test-model", "gemini-any")
    deltas = [chunk["choices"][0]["delta"] for chunk in _load(name, "expected.json")["chunks"] if chunk["choices"]]
    parts = [part for piece in theirs for part in (piece.candidates or [None])[0:1] if part for part in part.content.parts]
    assert "".join(part.text or "" for part in parts if not part.thought) == "".join(d["content"] for d in deltas)
    assert "".join(part.text for part in parts if part.thought) == "".join(d.get("reasoning", "") for d in deltas)
    assert [part.function_call.id for part in parts if part.function_call] == [
        call["id"] for delta in deltas for call in delta.get("tool_calls", ())
    ]


@pytest.mark.parametrize("name", _names("error.json"))
def test_the_sdk_reads_in_an_error_what_we_read(name, google, client):
    recorded = _load(name, "error.json")
    body = recorded["body"] if isinstance(recorded["body"], str) else json.dumps(recorded["body"])
    google.answer = (recorded["status"], recorded["headers"]["content-type"], body.encode())
    with pytest.raises(genai.errors.APIError) as caught:
        client.models.generate_content(model="gemini-any", contents="x")
    assert caught.value.code == recorded["status"]
    ours = Gemini().error(recorded["status"], {}, body.encode())
    if isinstance(recorded["body"], dict):
        assert caught.value.message == recorded["body"]["error"]["message"]
        assert ours.raw
