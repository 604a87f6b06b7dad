"""Loading, again and again: what is written, what is left alone, and what a fault changes (nothing)."""

import textwrap

import pytest

from catalog import revision
from catalog.models import Adapter, LanguageModel, ModelAlias, Provider, SeededRow
from catalog.seed.problems import SeedRefused
from catalog.seed.report import Action
from routingapp import seed
from routingapp.models import RoutingPolicy, RoutingWeight
from tests import factories

pytestmark = pytest.mark.django_db

FALCON = """
    models:
      - id: falcon
        name: Falcon
        aliases: [acme/falcon]
        pricing: {prompt: "0.000001", completion: "0.000002"}
        route:
          - {kind: vllm, weight: 3}
          - {kind: deepseek, weight: 1, provider_model_id: falcon-up}
"""


@pytest.fixture
def load(tmp_path, settings):
    """Loads a text as models.yaml, and another as routing.yaml."""
    settings.ROUTING_CONFIG = tmp_path / "absent.yaml"

    def load(text, routing=None, **options):
        path = tmp_path / "models.yaml"
        path.write_text(textwrap.dedent(text))
        routing_path = None
        if routing is not None:
            routing_path = tmp_path / "routing.yaml"
            routing_path.write_text(textwrap.dedent(routing))
        return seed.load(path, routing_path, **options)

    return load


def done(report):
    """What a load did, as {(mark, kind, key)}."""
    return {(change.action.value, change.kind, change.key) for change in report.changes}


def table(row):
    return list(row.objects.order_by("pk").values())


def everything():
    return [table(row) for row in (Provider, LanguageModel, ModelAlias, Adapter, RoutingWeight, RoutingPolicy, SeededRow)]


def weights():
    return {str(weight.adapter): weight.weight for weight in RoutingWeight.objects.select_related("adapter")}


def test_it_makes_rows_of_a_file(load):
    report = load(FALCON)

    falcon = LanguageModel.objects.get(public_id="falcon")
    assert falcon.pricing == {"prompt": "0.000001", "completion": "0.000002"}
    assert [alias.alias for alias in falcon.aliases.all()] == ["acme/falcon"]
    assert weights() == {"falcon at vLLM": 3, "falcon at DeepSeek": 1}
    assert Adapter.objects.get(provider__slug="deepseek").upstream_model == "falcon-up"
    assert Provider.objects.get(slug="vllm").base_url == "${LOCAL_BASE_URL}"
    assert (report.models, report.providers, report.adapters) == (1, 2, 2)
    for row in (*Provider.objects.all(), *LanguageModel.objects.all(), *Adapter.objects.all()):
        row.full_clean()


def test_loading_again_changes_nothing(load):
    load(FALCON)
    before, number = everything(), revision.current()

    report = load(FALCON)

    assert report.changes == []
    assert everything() == before
    assert revision.current() == number


def test_an_edit_of_the_file_reaches_the_row(load):
    load(FALCON)

    report = load(FALCON.replace("name: Falcon", "name: Falcon II").replace("weight: 3", "weight: 5"))

    assert LanguageModel.objects.get().name == "Falcon II"
    assert weights()["falcon at vLLM"] == 5
    assert done(report) == {("~", "model", "falcon"), ("~", "weight", "falcon at vllm")}
    assert '    name: "Falcon" -> "Falcon II"' in report.lines()


def test_a_field_taken_out_of_the_file_returns_to_its_default(load):
    load(FALCON + "        max_output_length: 100\n")

    load(FALCON)

    assert LanguageModel.objects.get().max_output_length == 4096


def test_a_dry_run_reports_and_changes_nothing(load):
    load(FALCON)
    before, number = everything(), revision.current()

    report = load(FALCON.replace("name: Falcon", "name: Falcon II"), dry_run=True)

    assert done(report) == {("~", "model", "falcon")}
    assert report.summary().startswith("Dry run of 1 models")
    assert everything() == before
    assert revision.current() == number


def test_an_edit_in_admin_is_kept_and_reported(load):
    load(FALCON)
    LanguageModel.objects.update(name="Mine")

    report = load(FALCON.replace("name: Falcon", "name: Theirs").replace("0.000001", "0.000003"))

    falcon = LanguageModel.objects.get()
    assert falcon.name == "Mine"
    assert falcon.pricing["prompt"] == "0.000003"
    assert done(report) == {("~", "model", "falcon"), ("=", "model", "falcon")}
    assert '    name: "Mine"; the file says "Theirs"' in report.lines()


def test_an_edit_in_admin_stays_kept_however_often_the_file_is_loaded(load):
    load(FALCON)
    RoutingWeight.objects.filter(weight=3).update(weight=9)

    load(FALCON)
    load(FALCON.replace("weight: 3", "weight: 4"))
    load(FALCON)

    assert weights()["falcon at vLLM"] == 9


def test_an_edit_that_is_taken_back_in_admin_lets_the_file_rule_again(load):
    load(FALCON)
    LanguageModel.objects.update(name="Mine")
    load(FALCON)
    LanguageModel.objects.update(name="Falcon")

    load(FALCON.replace("name: Falcon", "name: Theirs"))

    assert LanguageModel.objects.get().name == "Theirs"


