"""Loading models.yaml from the console: the diff first, and nothing but the diff."""

from __future__ import annotations

import pytest
import yaml
from django.contrib.admin.models import LogEntry

from catalog.models import LanguageModel

PAGE, APPLY = "/admin/console/seed/", "/admin/console/seed/apply/"


@pytest.fixture
def models_file(tmp_path, settings):
    """A models.yaml in force; call it with the ids of its models."""
    settings.MODELS_CONFIG, settings.ROUTING_CONFIG = tmp_path / "models.yaml", tmp_path / "none.yaml"

    def write(*ids: str) -> None:
        model = {"name": "Acme", "provider": "acme", "base_url": "https://acme.example/v1", "provider_model_id": "falcon"}
        settings.MODELS_CONFIG.write_text(yaml.safe_dump({"models": [{"id": name, **model} for name in ids]}))

    return write


def told(response) -> str:
    return " ".join(str(message) for message in response.context["messages"])


def test_the_diff_is_shown_and_nothing_is_changed(browser, models_file):
    models_file("acme/falcon")
    assert "+ model acme/falcon" in browser.get(PAGE).text
    assert not LanguageModel.objects.exists()


def test_what_was_shown_is_applied_and_written_into_the_history(browser, models_file):
    models_file("acme/falcon")
    version = browser.get(PAGE).context["version"]
    assert "rows added" in told(browser.post(APPLY, {"version": version}, follow=True))
    assert LanguageModel.objects.get().public_id == "acme/falcon"
    assert LogEntry.objects.get().change_message.startswith("Loaded 1 models")
    assert "Nothing: the rows are as the files say." in browser.get(PAGE).text


def test_a_file_that_has_changed_since_is_not_applied(browser, models_file):
    models_file("acme/falcon")
    version = browser.get(PAGE).context["version"]
    models_file("acme/heron")
    assert "changed meanwhile" in told(browser.post(APPLY, {"version": version}, follow=True))
    assert not LanguageModel.objects.exists()


def test_edits_made_in_admin_are_kept_unless_overwriting_is_chosen(browser, models_file):
    models_file("acme/falcon")
    browser.post(APPLY, {"version": browser.get(PAGE).context["version"]})
    LanguageModel.objects.update(name="Ours")
    assert "kept as edited in admin" in browser.get(PAGE).text
    shown = browser.get(PAGE, {"force": "on"})
    browser.post(APPLY, {"version": shown.context["version"], "force": "on"})
    assert LanguageModel.objects.get().name == "Acme"


def test_a_broken_file_is_explained(browser, models_file, settings):
    settings.MODELS_CONFIG.write_text("models: [{id: 3}]")
    page = browser.get(PAGE)
    assert page.context["problems"]
    assert "Nothing was loaded" in told(browser.post(APPLY, {"version": "x"}, follow=True))


def test_it_takes_the_right_to_change_what_it_changes(staff, browser, models_file):
    models_file("acme/falcon")
    viewer = staff("view_languagemodel", "change_languagemodel")
    assert [viewer.get(PAGE).status_code, viewer.post(APPLY, {}).status_code] == [403, 403]
    assert PAGE in browser.get("/admin/catalog/languagemodel/").text
    assert browser.get(APPLY).status_code == 405
