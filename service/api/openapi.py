"""The OpenAPI document: FastAPI's, with examples that work, and problems as they are sent."""

import re
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.api.connection import VIDEO_PATH
from service.api.examples import add_examples
from service.api.open_inference import InferenceRequest
from service.api.schemas import Problem
from service.inference.bundles import Catalogue
from service.media.film import MEDIA_TYPES

PICTURES = ("image/jpeg", "image/png", "image/webp")
BINARY = {"schema": {"type": "string", "format": "binary"}}
REFUSALS = {
    "400": "A body that is not JSON or no form, or a damaged picture",
    "404": "No such target or scheme",
    "413": "A body, a picture or a video too large",
    "415": "A content type or a format that is not read",
    "422": "Fields, landmarks or a picture that can't be used",
    "503": "Loading, busy, too slow, or the target is damaged",
}


class DocumentedAPI(FastAPI):
    """FastAPI with our OpenAPI document. `state.lifecycle` is set before the first request."""

    _catalogue: Catalogue | None = None

    def openapi(self) -> dict[str, Any]:
        """The document, built anew when the targets change: one of them gives the example."""
        face_service = self.state.lifecycle.face_service
        catalogue = face_service and face_service.catalogue
        if self.openapi_schema is not None and self._catalogue is catalogue:
            return self.openapi_schema
        document = get_openapi(title=self.title, version=self.version, description=self.description, routes=self.routes)
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which are never sent
            schemas.pop(name, None)
        schemas["Problem"] = Problem.model_json_schema()
        inference = InferenceRequest.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(inference.pop("$defs"), InferenceRequest=inference)
        schemas["SynthesisOut"]["description"] = "The answer where `response` is json."
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                operation["summary"] = re.split("[.:;]", operation["description"])[0]
                _describe_answers(path, method, operation["responses"])
        if catalogue is not None and catalogue.targets:
            add_examples(document, catalogue)
            self.openapi_schema, self._catalogue = document, catalogue
        return document


def _describe_answers(path: str, method: str, responses: dict[str, Any]) -> None:
    if path in ("/synthesize", "/reenact"):
        responses["200"]["content"] = dict.fromkeys(PICTURES, BINARY) | responses["200"]["content"]
    if path.endswith("/reference"):
        responses["200"]["content"] = dict.fromkeys(PICTURES, BINARY)
    if path.endswith("/infer"):
        responses["200"]["content"]["application/octet-stream"] = BINARY
    if path.endswith("/result"):
        responses["200"]["content"] = dict.fromkeys(MEDIA_TYPES.values(), BINARY)
    statuses = REFUSALS if method == "post" else {"503": REFUSALS["503"]}
    if "{" in path:
        statuses = statuses | {"404": REFUSALS["404"]}
    if path.endswith("/result"):
        statuses = statuses | {"409": "The job is not done"}
    if path in (VIDEO_PATH, "/animate"):
        statuses = statuses | {"507": "No room for the upload"}
    responses.pop("422", None)
    for status, description in statuses.items():
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        responses[status] = {"description": description, "content": content}
