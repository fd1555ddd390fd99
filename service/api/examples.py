"""Examples for every endpoint that is asked with something: of a target that is served, so that they work."""

from typing import Any

from service.inference.bundles import Catalogue

JOB_ID = "8f14e45fceea167a5a36dedd4bea2543"  # of no job: those there are can't be guessed, nor told


def add_examples(document: dict[str, Any], catalogue: Catalogue) -> None:
    """Write them into the OpenAPI document. There must be a target."""
    synthesis = make_synthesis(catalogue)
    calibrated = synthesis | {"source_neutral": synthesis["landmarks"]}
    bodies: dict[str, dict[str, Any]] = {
        "/synthesize": {
            "neutral": {"summary": "The target's own neutral face", "value": synthesis},
            "calibrated": {"summary": "The same, the source's neutral face being known", "value": calibrated},
        },
        "/v2/models/{target_id}/infer": {
            "neutral": {"summary": "The target's own neutral face", "value": make_inference(synthesis)}
        },
        "/animate": {"nod": {"summary": "From neutral to a nod in a second", "value": make_film(synthesis)}},
    }
    for path, examples in bodies.items():
        document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"] = examples
    values = {"target_id": synthesis["target"], "name": synthesis["scheme"], "job_id": JOB_ID}
    for operation in (each for methods in document["paths"].values() for each in methods.values()):
        for parameter in operation.get("parameters", ()):
            if parameter["name"] in values:
                parameter["example"] = values[parameter["name"]]
    for name in ("ReenactForm", "VideoForm"):
        document["components"]["schemas"][name]["properties"]["target"]["examples"] = [synthesis["target"]]


def make_synthesis(catalogue: Catalogue) -> dict[str, Any]:
    """A body for POST /synthesize: the first target's neutral landmarks, as if in a 256-pixel picture."""
    manifest = next(iter(catalogue.targets.values())).manifest
    points = [[round(x * 256, 1), round(y * 256, 1)] for x, y in manifest.neutral]
    return {"target": manifest.target, "scheme": manifest.scheme, "landmarks": points, "format": "jpeg"}


def make_inference(synthesis: dict[str, Any]) -> dict[str, Any]:
    """A body for an inference: that body's face."""
    points = synthesis["landmarks"]
    return {"inputs": [{"name": "landmarks", "shape": [1, len(points), 2], "datatype": "FP32", "data": [points]}]}


def make_film(synthesis: dict[str, Any]) -> dict[str, Any]:
    """A body for POST /animate: that body's face, and the same with its points pressed together."""
    points = synthesis["landmarks"]
    middle = sum(y for _, y in points) / len(points)
    nod = [[x, round(middle + 0.96 * (y - middle), 1)] for x, y in points]
    keyframes = [{"seconds": seconds, "landmarks": each, "convert": False} for seconds, each in ((0, points), (1, nod))]
    return {"target": synthesis["target"], "format": "mp4", "keyframes": keyframes}
