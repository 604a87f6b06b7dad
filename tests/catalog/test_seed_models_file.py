"""What models.yaml may say, what it means, and how its faults are told. No database is needed for any of it."""

import textwrap

import pytest
import yaml

from catalog.seed import models_file
from catalog.seed.document import Document
from catalog.seed.models_file import MODEL_FIELDS, ROUTE_FIELDS
from catalog.seed.stanzas import FIELDS as STANZA_FIELDS


@pytest.fixture
def parse(tmp_path):
    def parse(text):
        path = tmp_path / "models.yaml"
        path.write_text(textwrap.dedent(text))
        return models_file.parse(Document.at(path))

    return parse


@pytest.fixture
def refused(parse):
    """The problems of a text: line, field, message."""

    def refused(text):
        return [(problem.line, problem.field, problem.message) for problem in parse(text).problems]

    return refused


def test_a_model_needs_three_lines(parse):
    seed = parse("models:\n  - id: deepseek-chat\n    name: Chat\n    provider: deepseek\n")

    (model,), (provider,), (adapter,) = seed.models, seed.providers, seed.adapters
    assert seed.problems == []
    assert model.values["owned_by"] == "deepseek"
    assert (model.values["context_length"], model.values["max_output_length"]) == (8192, 4096)
    assert model.values["input_modalities"] == ["text"]
    assert (provider.slug, provider.base_url) == ("deepseek", "https://api.deepseek.com/v1")
    assert provider.values["api_key"] == "${DEEPSEEK_API_KEY}"
    assert (adapter.upstream_model, adapter.weight) == ("deepseek-chat", 1)
    assert "created" not in model.values


def test_every_field_of_a_model_reaches_its_row(parse):
    seed = parse("""
        models:
          - id: acme/falcon
            name: Falcon
            provider: openai
            owned_by: acme
            aliases: [falcon, bird]
            canonical_slug: acme/falcon-20261101
            description: Fast.
            provider_model_id: falcon-up
            quantization: fp8
            context_length: 100
            max_output_length: 50
            input_modalities: [text, image]
            output_modalities: [text]
            supports_tools: true
            supports_structured_output: true
            supported_params: [seed]
            default_parameters: {temperature: 0.5}
            reasoning: {mandatory: true}
            pricing: {prompt: 0.0000005, completion: "0.000001", request: 0}
            tokenizer: Other
            hugging_face_id: acme/falcon
            knowledge_cutoff: 2026-06-01
            expiration_date: 2027-06-01
            created: 2026-11-01
            enabled: false
    """)

    assert seed.problems == []
    (model,), (adapter,) = seed.models, seed.adapters
    assert model.values == {
        "public_id": "acme/falcon", "name": "Falcon", "owned_by": "acme", "aliases": ["bird", "falcon"],
        "canonical_slug": "acme/falcon-20261101", "description": "Fast.", "context_length": 100, "max_output_length": 50,
        "input_modalities": ["text", "image"], "output_modalities": ["text"], "supports_tools": True,
        "supports_structured_output": True, "supported_parameters": ["seed"], "default_parameters": {"temperature": 0.5},
        "reasoning": {"mandatory": True}, "pricing": {"prompt": "0.0000005", "completion": "0.000001", "request": "0"},
        "tokenizer": "Other", "hugging_face_id": "acme/falcon", "knowledge_cutoff": "2026-06-01",
        "expiration_date": "2027-06-01", "created": "2026-11-01T00:00:00+00:00", "is_enabled": False,
    }  # fmt: skip
    assert (adapter.upstream_model, adapter.values["quantization"]) == ("falcon-up", "fp8")


def test_routes_inherit_from_the_model_and_say_the_rest_themselves(parse):
    seed = parse("""
        models:
          - id: falcon
            name: Falcon
            provider: acme
            provider_model_id: falcon-up
            quantization: bf16
            route:
              - kind: vllm
                weight: 3
              - kind: openai
                weight: 0
                provider_model_id: falcon-hosted
                quantization: fp8
                pricing: {prompt: "0.000002", completion: "0.000004"}
                context_length: 4000
                max_output_length: 1000
                supported_params: [seed]
                enabled: false
                limits: {concurrency: 2}
    """)

    assert seed.problems == []
    local, hosted = seed.adapters
    assert (local.provider.slug, local.upstream_model, local.values["quantization"], local.weight) == (
        "vllm", "falcon-up", "bf16", 3,
    )  # fmt: skip
    assert local.values["pricing"] is None
    assert hosted.values == {
        "upstream_model": "falcon-hosted", "quantization": "fp8", "context_length": 4000, "max_output_length": 1000,
        "pricing": {"prompt": "0.000002", "completion": "0.000004"}, "supported_parameters": ["seed"], "is_enabled": False,
        "rpm_limit": None, "tpm_limit": None, "rpd_limit": None, "tpd_limit": None, "max_concurrency": 2,
    }  # fmt: skip
    assert hosted.weight == 0
    assert seed.models[0].values["owned_by"] == "acme"


