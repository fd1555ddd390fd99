"""The manifests in docker/k8s: held against Kubernetes' own schemas, and against what the service and its image are."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from fastapi import FastAPI

from service.server import configure_server
from service.settings import Settings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docker/k8s"
VERSION = "1.31"
FILES = ["service.yaml", "service-gpu.yaml"]


def read_manifests(name: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((FOLDER / name).read_text()) if each]


DEPLOYMENTS = [each for name in FILES for each in read_manifests(name) if each["kind"] == "Deployment"]


@pytest.mark.parametrize("name", FILES)
def test_kubernetes_accepts_every_manifest(name: str) -> None:
    manifests = read_manifests(name)
    assert manifests
    for manifest in manifests:
        kubernetes_validate.validate(manifest, VERSION, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifests[0] | {"replicas": 3}, VERSION, strict=True)


def test_nothing_that_an_operator_counts_on_is_missing() -> None:
    kinds = [each["kind"] for each in read_manifests("service.yaml")]
    assert sorted(kinds) == [
        "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Service",
    ]  # fmt: skip


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["metadata"]["name"])
def test_pods_are_what_the_image_and_the_service_are(
    deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {each["mountPath"] for each in container["volumeMounts"]} == {"/app/jobs", "/tmp"}
    for each in container["env"]:
        monkeypatch.setenv(each["name"], each["value"])
    settings = Settings()
    assert {each["name"].removeprefix("LANDMARKGAN_").lower() for each in container["env"]} <= settings.model_fields_set
    close = configure_server(FastAPI(), settings).timeout_graceful_shutdown
    assert close is not None
    assert pod["terminationGracePeriodSeconds"] > settings.drain_seconds + close
    routes = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert {name: container[name]["httpGet"]["path"] for name in routes} == routes
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector == deployment["spec"]["template"]["metadata"]["labels"]


def test_the_others_select_the_deployments() -> None:
    service, scaler, budget, policy = read_manifests("service.yaml")[1:]
    label = {"app": "landmarkgan"}
    assert service["spec"]["selector"] == budget["spec"]["selector"]["matchLabels"] == label
    assert scaler["spec"]["scaleTargetRef"]["name"] == DEPLOYMENTS[0]["metadata"]["name"]
    metric = scaler["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert f'"{metric}"' in (ROOT / "service/metrics.py").read_text()
    names = policy["spec"]["podSelector"]["matchExpressions"][0]["values"]
    assert names == [each["metadata"]["name"] for each in DEPLOYMENTS]
    assert policy["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 8000}]
    assert "egress" not in policy["spec"]