def test_force_overwrites_edits(load):
    load(FALCON)
    LanguageModel.objects.update(name="Mine", is_enabled=False)

    load(FALCON, force=True)

    falcon = LanguageModel.objects.get()
    assert (falcon.name, falcon.is_enabled) == ("Falcon", True)
    assert load(FALCON).changes == []


def test_a_row_made_in_admin_is_adopted_without_being_changed(load):
    factories.language_model("falcon", name="Mine")

    load(FALCON)
    report = load(FALCON)

    assert LanguageModel.objects.get().name == "Mine"
    assert ("=", "model", "falcon") in done(report)


def test_a_row_renamed_in_admin_is_still_the_same_row(load):
    load(FALCON)
    LanguageModel.objects.update(public_id="renamed")
    Adapter.objects.filter(upstream_model="falcon-up").update(upstream_model="other")

    load(FALCON)

    assert LanguageModel.objects.get().public_id == "renamed"
    assert set(Adapter.objects.values_list("upstream_model", flat=True)) == {"falcon", "other"}


def test_a_row_deleted_in_admin_stays_deleted_until_forced(load):
    load(FALCON)
    LanguageModel.objects.all().delete()

    report = load(FALCON)

    assert LanguageModel.objects.count() == 0
    assert "= model falcon  (deleted in admin; --force brings it back)" in report.lines()
    load(FALCON, force=True)
    assert weights() == {"falcon at vLLM": 3, "falcon at DeepSeek": 1}
    assert load(FALCON).changes == []


def test_a_row_deleted_in_admin_and_in_the_file_is_made_anew_when_it_returns(load):
    load(FALCON)
    LanguageModel.objects.all().delete()
    load("models: []")

    load(FALCON)

    assert weights() == {"falcon at vLLM": 3, "falcon at DeepSeek": 1}


def test_what_is_gone_from_the_file_is_only_reported(load):
    load(FALCON)

    report = load("models: []")

    assert LanguageModel.objects.get().is_enabled
    assert ("?", "model", "falcon") in done(report)


def test_prune_disables_what_is_gone_from_the_file_and_deletes_nothing(load):
    load(FALCON)
    factories.adapter(factories.language_model("made-in-admin"))

    report = load("models: []", prune=True)

    assert not LanguageModel.objects.get(public_id="falcon").is_enabled
    assert LanguageModel.objects.get(public_id="made-in-admin").is_enabled
    assert Adapter.objects.filter(is_enabled=False).count() == 2
    assert Provider.objects.filter(is_enabled=False).count() == 2
    assert sum(change.action is Action.DISABLED for change in report.changes) == 5
    assert load("models: []", prune=True).changes == []


def test_what_was_pruned_is_enabled_again_when_it_returns(load):
    load(FALCON)
    load("models: []", prune=True)

    load(FALCON)

    assert LanguageModel.objects.get().is_enabled
    assert Adapter.objects.filter(is_enabled=True).count() == 2


def test_what_was_disabled_in_admin_stays_disabled(load):
    load(FALCON)
    Adapter.objects.update(is_enabled=False)

    load(FALCON)

    assert not Adapter.objects.filter(is_enabled=True).exists()


def test_another_upstream_model_changes_the_adapter_and_keeps_its_row(load):
    load(FALCON)
    key = Adapter.objects.get(upstream_model="falcon-up").pk

    load(FALCON.replace("falcon-up", "falcon-up-2"), prune=True)

    assert Adapter.objects.get(upstream_model="falcon-up-2").pk == key
    assert Adapter.objects.count() == 2


def test_a_second_route_at_the_same_provider_keeps_the_first_ones_row(load):
    one = "models: [{id: a, name: A, route: [{kind: vllm, provider_model_id: x}]}]"
    two = "models: [{id: a, name: A, route: [{kind: vllm, provider_model_id: y}, {kind: vllm, provider_model_id: x}]}]"
    load(one)
    key = Adapter.objects.get().pk

    load(two)
    assert Adapter.objects.get(upstream_model="x").pk == key
    assert load(two).changes == []

    load(one, prune=True)
    assert Adapter.objects.get(is_enabled=True).pk == key
    assert load(one, prune=True).changes == []


def test_a_fault_changes_nothing(load):
    load(FALCON)
    before = everything()

    with pytest.raises(SeedRefused):
        load(FALCON.replace("name: Falcon", "name: Falcon II") + "      - {id: b, name: B, provider: nobody}\n")

    assert everything() == before


def test_a_fault_found_in_the_database_changes_nothing_either(load):
    factories.language_model("made-in-admin", aliases=("b",))
    before = everything()

    with pytest.raises(SeedRefused, match="b already names model made-in-admin in the database"):
        load(FALCON + "      - {id: b, name: B, provider: vllm}\n")

    assert everything() == before


def test_an_alias_may_not_be_the_id_of_a_model_made_in_admin(load):
    factories.language_model("acme/falcon")

    with pytest.raises(SeedRefused, match=r"models\.yaml:3: models\[0\]: acme/falcon already names model acme/falcon"):
        load(FALCON)