def test_an_unknown_kind_with_a_base_url_is_a_compatible_provider_of_that_name(parse):
    seed = parse("""
        models:
          - {id: a, name: A, provider: Acme Cloud, base_url: "https://api.acme.example/v1/", api_key: "${ACME_API_KEY}"}
          - {id: b, name: B, provider: Acme Cloud}
    """)

    assert seed.problems == []
    (provider,) = seed.providers
    assert (provider.slug, provider.values["name"], provider.base_url) == (
        "acme-cloud", "Acme Cloud", "https://api.acme.example/v1",
    )  # fmt: skip
    assert provider.values["dialect"] == "openai"
    assert provider.values["api_key"] == "${ACME_API_KEY}"


@pytest.mark.parametrize(
    ("base_url", "slug"),
    [
        ("https://gpu-7.example:9000/v1", "vllm-gpu-7-example-9000"),
        ("http://gpu/v1", "vllm-gpu"),
        ("http://gpu/tenants/a/v1", "vllm-gpu-tenants-a-v1"),
        ("${SECOND_GPU_URL:-http://gpu/v1}", "vllm-second-gpu-url"),
    ],
)
def test_a_known_kind_at_another_base_url_is_a_provider_of_its_own(parse, base_url, slug):
    seed = parse(f"""
        models:
          - id: falcon
            name: Falcon
            route:
              - {{kind: vllm}}
              - {{kind: vllm, base_url: "{base_url}"}}
    """)

    assert seed.problems == []
    usual, other = seed.providers
    assert (usual.slug, other.slug, other.base_url) == ("vllm", slug, base_url)
    assert other.is_local
    assert other.values["continuation"] == "continue_final_message"


def test_a_known_kind_with_another_key_is_a_provider_of_its_own(parse):
    seed = parse("models: [{id: a, name: A, provider: openai, api_key: '${TEAM_B_KEY}'}]")

    (provider,) = seed.providers
    assert (provider.slug, provider.values["api_key"]) == ("openai-team-b-key", "${TEAM_B_KEY}")


def test_variables_are_kept_as_written(parse):
    seed = parse(
        "models: [{id: a, name: A, provider: llama, base_url: '${LLAMA_BASE_URL:-https://api.llama.com/compat/v1}'}]"
    )

    (provider,) = seed.providers
    assert (provider.slug, provider.base_url) == ("llama", "${LLAMA_BASE_URL:-https://api.llama.com/compat/v1}")


def test_a_stanza_changes_only_the_fields_it_names(parse):
    seed = parse("""
        models: []
        providers:
          - kind: deepseek
            timeouts: {first_byte: 5}
            api_keys: ["${DEEPSEEK_KEY_2}"]
            limits: {rpm: 60, tpm: 100000, rpd: 1000, tpd: 2000000000000, concurrency: 8}
    """)

    assert seed.problems == []
    (provider,) = seed.providers
    assert provider.base_url == "https://api.deepseek.com/v1"
    assert provider.values["first_byte_timeout_s"] == 5
    assert provider.values["reasoning_echo"] == "reasoning_content"
    assert provider.values["api_keys"] == ["${DEEPSEEK_KEY_2}"]
    limits = ("rpm_limit", "tpm_limit", "rpd_limit", "tpd_limit", "max_concurrency")
    assert [provider.values[name] for name in limits] == [60, 100000, 1000, 2000000000000, 8]


def test_a_new_kind_is_a_stanza_and_no_python(parse):
    seed = parse("""
        models:
          - {id: falcon, name: Falcon, provider: acme}
        providers:
          - kind: acme
            name: Acme
            base_url: https://api.acme.example/v1
            api_key: ${ACME_API_KEY}
            headers: {x-team: gateway}
            auth_header: x-acme-key
            accepts_developer_role: true
    """)

    assert seed.problems == []
    (provider,) = seed.providers
    assert provider.values["extra_headers"] == {"x-team": "gateway"}
    assert provider.values["auth_header"] == "x-acme-key"
    assert provider.values["accepts_developer_role"] is True


def test_shipped_kinds_make_no_rows_unless_used(parse):
    assert parse("models: []").providers == ()


