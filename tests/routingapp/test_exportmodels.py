"""`manage.py exportmodels`: where it writes to, and where it does not."""

from __future__ import annotations

from io import StringIO

import pytest
import yaml
from django.core.management import CommandError, call_command

from tests import factories

pytestmark = pytest.mark.django_db


def run(*arguments):
    out, err = StringIO(), StringIO()
    summary = call_command("exportmodels", *map(str, arguments), stdout=out, stderr=err)
    return summary, out.getvalue(), err.getvalue()


def test_without_a_path_it_prints_the_file_and_nothing_else():
    factories.adapter(factories.language_model("acme/falcon"), weight=3)
    summary, out, err = run()
    assert yaml.safe_load(out)["models"][0]["route"][0]["weight"] == 3
    assert (summary, err) == (None, "")


def test_it_writes_both_files_and_tells_what_neither_holds(tmp_path):
    factories.routing_policy(hedges=True, deadline_s=42)
    models, routing = tmp_path / "models.yaml", tmp_path / "routing.yaml"
    summary, _, err = run(models, "--routing", routing)
    assert summary == f"Wrote 0 models, 0 providers and 0 adapters to {models} and {routing}."
    assert yaml.safe_load(routing.read_text())["timeout"] == 42
    assert "hedges" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models.yaml", "routing.yaml"]


def test_a_file_that_exists_is_replaced_only_when_told(tmp_path):
    path = tmp_path / "models.yaml"
    path.write_text("# mine\n")
    with pytest.raises(CommandError, match="exists; name another file"):
        run(path)
    assert path.read_text() == "# mine\n"
    run(path, "--overwrite")
    assert "mine" not in path.read_text()


def test_what_it_writes_loadmodels_reads_without_a_change(tmp_path, settings):
    settings.ROUTING_CONFIG = tmp_path / "absent.yaml"
    factories.adapter(factories.language_model("acme/falcon"), weight=3)
    run(tmp_path / "models.yaml")
    out = StringIO()
    call_command("loadmodels", str(tmp_path / "models.yaml"), stdout=out)
    assert "0 rows added, 0 changed, 0 disabled, 0 kept" in out.getvalue()


def test_rows_that_cannot_be_written_are_named_and_no_file_is_made(tmp_path):
    factories.provider("acme", base_url="https://ada:hidden@acme.example/v1")
    with pytest.raises(CommandError, match="provider acme: base_url"):
        run(tmp_path / "models.yaml")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(CommandError, match="cannot be written: No such file"):
        run(tmp_path / "nowhere" / "models.yaml")


def test_there_may_be_no_default_policy_to_write(tmp_path):
    with pytest.raises(CommandError, match="no default policy"):
        run("--routing", tmp_path / "routing.yaml")
