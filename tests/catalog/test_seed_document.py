import pytest

from catalog.seed import document
from catalog.seed.problems import SeedRefused


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "models.yaml"
        path.write_text(text)
        return document.read(document.Document.at(path))

    return read


def problems(section):
    return [(problem.line, problem.field, problem.message) for problem in section.source.problems]


def test_every_value_knows_its_line(read):
    top = read("models:\n  - id: a\n    pricing:\n      prompt: '0'\n  - id: b\n")

    first, second = top.sections("models")

    assert (first.line(), first.line("id"), second.line("id")) == (2, 2, 5)
    assert first.section("pricing").line("prompt") == 4


def test_a_missing_field_is_at_the_line_of_its_section(read):
    (model,) = read("models:\n\n  - id: a\n").sections("models")

    model.complain("is missing", "name")

    assert problems(model) == [(3, "models[0].name", "is missing")]


def test_duplicate_keys_are_refused(read):
    top = read("models: []\nproviders: []\nmodels: []\n")

    assert problems(top) == [(3, "models", "is given twice (first on line 1); keep one")]


@pytest.mark.parametrize("value", ["!!python/object:os.system x", "!secret x", "{<<: {a: 1}}", "{[1]: 2}"])
def test_tags_merge_keys_and_complex_keys_are_refused(read, value):
    top = read(f"models: {value}\n")

    ((line, _, message),) = problems(top)
    assert line == 1
    assert "not supported" in message


def test_a_value_that_holds_itself_is_refused(read):
    ((_, _, message),) = problems(read("models: &a [*a]\n"))

    assert message == "refers to itself; write the value out"


def test_an_anchor_may_be_used_twice(read):
    top = read("models:\n  - pricing: &free {prompt: '0'}\n  - pricing: *free\n")

    assert [model.values for model in top.sections("models")] == [{"pricing": {"prompt": "0"}}] * 2
    assert problems(top) == []


def test_an_impossible_date_is_a_problem_with_its_line(read):
    ((line, field, _),) = problems(read("a: 1\ncreated: 2026-13-45\n"))

    assert (line, field) == (2, "created")


def test_invalid_yaml_names_the_line_and_does_not_quote_it(read):
    with pytest.raises(SeedRefused) as refusal:
        read("models:\n  - api_key: sk-secretsecretsecret: x\n")

    (problem,) = refusal.value.problems
    assert problem.line == 2
    assert "secretsecret" not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SeedRefused, match=r"absent\.yaml: cannot be read: No such file"):
        document.Document.at(tmp_path / "absent.yaml")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: \x00\n"])
def test_a_binary_file_is_refused(tmp_path, content):
    path = tmp_path / "models.yaml"
    path.write_bytes(content)

    with pytest.raises(SeedRefused):
        document.read(document.Document.at(path))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "models\n"])
def test_a_file_that_is_no_mapping_is_refused(read, text):
    assert problems(read(text)) == [(1, "", "must be a mapping of fields at its top")]


def test_a_list_of_something_else_is_complained_about_item_by_item(read):
    top = read("models:\n  - id: a\n  - b\n")

    assert len(top.sections("models")) == 1
    assert problems(top) == [(3, "models[1]", "must be a mapping of fields")]
