import textwrap

import pytest

from catalog.seed import models_file
from catalog.seed.document import Document
from routingapp import routing_file

MODELS = """
    models:
      - id: falcon
        name: Falcon
        aliases: [acme/falcon]
        route:
          - {kind: vllm}
          - {kind: vllm, base_url: "http://gpu-2/v1"}
          - {kind: deepseek, provider_model_id: falcon-up}
          - {kind: openai}
      - {id: owl, name: Owl, provider: vllm}
      - {id: crow, name: Crow, provider: openai}
"""


@pytest.fixture
def parse(tmp_path):
    models, routing = tmp_path / "models.yaml", tmp_path / "routing.yaml"
    models.write_text(textwrap.dedent(MODELS))
    seed = models_file.parse(Document.at(models))
    assert seed.problems == []

    def parse(text):
        routing.write_text(textwrap.dedent(text))
        return routing_file.parse(Document.at(routing), seed)

    return parse


def test_the_fraction_is_shared_over_each_side(parse):
    routing = parse("""
        routing_parameter: {local_fraction: 0.7}
        local_deployment: [{endpoint: vllm}, {endpoint: "http://gpu-2/v1", models: [falcon]}]
        remote_deployment: [{endpoint: deepseek, models: [falcon]}, {endpoint: openai, models: [acme/falcon]}]
    """)

    assert routing.problems == ()
    assert routing.weights == {
        "falcon at vllm": 0.35, "falcon at vllm-gpu-2": 0.35, "falcon at deepseek": 0.15, "falcon at openai": 0.15,
        "owl at vllm": 0.7,
    }  # fmt: skip


def test_where_one_side_is_named_the_other_adapters_are_the_other_side(parse):
    routing = parse("""
        routing_parameter: {local_fraction: 0.6}
        local_deployment: [{endpoint: vllm, models: [falcon]}]
    """)

    assert routing.weights == {
        "falcon at vllm": 0.6, "falcon at vllm-gpu-2": 0.133333, "falcon at deepseek": 0.133333, "falcon at openai": 0.133333,
    }  # fmt: skip


def test_models_that_are_not_named_keep_their_weights(parse):
    routing = parse("routing_parameter: {local_fraction: 1}\nlocal_deployment: [{endpoint: vllm, models: [falcon]}]")

    assert not {"owl at vllm", "crow at openai"} & routing.weights.keys()


def test_an_endpoint_may_be_a_variable_or_what_it_stands_for(parse, monkeypatch):
    monkeypatch.setenv("LOCAL_BASE_URL", "http://gpu-1:8000/v1")
    text = 'routing_parameter: {{local_fraction: 0.5}}\nlocal_deployment: [{{endpoint: "{}", models: [owl]}}]'

    for endpoint in ("${LOCAL_BASE_URL}", "http://gpu-1:8000/v1/", "vllm"):
        assert parse(text.format(endpoint)).weights == {"owl at vllm": 0.5}


def test_deployments_without_a_fraction_leave_the_weights(parse):
    assert parse("local_deployment: [{endpoint: vllm}]").weights == {}


def test_the_longest_wait_is_a_number_of_seconds(parse):
    assert parse("routing_strategy: weighted").policy["longest_wait_s"] == 30
    assert parse("routing_parameter: {longest_wait: 0}").policy["longest_wait_s"] == 0


@pytest.mark.parametrize("text", ["health_check: 3", "health_check: {interval: 3}"])
def test_health_check_is_a_number_or_a_mapping(parse, text):
    assert parse(text).policy["health_check_interval_s"] == 3


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("routing_stategy: weighted", "routing_stategy", "Did you mean 'routing_strategy'?"),
        ("routing_strategy: wieghted", "routing_strategy", "Did you mean 'weighted'?"),
        ("routing_parameter: {local_fraction: 2}", "routing_parameter.local_fraction", "less than or equal to 1"),
        ("routing_parameter: {local_part: 1}", "routing_parameter.local_part", "Did you mean 'local_fraction'?"),
        ("timeout: 0", "timeout", "greater than or equal to 1"),
        ("health_check: often", "health_check", "must be a number"),
        ("routing_parameter: {longest_wait: -1}", "routing_parameter.longest_wait", "greater than or equal to 0"),
        ("health_check: {every: 3}", "health_check.every", "unknown field"),
        ("local_deployment: [{models: [owl]}]", "local_deployment[0].endpoint", "provider's name or base URL"),
        ("local_deployment: [{endpoint: vlm}]", "local_deployment[0].endpoint", "Did you mean 'vllm'?"),
        ("local_deployment: [{endpoint: vllm, models: [crow]}]", "local_deployment[0].models", "crow is not served there"),
        ("local_deployment: [{endpoint: vllm, models: owl}]", "local_deployment[0].models", "must be a list"),
        ("local_deployment: vllm", "local_deployment", "must be a list"),
    ],
)
def test_every_fault_names_its_field_and_the_cure(parse, text, field, message):
    (problem,) = parse(text).problems

    assert (problem.line, problem.field) == (1, field)
    assert message in problem.message


def test_an_adapter_is_local_or_remote(parse):
    (problem,) = parse(
        "local_deployment: [{endpoint: openai, models: [crow]}]\nremote_deployment: [{endpoint: openai, models: [crow]}]"
    ).problems

    assert problem.line == 2
    assert problem.message == "crow at openai is named as local and as remote; name it once"
