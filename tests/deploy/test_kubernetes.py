"""Manifests of Kubernetes: what cannot be applied here is at least read, and compared with what it names."""

from __future__ import annotations

import re

import promql_parser
import pytest
import yaml
from django.urls import resolve

from completions.instruments import HTTP_IN_FLIGHT
from gateway_project import settings
from tests.deploy.linting import lint
from tests.fakes.catalogue import seed
from tests.live import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
MONITOR = yaml.safe_load((KUBERNETES / "monitoring" / "podmonitor.yaml").read_text())
ADAPTER = yaml.safe_load((KUBERNETES / "monitoring" / "adapter-values.yaml").read_text())


def manifests() -> dict[str, dict]:
    found = {}
    for file in KUBERNETES.glob("*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            found[document["kind"]] = document
    return found


def containers() -> list[dict]:
    return [container for kind in ("StatefulSet", "Job") for container in pod(manifests()[kind])["containers"]]


def pod(manifest: dict) -> dict:
    return manifest["spec"]["template"]["spec"]


@pytest.mark.parametrize("file", sorted(KUBERNETES.glob("*.yaml")), ids=lambda file: file.name)
def test_kubernetes_knows_every_field_of_the_manifests(file, tmp_path):
    found = lint("kubernetes-validate", "--strict", file)
    assert found.returncode == 0, found.stdout + found.stderr
    (tmp_path / "wrong.yaml").write_text(file.read_text().replace("\nspec:", "\nspec:\n  surprise: true"))
    assert lint("kubernetes-validate", "--strict", tmp_path / "wrong.yaml").returncode != 0


def test_kubernetes_probes_paths_that_exist_and_waits_for_running_answers():
    replica = pod(manifests()["StatefulSet"])
    (gateway,) = replica["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert resolve(gateway[probe]["httpGet"]["path"]).url_name in ("health-live", "health-ready")
    pre_stop_s = int(gateway["lifecycle"]["preStop"]["exec"]["command"][1])
    assert replica["terminationGracePeriodSeconds"] > pre_stop_s + 2 * settings.SHUTDOWN_GRACE_S


def test_kubernetes_takes_secrets_from_a_secret_and_gives_no_privilege():
    for container in containers():
        assert container["envFrom"] == [{"secretRef": {"name": "gateway"}}]
        assert not {variable["name"] for variable in container["env"]} & {"SECRET_KEY", "DATABASE_URL", "METRICS_TOKEN"}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_what_kubernetes_selects_and_starts_is_what_there_is():
    found = manifests()
    labels = found["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        found["StatefulSet"]["spec"]["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        MONITOR["spec"]["selector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
    assert found["StatefulSet"]["spec"]["serviceName"] == found["Service"]["metadata"]["name"]
    assert {container["image"] for container in containers()} == {"registry.example.org/gateway:0.1.0"}


def test_the_journal_outlives_its_pod():
    replicas = manifests()["StatefulSet"]["spec"]
    (claim,) = replicas["volumeClaimTemplates"]
    (gateway,) = pod(manifests()["StatefulSet"])["containers"]
    (var_dir,) = re.findall(r"VAR_DIR=(\S+)", (DEPLOY / "container" / "Dockerfile").read_text())
    assert {mount["name"]: mount["mountPath"] for mount in gateway["volumeMounts"]}[claim["metadata"]["name"]] == var_dir
    assert set(replicas["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}


def test_applying_the_manifest_anew_scales_nothing():
    found = manifests()
    assert "replicas" not in found["StatefulSet"]["spec"]
    scaled = found["HorizontalPodAutoscaler"]["spec"]
    assert (scaled["scaleTargetRef"]["kind"], scaled["scaleTargetRef"]["name"]) == ("StatefulSet", "gateway")
    assert scaled["minReplicas"] - found["PodDisruptionBudget"]["spec"]["maxUnavailable"] >= 2


# --- Metrics ----------------------------------------------------------------------------------------------------------


def test_the_autoscaler_is_given_the_metric_it_scales_by():
    metrics = manifests()["HorizontalPodAutoscaler"]["spec"]["metrics"]
    (wanted,) = [metric["pods"]["metric"]["name"] for metric in metrics if "pods" in metric]
    assert [metric.name for metric in HTTP_IN_FLIGHT.collect()] == [wanted]
    (rule,) = ADAPTER["rules"]["custom"]
    series = promql_parser.parse(rule["seriesQuery"])
    assert isinstance(series, promql_parser.VectorSelector)
    assert series.name == wanted
    assert {matcher.name for matcher in series.matchers.matchers} == set(rule["resources"]["overrides"])
    filled = {"<<.Series>>": wanted, "<<.LabelMatchers>>": 'namespace="default",pod=~"gateway-0"', "<<.GroupBy>>": "pod"}
    query = rule["metricsQuery"]
    for name, value in filled.items():
        query = query.replace(name, value)
    promql_parser.parse(query)


def test_the_scrape_of_pods_brings_the_token_and_the_job_that_alerts_name():
    (endpoint,) = MONITOR["spec"]["podMetricsEndpoints"]
    (gateway,) = pod(manifests()["StatefulSet"])["containers"]
    assert endpoint["port"] in [port["name"] for port in gateway["ports"]]
    secret = gateway["envFrom"][0]["secretRef"]["name"]
    assert endpoint["authorization"] == {"type": "Bearer", "credentials": {"name": secret, "key": "METRICS_TOKEN"}}
    labels = manifests()["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    alerts = (DEPLOY / "prometheus" / "alerts.yml").read_text()
    assert set(re.findall(r'job="(\w+)"', alerts)) == {labels[MONITOR["spec"]["jobLabel"]]}


def test_a_pod_is_scraped_and_probed_by_its_address(start_gateway, fake):
    """With the variables of the manifest; `$(POD_IP)` is what Kubernetes puts in."""
    (container,) = pod(manifests()["StatefulSet"])["containers"]
    given = {variable["name"]: variable.get("value", "").replace("$(POD_IP)", "127.0.0.1") for variable in container["env"]}
    del given["POD_IP"], given["USE_SQLITE_LOG"]
    gateway = start_gateway(seed(fake, {"fake/ok": "ok"}), METRICS_TOKEN="token", **given)
    probes = [container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert {gateway.client.get(path).status_code for path in probes} == {200}
    path = MONITOR["spec"]["podMetricsEndpoints"][0]["path"]
    assert gateway.client.get(path, headers={"Authorization": "Bearer token"}).status_code == 200
    assert gateway.client.get(path, headers={"Authorization": "Bearer token", "Host": "elsewhere"}).status_code == 400
