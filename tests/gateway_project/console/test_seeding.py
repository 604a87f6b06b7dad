"""Loading models.yaml from the console: the diff first, and nothing but the diff."""

from __future__ import annotations

import pytest
import yaml
from django.contrib.admin.models import ADDITION, LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile

from catalog.models import AdapterPrice, LanguageModel
from catalog.seed.report import Action
from gateway_project.console import seeding
from gateway_project.console.seeding import PRICING_RIGHT, RIGHTS

PAGE, UPLOAD, APPLY = "/admin/console/seed/", "/admin/console/seed/upload/", "/admin/console/seed/apply/"


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
    assert set(LogEntry.objects.values_list("content_type__model", "object_repr", "action_flag")) == {
        ("provider", "acme", ADDITION),
        ("languagemodel", "acme/falcon", ADDITION),
        ("adapter", "acme/falcon at acme", ADDITION),
        ("routingweight", "acme/falcon at acme: 1", ADDITION),
    }
    assert all(entry.change_message.startswith("Loaded from ") for entry in LogEntry.objects.all())
    assert "Nothing: the rows are as the files say." in browser.get(PAGE).text


def test_of_a_long_difference_the_beginning_is_shown_and_everything_is_applied(browser, models_file, monkeypatch):
    monkeypatch.setattr(seeding, "SHOWN_CHANGES", 2)
    models_file("acme/falcon", "acme/heron", "acme/owl")
    page = browser.get(PAGE)
    assert len(page.context["changes"]) == 2
    assert "And 8 more rows that are not listed here." in page.text
    assert "acme/owl" not in page.text
    browser.post(APPLY, {"version": page.context["version"]})
    assert set(LanguageModel.objects.values_list("public_id", flat=True)) == {"acme/falcon", "acme/heron", "acme/owl"}


def test_a_long_difference_begins_with_what_would_change(browser, models_file, monkeypatch):
    models_file("acme/falcon")
    browser.post(APPLY, {"version": browser.get(PAGE).context["version"]})
    LanguageModel.objects.update(name="Ours")
    monkeypatch.setattr(seeding, "SHOWN_CHANGES", 1)
    models_file("acme/falcon", "acme/heron")
    ((shown, _),) = browser.get(PAGE).context["changes"]
    assert (shown.action, shown.key) == (Action.ADDED, "acme/heron")


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


FALCON = """
models:
  - id: acme/falcon
    name: Falcon
    route:
      - {kind: acme, base_url: "https://acme.example/v1", weight: 2}
"""


def upload(client, text, routing=None, **options):
    files = {"models": SimpleUploadedFile("mine.yaml", text if isinstance(text, bytes) else text.encode())}
    if routing is not None:
        files["routing"] = SimpleUploadedFile("rules.yaml", routing.encode())
    return client.post(UPLOAD, files | options)


def fields_of(page):
    """What the button "Apply these changes" sends."""
    return dict(page.context["kept"]) | {"version": page.context["version"]}


def test_an_upload_is_shown_as_a_diff_and_changes_nothing(browser, models_file):
    page = upload(browser, FALCON)
    assert "+ adapter acme/falcon at acme" in page.text
    assert "by loading mine.yaml" in page.text
    assert not LanguageModel.objects.exists()


def test_an_upload_is_applied_as_it_was_shown(browser, models_file):
    models_file("acme/other")
    fields = fields_of(upload(browser, FALCON, routing="timeout: 42"))
    response = browser.post(APPLY, fields, follow=True)
    assert "Loaded 1 models, 1 providers and 1 adapters from mine.yaml and rules.yaml" in told(response)
    model = LanguageModel.objects.get()
    assert (model.public_id, model.adapters.get().routing_weight.weight) == ("acme/falcon", 2)
    entry = LogEntry.objects.get(object_repr="every other model: weighted")
    assert entry.change_message == "Loaded from mine.yaml and rules.yaml."


def test_a_change_is_in_the_history_of_its_row_with_the_old_and_the_new_value(browser, models_file):
    browser.post(APPLY, fields_of(upload(browser, FALCON)))
    browser.post(APPLY, fields_of(upload(browser, FALCON.replace("name: Falcon", "name: Falcon II"))))
    entry = LogEntry.objects.latest("pk")
    assert entry.object_id == str(LanguageModel.objects.get().pk)
    assert entry.change_message == 'Loaded from mine.yaml. name: "Falcon" -> "Falcon II"'


