from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from catalog.models import LanguageModel

pytestmark = pytest.mark.django_db


@pytest.fixture
def path(tmp_path, settings):
    settings.ROUTING_CONFIG = tmp_path / "absent.yaml"
    path = tmp_path / "models.yaml"
    path.write_text("models:\n  - id: falcon\n    name: Falcon\n    provider: deepseek\n")
    return path


def run(*arguments):
    out = StringIO()
    summary = call_command("loadmodels", *map(str, arguments), stdout=out)
    return summary, out.getvalue().splitlines()


def test_it_prints_the_diff_and_returns_its_summary(path):
    summary, lines = run(path)

    assert lines == [
        "+ provider deepseek",
        "+ model falcon",
        "+ adapter falcon at deepseek",
        "+ weight falcon at deepseek",
        summary,
    ]
    assert summary == (
        f"Loaded 1 models, 1 providers and 1 adapters from {path}: 4 rows added, 0 changed, 0 disabled, "
        "0 kept as edited in admin."
    )


def test_a_dry_run_writes_nothing(path):
    summary, lines = run(path, "--dry-run")

    assert "+ model falcon" in lines
    assert summary.startswith("Dry run of 1 models")
    assert not LanguageModel.objects.exists()


def test_prune_and_force_reach_the_seed(path):
    run(path)
    LanguageModel.objects.update(name="Mine")
    assert "~ model falcon" in run(path, "--force")[1]

    path.write_text("models: []")

    assert "- model falcon  (disabled: no longer in the file)" in run(path, "--prune")[1]


def test_what_a_file_of_a_part_leaves_alone_is_counted_and_listed_on_demand(path):
    run(path)
    path.write_text("models:\n  - id: hawk\n    name: Hawk\n    provider: deepseek\n")

    lines = run(path)[1]
    assert [line for line in lines if line.startswith("?")] == [
        "? 2 rows are not in this file, still enabled; --prune disables them, -v 2 lists them"
    ]
    assert lines.index("+ model hawk") < len(lines) - 2

    listed = [line.split("  ")[0] for line in run(path, "--verbosity", "2")[1] if line.startswith("?")]
    assert sorted(listed) == ["? adapter falcon at deepseek", "? model falcon"]

    path.write_text("models: []")
    run(path, "--prune")
    path.write_text("models: []\n")
    assert not [line for line in run(path)[1] if line.startswith("?")]


def test_the_routing_file_is_read(path, tmp_path):
    routing = tmp_path / "routing.yaml"
    routing.write_text("timeout: 30")

    assert "+ policy of all models" in run(path, "--routing", routing)[1]


def test_faults_are_a_command_error_that_lists_them(path):
    path.write_text(
        "models:\n  - id: falcon\n    nmae: Falcon\n    provider: deepseek\n    api_key: sk-1234567890123456789\n"
    )

    with pytest.raises(CommandError) as error:
        run(path)

    assert str(error.value).splitlines()[:2] == [
        "Nothing was loaded; 3 problems:",
        f"{path}:3: models[0].nmae: unknown field. Did you mean 'name'?",
    ]
    assert "sk-1234567890123456789" not in str(error.value)


def test_a_missing_routing_file_is_an_error_when_it_was_named(path, tmp_path):
    with pytest.raises(CommandError, match=r"nowhere\.yaml: cannot be read"):
        run(path, "--routing", tmp_path / "nowhere.yaml")
