"""Container files: what cannot be built or applied here is at least read, and compared with what it names."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest
import yaml
from django.core.management import call_command, get_commands, load_command_class

from catalog import loader
from gateway_project import settings
from tests.deploy.linting import lint
from tests.live import ROOT

CONTAINER = ROOT / "deploy" / "container"


def test_the_image_contains_every_package_and_no_secret():
    kept = re.findall(r"^!(\S+)$", (CONTAINER / "Dockerfile.dockerignore").read_text(), re.M)
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests"}
    assert len(packages) >= 5
    assert packages | {"manage.py", "templates", "deploy/requirements.txt"} == set(kept)


def test_the_image_installs_by_hash_and_runs_as_nobody_special():
    dockerfile = (CONTAINER / "Dockerfile").read_text()
    assert "--require-hashes -r /tmp/requirements.txt" in dockerfile
    assert dockerfile.index("\nUSER 10001") < dockerfile.index("\nCMD ")


def read_compose() -> dict:
    return yaml.safe_load((CONTAINER / "compose.yaml").read_text())


def test_hadolint_finds_nothing_in_the_dockerfile(tmp_path):
    found = lint("hadolint", CONTAINER / "Dockerfile")
    assert found.returncode == 0, found.stdout
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN cd /opt\n")
    assert lint("hadolint", tmp_path / "Dockerfile").returncode != 0, "it finds nothing anywhere"


def test_compose_waits_for_running_answers_and_keeps_its_volumes():
    compose = read_compose()
    gateway = compose["services"]["gateway"]
    assert int(gateway["stop_grace_period"].removesuffix("s")) > 2 * settings.SHUTDOWN_GRACE_S
    named = {volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", [])}
    assert {name for name in named if not name.startswith(".")} == set(compose["volumes"])
    assert set(gateway["depends_on"]) <= set(compose["services"])


def test_compose_mounts_files_that_exist_and_embeds_yaml():
    compose = read_compose()
    mounted = [volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", [])]
    files = [name for name in mounted if name.startswith(".")]
    assert len(files) == 3
    assert [name for name in files if not (CONTAINER / name).is_file()] == []
    used = {config["source"] for service in compose["services"].values() for config in service.get("configs", [])}
    assert used == set(compose["configs"])
    for config in compose["configs"].values():
        assert isinstance(yaml.safe_load(config["content"]), dict)


def test_compose_and_its_example_know_the_same_variables():
    text = (CONTAINER / "compose.yaml").read_text()
    example = (CONTAINER / ".env.example").read_text()
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) == set(re.findall(r"^#?([A-Z_]+)=", example, re.M))
    required = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    assert required == set(re.findall(r"^([A-Z_]+)=$", example, re.M)), "an example with values is deployed as it stands"
    for name, default in re.findall(r"\$\{([A-Z_]+):-([^}]+)\}", text):
        assert f"\n#{name}={default}\n" in example


def test_compose_gives_the_gateway_no_password_of_others_and_puts_none_into_a_url():
    gateway = read_compose()["services"]["gateway"]
    assert gateway["env_file"] == "gateway.env"
    assert not [value for value in gateway["environment"].values() if "GRAFANA" in value]
    assert not [value for value in gateway["environment"].values() if "://" in value and "$" in value]
    assert gateway["environment"]["REQUIRE_API_KEY"].endswith(":-true}"), "port 80 is open to all"
    assert {".env", "gateway.env"} <= set((ROOT / ".gitignore").read_text().split()), "files of secrets can be committed"


def test_compose_says_where_things_are_as_the_image_does():
    gateway = read_compose()["services"]["gateway"]
    image = dict(re.findall(r"([A-Z_]+)=(\S+)", (CONTAINER / "Dockerfile").read_text()))
    assert {name: gateway["environment"][name] for name in ("PORT", "VAR_DIR")} == {
        name: image[name] for name in ("PORT", "VAR_DIR")
    }
    assert gateway["ports"] == [f"80:{image['PORT']}"]
    assert f"gateway:{image['VAR_DIR']}" in gateway["volumes"]


def test_every_image_of_compose_has_a_version():
    images = [service["image"] for service in read_compose()["services"].values() if "image" in service]
    assert len(images) == 5
    assert [image for image in images if not re.search(r":v?\d+(\.\d+)*$", image)] == []


def test_compose_waits_for_a_database_that_takes_connections():
    """Over the socket `pg_isready` is content with the server that only creates the database."""
    (check,) = [
        service["healthcheck"]["test"] for name, service in read_compose()["services"].items() if name == "postgres"
    ]
    assert check[check.index("--host") + 1] == "127.0.0.1"


@pytest.mark.django_db
def test_the_engine_of_compose_is_a_model_that_can_be_loaded():
    file = CONTAINER / "vllm.yaml"
    (wanted,) = yaml.safe_load(file.read_text())["models"]
    (path,) = re.findall(r"manage\.py loadmodels (\S+)", file.read_text())
    command = read_compose()["services"]["vllm"]["command"]
    assert f"--served-model-name={wanted['provider_model_id']}" in command
    assert f"--max-model-len={wanted['context_length']}" in command
    assert f"./vllm.yaml:{path}:ro" in read_compose()["services"]["gateway"]["volumes"]
    call_command("loadmodels", verbosity=0)
    call_command("loadmodels", str(file), verbosity=0)
    (model,) = [one for one in loader.load({"LOCAL_BASE_URL": "http://vllm:8000/v1"}.get).models if one.id == wanted["id"]]
    (adapter,) = model.adapters
    assert (adapter.unconfigured, adapter.provider.base_url) == (None, "http://vllm:8000/v1")


def told_commands() -> list[str]:
    """What deployment files and the guide tell people and containers to run, from the command's name on."""
    files = [*CONTAINER.glob("*.yaml"), *CONTAINER.parent.glob("kubernetes/*.yaml"), CONTAINER.parent / "README.md"]
    text = "\n".join(file.read_text() for file in files)
    told = re.findall(r"(?:exec|run) .* python manage\.py ([^\n]+)", text)
    started = [" ".join(words.split(", ")) for words in re.findall(r"\[python, manage\.py, ([^\]]+)\]", text)]
    return [*told, *started]


