"""`manage.py discovermodels`: a provider's list in a terminal, and chosen ones added."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from catalog.models import LanguageModel
from tests import factories
from tests.fakes import lists
from tests.fakes.lists import ListServer

pytestmark = pytest.mark.django_db

MODELS = [
    {"id": "falcon", "context_length": 200_000, "pricing": {"prompt": "0.0000005", "completion": "0.000002"}},
    {"id": "heron"},
    {"id": "owl"},
    {"id": "whisper", "active": False},
]


@pytest.fixture
def acme():
    with ListServer() as server:
        server.answer = lists.document({"data": MODELS})
        yield factories.provider("acme", name="Acme", base_url=server.base_url)


def run(*arguments):
    out = StringIO()
    summary = call_command("discovermodels", *arguments, stdout=out)
    return summary, out.getvalue().splitlines()[:-1]


def test_it_lists_what_is_offered_beside_what_is_there(acme):
    factories.adapter(factories.language_model("birds/heron"), acme, upstream_model="heron")
    factories.language_model("owl")
    summary, lines = run("acme")
    assert lines == ["+ falcon  200,000 tokens  0.5 / 2 USD per M", "= heron  served as birds/heron", "> owl"]
    assert summary == "Acme offers 3 models; 1 more cannot be asked by this gateway."


def test_it_adds_what_it_is_told_under_the_name_it_is_told(acme):
    summary, _ = run("acme", "--add", "falcon", "--add", "heron=birds/heron")
    assert summary == "Added 2 models, switched off."
    assert set(LanguageModel.objects.values_list("public_id", "is_enabled")) == {("falcon", False), ("birds/heron", False)}


def test_what_cannot_be_added_is_named_and_nothing_is_added(acme):
    with pytest.raises(CommandError, match="Nothing was added:\ndodo: Acme does not offer it any more"):
        run("acme", "--add", "falcon", "--add", "dodo")
    assert not LanguageModel.objects.exists()


def test_an_unknown_provider_is_answered_with_the_known_ones(acme):
    with pytest.raises(CommandError, match=r"There is no provider acmee\. Known: acme\."):
        run("acmee")


def test_a_provider_that_cannot_be_asked_says_why(monkeypatch):
    monkeypatch.delenv("MISSING_KEY", raising=False)
    factories.provider("acme", api_key="${MISSING_KEY}")
    with pytest.raises(CommandError, match="environment variable MISSING_KEY is not set"):
        run("acme")
