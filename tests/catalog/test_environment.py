import pytest

from catalog import environment
from catalog.entries import Unconfigured, resolve


def test_it_gives_the_variable(monkeypatch):
    monkeypatch.setenv("ACME_API_KEY", "secret")

    assert environment.lookup("ACME_API_KEY") == "secret"


def test_an_unset_variable_is_none(monkeypatch):
    monkeypatch.delenv("ACME_API_KEY", raising=False)

    assert environment.lookup("ACME_API_KEY") is None


def test_it_reads_the_file_that_name_file_names(monkeypatch, tmp_path):
    path = tmp_path / "key"
    path.write_text("secret\n")
    monkeypatch.setenv("ACME_API_KEY_FILE", str(path))

    assert environment.lookup("ACME_API_KEY") == "secret"


def test_the_variable_itself_wins_over_its_file(monkeypatch, tmp_path):
    path = tmp_path / "key"
    path.write_text("from the file")
    monkeypatch.setenv("ACME_API_KEY", "from the variable")
    monkeypatch.setenv("ACME_API_KEY_FILE", str(path))

    assert environment.lookup("ACME_API_KEY") == "from the variable"


def test_what_another_process_announces_stands_in_for_the_variable_and_its_absence_is_told(monkeypatch):
    told: list[str | None] = ["http://127.0.0.1:1/v1"]
    monkeypatch.setattr(environment, "_announced", {})
    monkeypatch.delenv("ACME_BASE_URL", raising=False)
    environment.announce("ACME_BASE_URL", lambda: told[0], absence="Acme is not running")
    assert resolve("${ACME_BASE_URL}", environment.lookup) == "http://127.0.0.1:1/v1"
    told[0] = None
    with pytest.raises(Unconfigured, match=r"^Acme is not running$"):
        resolve("${ACME_BASE_URL}", environment.lookup)
    assert resolve("${ACME_BASE_URL:-http://elsewhere/v1}", environment.lookup) == "http://elsewhere/v1"
    monkeypatch.setenv("ACME_BASE_URL", "http://named/v1")
    assert environment.lookup("ACME_BASE_URL") == "http://named/v1"


def test_an_unreadable_file_names_the_variable_and_the_path(monkeypatch, tmp_path):
    path = tmp_path / "missing"
    monkeypatch.setenv("ACME_API_KEY_FILE", str(path))

    with pytest.raises(environment.UnreadableFile) as error:
        resolve("${ACME_API_KEY:-unused}", environment.lookup)

    assert str(error.value) == f"ACME_API_KEY_FILE names {path}, which cannot be read: No such file or directory"


def test_a_binary_file_is_refused_without_showing_it(monkeypatch, tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"\xff\xfesecret")
    monkeypatch.setenv("ACME_API_KEY_FILE", str(path))

    with pytest.raises(environment.UnreadableFile, match="not UTF-8 text") as error:
        environment.lookup("ACME_API_KEY")

    assert "secret" not in str(error.value)