def test_commands_that_are_told_exist_with_their_options():
    commands = told_commands()
    assert len(commands) >= 10
    for command in commands:
        name, *arguments = shlex.split(command)
        load_command_class(get_commands()[name], name).create_parser("manage.py", name).parse_args(arguments)
    for first in ("createsuperuser", "createapikey"):
        assert len([command for command in commands if command.startswith(first)]) >= 2, "the first use is not told"


@pytest.mark.skipif(
    not shutil.which("docker") or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0,
    reason="no docker compose",
)
def test_docker_reads_compose():
    environment = dict.fromkeys(("POSTGRES_PASSWORD", "GRAFANA_PASSWORD", "METRICS_TOKEN"), "x")
    command = ["docker", "compose", "--file", str(CONTAINER / "compose.yaml"), "config", "--quiet", "--no-env-resolution"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_the_scrapes_ask_where_the_gateway_listens():
    socket = (CONTAINER.parent / "systemd" / "gateway.socket").read_text()
    image = (CONTAINER / "Dockerfile").read_text()
    compose = yaml.safe_load((CONTAINER / "compose.yaml").read_text())["configs"]["prometheus"]["content"]
    (installed,) = re.findall(r"^ListenStream=0\.0\.0\.0:(\d+)$", socket, re.MULTILINE)
    (contained,) = re.findall(r"\bPORT=(\d+)", image)
    assert targets((CONTAINER.parent / "prometheus" / "prometheus.yml").read_text()) == [f"127.0.0.1:{installed}"]
    assert targets(compose) == [f"gateway:{contained}"]


def targets(prometheus: str) -> list[str]:
    (job,) = yaml.safe_load(prometheus)["scrape_configs"]
    (static,) = job["static_configs"]
    asked: list[str] = static["targets"]
    return asked