def test_aliases_follow_the_file(load):
    load(FALCON)

    load(FALCON.replace("[acme/falcon]", "[bird, acme/bird]"))

    assert set(ModelAlias.objects.values_list("alias", flat=True)) == {"bird", "acme/bird"}


def test_an_alias_added_in_admin_is_kept(load):
    load(FALCON)
    ModelAlias.objects.create(model=LanguageModel.objects.get(), alias="mine")

    load(FALCON.replace("[acme/falcon]", "[bird]"))

    assert set(ModelAlias.objects.values_list("alias", flat=True)) == {"acme/falcon", "mine"}


def test_an_alias_moves_from_one_model_to_another(load):
    both = """
        models:
          - {{id: a, name: A, provider: vllm, aliases: [{0}]}}
          - {{id: b, name: B, provider: vllm, aliases: [{1}]}}
    """
    load(both.format("x", "y"))

    report = load(both.format("y", "x"))

    assert {(alias.alias, str(alias.model)) for alias in ModelAlias.objects.select_related("model")} == {
        ("y", "a"), ("x", "b"),
    }  # fmt: skip
    assert not any(change.action is Action.KEPT for change in report.changes)
    assert load(both.format("y", "x")).changes == []


def test_a_model_may_be_renamed_and_keep_its_old_id_as_an_alias(load):
    load("models: [{id: old, name: A, provider: vllm}]")

    with pytest.raises(SeedRefused, match="load with --prune"):
        load("models: [{id: new, name: A, provider: vllm, aliases: [old]}]")
    load("models: [{id: new, name: A, provider: vllm, aliases: [old]}]", prune=True)

    assert LanguageModel.objects.get(is_enabled=True).public_id == "new"
    assert load("models: [{id: new, name: A, provider: vllm, aliases: [old]}]", prune=True).changes == []


def test_a_collision_that_only_the_database_sees_is_a_problem_with_a_line(load):
    load(FALCON)
    factories.adapter(
        LanguageModel.objects.get(), Provider.objects.get(slug="deepseek"), upstream_model="falcon-2", quantization=""
    )

    with pytest.raises(SeedRefused, match=r"models\.yaml:9: .*collides with a row made in admin"):
        load(FALCON.replace("falcon-up", "falcon-2"))


def test_the_revision_rises_so_that_every_worker_reloads(load):
    before = revision.current()

    load(FALCON)

    assert revision.current() > before


ROUTING = """
    routing_strategy: weighted
    routing_parameter: {local_fraction: 0.8, max_attempts: 4}
    timeout: 45
    health_check: {interval: 5}
    local_deployment:
      - {endpoint: vllm, models: [acme/falcon]}
    remote_deployment:
      - {endpoint: "https://api.deepseek.com/v1/", models: [falcon-up]}
"""


def test_routing_overrides_weights_and_writes_the_default_policy(load):
    load(FALCON, ROUTING)

    assert weights() == {"falcon at vLLM": 0.8, "falcon at DeepSeek": 0.2}
    policy = RoutingPolicy.objects.get()
    assert policy.model is None
    assert (policy.strategy, policy.deadline_s, policy.max_attempts, policy.health_check_interval_s) == (
        "weighted",
        45,
        4,
        5,
    )
    assert policy.local_fraction is None
    assert load(FALCON, ROUTING).changes == []


def test_without_routing_the_policy_is_left_alone(load):
    factories.routing_policy(max_attempts=7)

    load(FALCON)

    assert RoutingPolicy.objects.get().max_attempts == 7


def test_a_policy_edited_in_admin_is_kept(load):
    load(FALCON, ROUTING)
    RoutingPolicy.objects.update(deadline_s=99)

    load(FALCON, ROUTING.replace("timeout: 45", "timeout: 50"))

    assert RoutingPolicy.objects.get().deadline_s == 99


def test_a_fraction_without_deployments_is_a_policy(load):
    load(FALCON, "routing_parameter: {local_fraction: 0.25}")

    assert RoutingPolicy.objects.get().local_fraction == 0.25
    assert weights() == {"falcon at vLLM": 3, "falcon at DeepSeek": 1}


def test_faults_of_both_files_are_told_together(load):
    with pytest.raises(SeedRefused) as refusal:
        load("models: [{id: a, nam: A, provider: vllm}]", "timeout: soon\nlocal_deployment: [{endpoint: vlm}]\n")

    text = str(refusal.value)
    assert "models.yaml:1: models[0].nam: unknown field" in text
    assert "routing.yaml:1: timeout: must be a number" in text
    assert "Did you mean 'vllm'?" in text


def test_it_reads_the_files_that_the_settings_name(load, settings, tmp_path):
    settings.MODELS_CONFIG = tmp_path / "settings-models.yaml"
    settings.ROUTING_CONFIG = tmp_path / "settings-routing.yaml"
    settings.MODELS_CONFIG.write_text(textwrap.dedent(FALCON))
    settings.ROUTING_CONFIG.write_text("timeout: 12")

    seed.load()

    assert LanguageModel.objects.get().public_id == "falcon"
    assert RoutingPolicy.objects.get().deadline_s == 12