def test_the_servers_routing_rules_have_no_say_in_an_upload(browser, models_file, settings):
    settings.ROUTING_CONFIG.write_text("local_deployment: [{endpoint: nowhere}]")
    assert "+ weight acme/falcon at acme" in upload(browser, FALCON).text


def test_an_upload_whose_effect_has_changed_since_is_shown_again(browser, models_file):
    fields = fields_of(upload(browser, FALCON))
    browser.post(APPLY, fields)
    LanguageModel.objects.update(name="Ours")
    page = browser.post(APPLY, fields)
    assert "changed meanwhile" in told(page)
    assert "kept as edited in admin" in page.text


def test_options_hold_for_an_upload(browser, models_file):
    browser.post(APPLY, fields_of(upload(browser, FALCON)))
    page = upload(browser, "models: []", prune="on")
    assert "- model acme/falcon" in page.text
    browser.post(APPLY, fields_of(page) | {"prune": "on"})
    assert not LanguageModel.objects.get().is_enabled


def test_options_can_be_chosen_after_the_diff_was_seen(browser, models_file):
    browser.post(APPLY, fields_of(upload(browser, FALCON)))
    page = upload(browser, "models: []")
    assert "? model acme/falcon" in page.text
    again = browser.post(UPLOAD, dict(page.context["kept"]) | {"prune": "on"})
    assert "- model acme/falcon" in again.text
    assert "by loading mine.yaml" in again.text


def test_every_problem_of_an_upload_has_its_line_field_and_cure(browser, models_file):
    page = upload(browser, FALCON.replace("weight: 2", "wieght: 2") + "    api_key: sk-live-0123456789abcdefghij\n")
    assert "2 problems; nothing has been changed" in page.text
    first, second = page.context["problems"]
    assert (first.file, first.line, first.field) == ("mine.yaml", 6, "models[0].route[0].wieght")
    assert (second.line, second.field) == (7, "models[0].api_key")
    assert "Did you mean &#x27;weight&#x27;?" in page.text
    assert "sk-live" not in page.text


@pytest.mark.parametrize(
    ("text", "problem"),
    [(b"\xff\xfe", "is not UTF-8 text"), (b"models: [", "is not valid YAML"), (b" ", "must be a mapping")],
)
def test_what_is_no_models_file_is_refused(browser, models_file, text, problem):
    assert problem in upload(browser, text).text


def test_a_large_upload_is_refused(browser, models_file, monkeypatch):
    monkeypatch.setattr(seeding, "MAX_UPLOAD_BYTES", 100)
    assert "load it in a shell" in upload(browser, FALCON).text


def test_without_a_file_it_says_what_is_missing(browser, models_file):
    assert "choose a file" in browser.post(UPLOAD, {}).text


PRICED = FALCON.replace("weight: 2", 'weight: 2, pricing: {prompt: "0.000001"}')


def test_prices_in_an_upload_take_the_right_to_set_prices(staff, models_file):
    operator = staff(*(right.partition(".")[2] for right in RIGHTS))
    page = upload(operator, PRICED)
    assert "It sets prices of acme/falcon at acme" in page.text
    assert "Apply these changes" not in page.text
    assert operator.post(APPLY, fields_of(page)).status_code == 403
    assert not LanguageModel.objects.exists()
    assert "Apply these changes" in upload(operator, FALCON).text

    both = staff(*(right.partition(".")[2] for right in (*RIGHTS, PRICING_RIGHT)))
    both.post(APPLY, fields_of(upload(both, PRICED)))
    assert AdapterPrice.objects.get().pricing == {"prompt": "0.000001"}


def test_uploading_takes_the_same_rights_as_loading(staff, models_file):
    viewer = staff("view_languagemodel", "change_languagemodel")
    assert upload(viewer, FALCON).status_code == 403


def test_what_was_exported_can_be_uploaded_without_a_change(browser, models_file):
    browser.post(APPLY, fields_of(upload(browser, FALCON)))
    text = browser.get("/admin/console/export/models.yaml").content
    assert "Nothing: the rows are as the files say." in upload(browser, text).text