def test_unknown_fields_are_refused_with_the_closest_known_one(refused):
    assert refused("""\
        models:
          - id: a
            name: A
            provider: vllm
            context_lenght: 5
        provider: []
    """) == [
        (6, "provider", "unknown field. Did you mean 'providers'?"),
        (5, "models[0].context_lenght", "unknown field. Did you mean 'context_length'?"),
    ]  # fmt: skip


def test_an_unknown_kind_suggests_the_closest_known_one(refused):
    ((line, field, message),) = refused("models:\n  - id: a\n    name: A\n    provider: deepsek\n")

    assert (line, field) == (4, "models[0].provider")
    assert "Did you mean 'deepseek'?" in message
    assert "base_url" in message


SECRET = "sk-abcdefghijklmnopqrstuvwxyz123456"


@pytest.mark.parametrize(
    "text",
    [
        "models: [{id: a, name: A, provider: openai, api_key: SECRET}]",
        "models: [{id: a, name: A, route: [{kind: openai, api_key: SECRET}]}]",
        "models: [{id: a, name: A, provider: openai, api_key: '${KEY:-SECRET}'}]",
        "models: [{id: a, name: A, provider: openai, api_key: 123456789012}]",
        "models: [{id: a, name: A, provider: x, base_url: 'https://user:SECRET@x.example'}]",
        "models: [{id: a, name: A, provider: x, base_url: 'https://x.example/v1?key=SECRET'}]",
        "models: []\nproviders: [{kind: openai, api_key: SECRET}]",
        "models: []\nproviders: [{kind: openai, api_keys: [SECRET]}]",
        "models: []\nproviders: [{kind: openai, headers: {Authorization: 'x'}}]",
        "models: []\nproviders: [{kind: openai, headers: {x-team: 'Bearer SECRET'}}]",
    ],
)
def test_a_literal_secret_is_refused_with_the_cure_and_never_repeated(refused, text):
    problems = refused(text.replace("SECRET", SECRET))

    assert problems
    assert "${" in problems[0][2]
    assert SECRET not in str(problems)
    assert "123456789012" not in str(problems)


def test_a_reference_with_a_harmless_default_is_fine(refused):
    assert refused("models: [{id: a, name: A, provider: vllm, api_key: '${VLLM_API_KEY:-anything}'}]") == []


@pytest.mark.parametrize(
    ("line", "field", "message"),
    [
        ("context_length: lots", "context_length", "must be a whole number"),
        ("context_length: true", "context_length", "must be a whole number"),
        ("context_length: 0", "context_length", "must be at least 1 token"),
        ("context_length: -5", "context_length", "greater than or equal to 0"),
        ("max_output_length: 9000", "max_output_length", "9000 is more than context_length 8192"),
        ("supports_tools: maybe", "supports_tools", "must be true or false"),
        ("name: 5", "name", "must be text; put it in quotes"),
        ("input_modalities: [smell]", "input_modalities", "Give a list of text, image"),
        ("quantization: q4", "quantization", "'q4' is not known"),
        ("knowledge_cutoff: soon", "knowledge_cutoff", "must be a date"),
        ("aliases: falcon", "aliases", "must be a list of ids"),
        ("aliases: ['not an id']", "aliases[0]", "Use letters, digits"),
        ("pricing: {prompt: '2.5'}", "pricing.prompt", "divide by 1000000"),
        ("pricing: {prompt: cheap}", "pricing.prompt", "is not a price"),
        ("pricing: {promt: '0'}", "pricing.promt", "Unknown price"),
        ("pricing: 5", "pricing", "must be a mapping"),
        ("route: [{kind: vllm, weight: -1}]", "route[0].weight", "must be a number from 0"),
        ("route: [{kind: vllm, weight: .nan}]", "route[0].weight", "must be a number from 0"),
        ("route: [{kind: vllm, weigth: 1}]", "route[0].weigth", "Did you mean 'weight'?"),
        ("route: [{kind: vllm}, {kind: vllm}]", "route[1]", "is the same route as line"),
        ("base_url: gpu:8000", "base_url", "must start with http://"),
    ],
)
def test_every_fault_names_its_line_its_field_and_the_cure(refused, line, field, message):
    required = ("id: a", "name: A", "provider: vllm")
    given = [one for one in required if one.split(":")[0] != line.split(":")[0]]
    problems = refused("models:\n  - " + "\n    ".join([*given, line]) + "\n")

    assert (len(given) + 2, f"models[0].{field}") in [(found[0], found[1]) for found in problems]
    assert any(message in found[2] for found in problems)


