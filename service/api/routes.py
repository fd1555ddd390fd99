"""The endpoints: each translates HTTP to a call of the face_service, and its result to HTTP."""

import hashlib
from typing import Annotated

import onnxruntime
from fastapi import APIRouter, Body, Depends, Form, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from service import __version__
from service.api.connection import run_while_connected
from service.api.provenance_schemas import ProvenanceOut
from service.api.schemas import (
    FacesOut,
    PictureForm,
    PicturesForm,
    ReenactForm,
    StateOut,
    SynthesisOut,
    SynthesizeRequest,
    VersionOut,
    to_milliseconds,
)
from service.api.schemes import SchemeOut, find_scheme
from service.api.target_schemas import DamagedOut, ManifestOut, TargetOut, TargetsOut
from service.api.tracing import trace_stages
from service.errors import MediaTypeError
from service.inference.bundles import Target
from service.inference.face_service import FaceService, SynthesisResult
from service.lifecycle import Lifecycle
from service.media.images import MEDIA_TYPES
from shared.bundle import Measured, Shape

MULTIPART = Form(media_type="multipart/form-data")
INLINE_BYTES = 64 * 1024  # of a picture: hashed, and written in base64, sooner than a thread takes over


# FastAPI runs a dependency that is no coroutine in a thread: two hops a request for a look at an attribute.
async def get_lifecycle(request: Request) -> Lifecycle:
    """The application's state."""
    lifecycle = request.app.state.lifecycle
    assert isinstance(lifecycle, Lifecycle)
    return lifecycle


async def get_face_service(request: Request) -> FaceService:
    """The face_service, once it is loaded. Raises NotReadyError."""
    return (await get_lifecycle(request)).need_face_service()


async def require_json(request: Request) -> None:
    """Raises MediaTypeError for a body that does not call itself JSON."""
    _require(request, "application/json")


async def require_form(request: Request) -> None:
    """Raises MediaTypeError for a body that is no multipart form."""
    _require(request, "multipart/form-data")


def _require(request: Request, media_type: str) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise MediaTypeError("The body's content type is not the one this endpoint reads.", f"{media_type}.")


StateDep = Annotated[Lifecycle, Depends(get_lifecycle)]
FaceServiceDep = Annotated[FaceService, Depends(get_face_service)]

router = APIRouter()


@router.post("/synthesize", response_model=SynthesisOut, dependencies=[Depends(require_json)], tags=["faces"])
async def synthesize(
    request: Request, order: Annotated[SynthesizeRequest, Body()], face_service: FaceServiceDep
) -> Response:
    """Landmarks to the target's face."""
    work = face_service.synthesize(
        order.target,
        order.landmarks,
        order.scheme,
        order.convert,
        order.to_output(),
        order.units,
        order.source_neutral,
        order.view,
    )
    portrait = await run_while_connected(request, work, face_service.settings.deadline_seconds)
    return await answer_synthesis(request, portrait, order.response)


@router.post("/reenact", response_model=SynthesisOut, dependencies=[Depends(require_form)], tags=["faces"])
async def reenact(request: Request, form: Annotated[ReenactForm, MULTIPART], face_service: FaceServiceDep) -> Response:
    """Anyone's picture to the target's face with its expression and pose."""
    neutral = form.read_neutral()
    work = face_service.reenact(form.target, form.image.read, form.face, form.paste_back, form.to_output(), neutral)
    portrait = await run_while_connected(request, work, face_service.settings.deadline_seconds)
    return await answer_synthesis(request, portrait, form.response)


@router.post("/landmarks", dependencies=[Depends(require_form)], tags=["faces"])
async def landmarks(
    request: Request, form: Annotated[PicturesForm, MULTIPART], face_service: FaceServiceDep, response: Response
) -> FacesOut:
    """A picture's faces and their landmarks, the largest first; an empty list where there is none.

    Of one picture or several of one person, the neutral face besides.
    """
    work = face_service.find_faces([each.read for each in form.image])
    detection = await run_while_connected(request, work, face_service.settings.deadline_seconds)
    response.headers["Server-Timing"] = tell_timings(request, detection.stages)
    return FacesOut.of_all(detection)


@router.post("/provenance", dependencies=[Depends(require_form)], tags=["faces"])
async def provenance(
    request: Request, form: Annotated[PictureForm, MULTIPART], face_service: FaceServiceDep
) -> ProvenanceOut:
    """Which marks of synthetic origin a picture carries, and which target it shows."""
    work = face_service.inspect(form.image.read)
    found = await run_while_connected(request, work, face_service.settings.deadline_seconds)
    return ProvenanceOut.of(found, face_service.catalogue.targets)


@router.get("/targets", tags=["targets"])
async def list_targets(face_service: FaceServiceDep) -> TargetsOut:
    """The targets served, and those refused with the reason."""
    return TargetsOut(
        default=face_service.settings.default_target,
        targets=[TargetOut.of(target) for target in face_service.catalogue.targets.values()],
        damaged=[DamagedOut(id=name, reason=reason) for name, reason in face_service.catalogue.damaged.items()],
    )


