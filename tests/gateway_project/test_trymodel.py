"""manage.py trymodel: on a fake provider, on the embedded engine, and, marked external, on every provider that has a key."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml
from django.core.management import CommandError, call_command
from django.test import override_settings

from accounting.models import RequestLog
from catalog import environment, loader
from catalog.models import LanguageModel
from completions import snapshot
from gateway_project import embedded
from routingapp import seed
from tests import factories
from tests.fakes.catalogue import REFUSING_URL

pytestmark = pytest.mark.django_db(transaction=True)

LOCAL = "smollm2-135m-instruct"
SHIPPED = [model["id"] for model in yaml.safe_load(Path("catalog/models.yaml").read_text())["models"]]


@pytest.fixture(autouse=True)
def own_files(settings, tmp_path, monkeypatch):
    settings.JOURNAL_DIR = tmp_path / "journal"
    settings.VAR_DIR = tmp_path
    settings.EMBEDDED_WORKER = False
    monkeypatch.setattr(snapshot, "_current", None)  # the command loads one, which is nothing to later tests


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    with override_settings(VAR_DIR=tmp_path_factory.mktemp("worker")):
        running = embedded.start()
        yield running
        running.stop()


@pytest.fixture
def local_model(worker, monkeypatch):
    monkeypatch.setenv("EMBEDDED_BASE_URL", worker.base_url)
    seed.load()
    return LOCAL


def try_model(*arguments: str) -> tuple[str, list[str]]:
    """The answer, and the lines after it."""
    shown = io.StringIO()
    call_command("trymodel", *arguments, stdout=shown)
    lines = shown.getvalue().rstrip("\n").split("\n")
    after = next(index for index, line in enumerate(lines) if line.startswith(("1.", "-> ")))
    return "\n".join(lines[:after]), lines[after:]


def test_it_starts_the_embedded_engine_where_nobody_serves(monkeypatch, settings):
    monkeypatch.delenv("EMBEDDED_BASE_URL", raising=False)
    monkeypatch.delenv("LOCAL_BASE_URL", raising=False)
    settings.EMBEDDED_WORKER = True
    seed.load()
    answer, _ = try_model(LOCAL, "Hello")
    assert answer


@pytest.mark.parametrize("options", [[], ["--stream"]], ids=["whole", "stream"])
def test_it_answers_through_the_pipeline_and_is_recorded(local_model, tmp_path, options):
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"temperature": 0, "max_tokens": 24}))
    answer, after = try_model(local_model, "What is the capital of France?", "--body", str(body), *options)
    assert "Paris" in answer
    assert after[-2].startswith("-> embedded as ")
    row = RequestLog.objects.get()
    assert after[-1].startswith(f"{row.request_id}: {LOCAL} by embedded, ")
    assert f"{row.prompt_tokens} + {row.completion_tokens} tokens, USD 0" in after[-1]
    assert (row.status_code, row.stream, row.model_id) == (200, bool(options), LOCAL)
    assert row.completion_tokens > 1


def test_an_answer_keeps_to_a_json_schema(local_model, tmp_path):
    properties = {"city": {"type": "string", "maxLength": 20}, "people": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["city", "people"], "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": schema}}
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"response_format": wanted, "max_tokens": 100, "temperature": 0}))
    answer, _ = try_model(local_model, "Describe Paris.", "--body", str(body))
    assert json.loads(answer).keys() == {"city", "people"}


def test_the_plan_is_shown_with_every_candidate(local_model):
    standby = factories.provider("standby", base_url=REFUSING_URL)
    model = LanguageModel.objects.get(public_id=LOCAL)
    factories.adapter(model=model, provider=standby, weight=0)
    _, after = try_model(LOCAL, "Hi", "--stream")
    assert any(line.startswith(f"1. {LOCAL} at ") for line in after)
    assert any(line.startswith(f"2. {LOCAL} at ") for line in after)
    assert after[-2].startswith("-> embedded as ")
    assert RequestLog.objects.get().status_code == 200


def test_a_model_that_nobody_has_is_a_command_error():
    with pytest.raises(CommandError, match="acme/nothing"):
        call_command("trymodel", "acme/nothing", "Hi")


@pytest.mark.parametrize("options", [[], ["--stream"]], ids=["whole", "stream"])
def test_a_provider_that_does_not_answer_is_a_command_error_and_recorded(options):
    factories.adapter(
        model=factories.language_model("acme/dead"), provider=factories.provider(base_url=REFUSING_URL), weight=1
    )
    with pytest.raises(CommandError, match="cannot be reached"):
        call_command("trymodel", "acme/dead", "Hi", *options)
    assert RequestLog.objects.get().status_code == 502


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "cannot be read"),
        ("[]", "is no JSON object"),
        ('{"n": 0}', "n: must be at least 1, not 0"),
        ("{}", "messages"),
    ],
)
def test_a_body_that_is_none_is_a_command_error(content, complaint, tmp_path):
    body = tmp_path / "body.json"
    body.write_text(content)
    with pytest.raises(CommandError, match=complaint):
        call_command("trymodel", "acme/nothing", "--body", str(body))


@pytest.mark.external
@pytest.mark.parametrize("options", [[], ["--stream"]], ids=["whole", "stream"])
@pytest.mark.parametrize("model", SHIPPED)
def test_every_hosted_model_with_a_key_answers(model, options, tmp_path):
    seed.load()
    entry = loader.load(environment.lookup).find(model)
    assert entry is not None
    usable = [adapter for adapter in entry.adapters if adapter.unconfigured is None and not adapter.provider.is_local]
    if not usable:
        pytest.skip(f"no hosted provider of {model} is configured")
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"max_tokens": 4000, "provider": {"only": [usable[0].provider.slug]}}))
    answer, after = try_model(model, "What is the capital of France? One word.", "--body", str(body), *options)
    assert "Paris" in answer, after
    assert RequestLog.objects.get().is_estimated is False
