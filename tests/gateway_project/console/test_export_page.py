"""The catalogue as files, from the console."""

from __future__ import annotations

import yaml

from tests import factories

PAGE, MODELS, ROUTING = "/admin/console/export/", "/admin/console/export/models.yaml", "/admin/console/export/routing.yaml"


def test_the_file_is_shown_and_can_be_taken_away(browser):
    factories.adapter(factories.language_model("acme/falcon"), weight=3)
    page = browser.get(PAGE).text
    assert "acme/falcon" in page
    assert MODELS in page
    response = browser.get(MODELS)
    assert response.headers["Content-Disposition"] == 'attachment; filename="models.yaml"'
    assert response.headers["Content-Type"] == "application/yaml; charset=utf-8"
    assert yaml.safe_load(response.content)["models"][0]["route"][0]["weight"] == 3


def test_the_default_policy_is_a_file_of_its_own_where_there_is_one(browser):
    assert ROUTING not in browser.get(PAGE).text
    assert browser.get(ROUTING).status_code == 404
    factories.routing_policy(deadline_s=42, hedges=True)
    page = browser.get(PAGE).text
    assert ROUTING in page
    assert "Of the default policy: hedges." in page
    assert yaml.safe_load(browser.get(ROUTING).content)["timeout"] == 42


def test_other_names_are_not_found(browser):
    assert browser.get("/admin/console/export/secrets.yaml").status_code == 404


def test_rows_that_cannot_be_written_are_named_instead(browser):
    factories.provider("acme", base_url="https://ada:hidden@acme.example/v1")
    for address in (PAGE, MODELS):
        response = browser.get(address)
        assert "provider acme: base_url" in response.text
        assert "ada:hidden" not in response.text
        assert "Content-Disposition" not in response.headers


def test_it_takes_the_right_to_see_all_of_it(staff):
    some = staff("view_languagemodel", "view_provider", "view_adapter")
    assert [some.get(address).status_code for address in (PAGE, MODELS)] == [403, 403]
    assert PAGE not in some.get("/admin/catalog/languagemodel/").text
    views = [
        f"view_{row}" for row in ("languagemodel", "provider", "adapter", "adapterprice", "routingweight", "routingpolicy")
    ]
    viewer = staff(*views)
    assert [viewer.get(address).status_code for address in (PAGE, MODELS)] == [200, 200]
    assert PAGE in viewer.get("/admin/catalog/languagemodel/").text