@router.get("/targets/{target_id}", response_model=ManifestOut, tags=["targets"])
async def show_target(target_id: str, request: Request, face_service: FaceServiceDep) -> Response:
    """One target's manifest, but for its metrics and presets."""
    target = face_service.catalogue.find(target_id)
    return answer_target(
        request, target, target.manifest.model_dump(mode="json", include=set(ManifestOut.model_fields))
    )


@router.get("/targets/{target_id}/metrics", response_model=dict[str, Measured], tags=["targets"])
async def show_target_metrics(target_id: str, request: Request, face_service: FaceServiceDep) -> Response:
    """One target's figures, with the split that they were measured on."""
    target = face_service.catalogue.find(target_id)
    return answer_target(request, target, target.manifest.model_dump(mode="json")["metrics"])


@router.get("/targets/{target_id}/presets", response_model=dict[str, Shape], tags=["targets"])
async def show_presets(target_id: str, request: Request, face_service: FaceServiceDep) -> Response:
    """What the target was filmed doing: landmarks of one frame each, in crop units."""
    target = face_service.catalogue.find(target_id)
    return answer_target(request, target, target.manifest.model_dump(mode="json")["presets"])


@router.get("/targets/{target_id}/reference", response_class=Response, tags=["targets"])
async def show_reference(target_id: str, request: Request, face_service: FaceServiceDep) -> Response:
    """One target's reference picture."""
    target = face_service.catalogue.find(target_id)
    if is_unchanged(request, target):
        return Response(status_code=304, headers=describe_target(target))
    return Response(target.reference, media_type=target.reference_type, headers=describe_target(target))


@router.get("/schemes/{name}", tags=["targets"])
async def show_scheme(name: str) -> SchemeOut:
    """A landmark scheme: groups, outlines, mirror, depth, and how each expression moves its points."""
    return SchemeOut.of(find_scheme(name))


@router.get("/livez", tags=["state"])
async def check_life(lifecycle: StateDep) -> StateOut:
    """The process answers; 503 where loading failed, so that whoever watches starts it anew."""
    lifecycle.check_alive()
    return StateOut(status="alive")


@router.get("/readyz", tags=["state"])
async def check_readiness(lifecycle: StateDep) -> StateOut:
    """Requests will be served: 503 while loading or draining, and where there is no target."""
    lifecycle.check_ready()
    return StateOut(status="ready")


@router.get("/metrics", response_class=PlainTextResponse, tags=["state"])
async def show_metrics(request: Request) -> Response:
    """Counts and states, for Prometheus."""
    return Response(request.app.state.metrics.write(), media_type=CONTENT_TYPE_LATEST)


@router.get("/version", tags=["state"])
async def show_version(face_service: FaceServiceDep) -> VersionOut:
    """Versions, and where the networks run."""
    return VersionOut(
        version=__version__,
        onnxruntime=onnxruntime.__version__,
        device=face_service.settings.device,
        detector=face_service.detector.name if face_service.detector else None,
        providers={name: list(target.tl2f.providers) for name, target in face_service.catalogue.targets.items()},
        threads={name: target.tl2f.threads for name, target in face_service.catalogue.targets.items()},
    )


async def answer_synthesis(request: Request, portrait: SynthesisResult, wanted: str) -> Response:
    """The picture itself, or JSON that carries it; the headers are the same."""
    if len(portrait.data) <= INLINE_BYTES:
        return write_answer(request, portrait, wanted)
    return await run_in_threadpool(write_answer, request, portrait, wanted)


def write_answer(request: Request, portrait: SynthesisResult, wanted: str) -> Response:
    """As `answer_synthesis`. Blocks: a picture may be large."""
    digest = hashlib.sha256(portrait.data).hexdigest()[:16]
    headers = describe_target(portrait.target) | {"Server-Timing": tell_timings(request, portrait.stages)}
    headers["ETag"] = f'"{portrait.target.bundle[:16]}-{digest}"'  # of this picture, by that bundle
    if wanted == "json":
        return JSONResponse(SynthesisOut.of(portrait).model_dump(exclude_none=True), headers=headers)
    return Response(portrait.data, media_type=MEDIA_TYPES[portrait.output.format], headers=headers)


def answer_target(request: Request, target: Target, content: object) -> Response:
    """A part of the target's manifest, or 304 where the client has it already."""
    if is_unchanged(request, target):
        return Response(status_code=304, headers=describe_target(target))
    return JSONResponse(content, headers=describe_target(target))


def describe_target(target: Target) -> dict[str, str]:
    """The headers that say by which bundle an answer was made; the ETag is of what the bundle itself holds."""
    return {
        "X-LandmarkGAN-Target": target.manifest.target,
        "X-LandmarkGAN-Bundle": target.bundle,
        "X-LandmarkGAN-Consent": target.consent,
        "ETag": f'"{target.bundle}"',
    }


def is_unchanged(request: Request, target: Target) -> bool:
    """Whether the client has what this bundle holds already."""
    known = request.headers.get("if-none-match", "")
    return target.bundle in known or known.strip() == "*"


def tell_timings(request: Request, stages: dict[str, float]) -> str:
    """The Server-Timing header, in milliseconds; the metrics and the trace are told too."""
    request.app.state.metrics.observe_stages(stages)
    trace_stages(stages)
    return ", ".join(f"{stage};dur={duration}" for stage, duration in to_milliseconds(stages).items())
