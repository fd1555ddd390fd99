"""The files for clusters: Serve's own schema takes them, and they name what there is."""

from pathlib import Path
from typing import Any

import yaml
from ray.serve.schema import ServeDeploySchema

from service.cluster.deployments import ClusterOptions, build
from service.cluster.proxy import CALLBACK, CALLBACK_PATH
from service.settings import Settings

FOLDER = Path(__file__).parents[3] / "docker" / "k8s"
SERVE: dict[str, Any] = yaml.safe_load((FOLDER / "serve.yaml").read_text())
KUBERAY: dict[str, Any] = yaml.safe_load((FOLDER / "rayservice.yaml").read_text())


def test_serve_takes_its_configuration() -> None:
    (application,) = ServeDeploySchema.model_validate(SERVE).applications
    assert application.import_path == f"{build.__module__}:{build.__name__}"
    options = ClusterOptions.model_validate(application.args)
    assert Settings(**options.settings).default_target == "franck"
    assert options.min_replicas < options.max_replicas


def test_kuberay_has_the_same() -> None:
    assert yaml.safe_load(KUBERAY["spec"]["serveConfigV2"]) == SERVE
    groups = [KUBERAY["spec"]["rayClusterConfig"]["headGroupSpec"]]
    groups += KUBERAY["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    for group in groups:
        spec = group["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        (container,) = spec["containers"]
        assert {"name": CALLBACK, "value": CALLBACK_PATH} in container["env"]
        assert SERVE["http_options"]["port"] in [port["containerPort"] for port in container["ports"]]
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert SERVE["applications"][0]["args"]["settings"]["jobs_dir"] in mounted