def test_a_models_own_address_and_key_are_not_sent_to_routes_of_another_kind(parse):
    seed = parse("""
        models:
          - id: falcon
            name: Falcon
            provider: acme
            base_url: https://api.acme.example/v1
            api_key: ${ACME_API_KEY}
            route: [{kind: acme}, {kind: embedded}]
    """)

    assert seed.problems == []
    assert [(provider.slug, provider.values["api_key"]) for provider in seed.providers] == [
        ("acme", "${ACME_API_KEY}"),
        ("embedded", ""),
    ]


def test_an_address_that_is_for_no_route_is_refused(refused):
    problems = refused("""
        models:
          - id: falcon
            name: Falcon
            base_url: http://gpu:8000/v1
            api_key: ${GPU_KEY}
            route: [{kind: vllm}, {kind: sglang}]
    """)

    assert [found[1] for found in problems] == ["models[0].base_url", "models[0].api_key"]
    assert all("is for none of the routes" in found[2] for found in problems)


def test_what_is_missing_is_named(refused):
    assert refused("models:\n  - description: x\n") == [
        (2, "models[0].id", "is missing"),
        (2, "models[0].name", "is missing"),
    ]  # fmt: skip
    assert [found[1] for found in refused("models:\n  - {id: a, name: A}\n")] == ["models[0].provider"]
    assert [found[1] for found in refused("providers: []\n")] == ["models"]


def test_all_faults_are_told_at_once(refused):
    assert len(refused("models: [{id: a, nam: A, provider: vllm}, {id: b, name: B, provider: nobody}]")) == 3


@pytest.mark.parametrize("second", ["{id: a, name: B, provider: vllm}", "{id: b, name: B, provider: vllm, aliases: [a]}"])
def test_one_name_names_one_model(refused, second):
    ((line, _, message),) = refused(f"models:\n  - {{id: a, name: A, provider: vllm}}\n  - {second}\n")

    assert line == 3
    assert message == "a already names the model on line 2; keep one"


@pytest.mark.parametrize(
    ("stanza", "field", "message"),
    [
        ("{kind: Acme}", "kind", "lower-case"),
        ("{kind: acme}", "base_url", "is missing"),
        ("{kind: vllm, dialect: morse}", "dialect", "'morse' is not known"),
        ("{kind: vllm, timeouts: {first: 1}}", "timeouts.first", "Did you mean 'first_byte'?"),
        ("{kind: vllm, timeouts: {connect: 0}}", "timeouts.connect", "greater than or equal to 0.1"),
        ("{kind: vllm, reasoning_echo: reason}", "reasoning_echo", "Did you mean 'reasoning'?"),
        ("{kind: vllm, limit: 3}", "limit", "unknown field"),
        ("{kind: vllm, limits: {tmp: 3}}", "limits.tmp", "Did you mean 'tpm'?"),
        ("{kind: vllm, limits: {rpm: 0}}", "limits.rpm", "greater than or equal to 1"),
        ("{kind: vllm, limits: {tpm: many}}", "limits.tpm", "must be a whole number"),
        ("{kind: vllm, headquarters: Paris}", "headquarters", "at most 2 characters"),
        ("{kind: vllm, api_keys: '${A}'}", "api_keys", "must be a list"),
    ],
)
def test_faults_of_a_stanza_are_told_the_same_way(refused, stanza, field, message):
    ((line, found, text),) = refused(f"models: []\nproviders:\n  - {stanza}\n")

    assert (line, found) == (3, f"providers[0].{field}")
    assert message in text


def test_a_kind_has_one_stanza(refused):
    ((line, _, message),) = refused("models: []\nproviders:\n  - {kind: vllm}\n  - {kind: vllm}\n")

    assert line == 4
    assert message == "vllm has a stanza already (line 3); keep one"


def test_two_addresses_that_would_share_a_name_are_refused(refused):
    ((line, _, message),) = refused("""\
        models:
          - id: a
            name: A
            route:
              - {kind: vllm, base_url: "http://gpu/v1"}
              - {kind: vllm, base_url: "https://gpu/v1"}
    """)

    assert line == 6
    assert "would be provider vllm-gpu, as is line 5" in message


def test_the_guide_explains_every_field(settings):
    guide = (settings.BASE_DIR / "catalog" / "README.md").read_text()

    missing = [name for name in {*MODEL_FIELDS, *ROUTE_FIELDS, *STANZA_FIELDS} if f"`{name}`" not in guide]
    assert missing == []


def test_every_example_in_the_guide_loads(settings, parse):
    guide = (settings.BASE_DIR / "catalog" / "README.md").read_text()
    examples = [part.split("```")[0] for part in guide.split("```yaml\n")[1:]]

    loaded = [parse(example).problems for example in examples if "models" in (yaml.safe_load(example) or {})]
    assert len(loaded) >= 3
    assert loaded == [[]] * len(loaded)
