"""The Open Inference Protocol, version 2: the same faces for KServe, Triton's clients and gateways that speak it.

Landmarks come as FP32 [n, points, 2], pictures leave as UINT8 [n, S, S, 3], both in JSON or, by Triton's extension
`binary_tensor_data`, as little-endian bytes after the JSON, whose length the header Inference-Header-Content-Length
says. https://github.com/kserve/open-inference-protocol
"""

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from service import __version__
from service.api.connection import run_while_connected
from service.api.routes import FaceServiceDep, StateDep, describe_target, tell_timings
from service.api.schemas import Coordinate, Point
from service.errors import ClientGoneError, HeaderError, InferenceRequestError, MediaTypeError
from service.inference.face_service import BatchResult
from service.inference.synthesis import Units
from service.provenance.origin import Origin
from shared.bundle import BundleManifest

INPUT, OUTPUT = "landmarks", "image"
LENGTH_HEADER: Final = "inference-header-content-length"
BODY_TYPES = ("application/json", "application/octet-stream", "")  # Triton's client names none
SHOWN_ERRORS = 3
DOCUMENTED_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/InferenceRequest"}}},
    }
}


class TensorParameters(BaseModel):
    """Of one tensor; others that clients know are passed over."""

    binary_data_size: int | None = Field(default=None, ge=0, description="Bytes of the tensor after the JSON.")
    binary_data: bool | None = Field(default=None, description="Whether an output is wanted as bytes.")


class RequestInput(BaseModel):
    """A tensor in: its `data` flat or nested, or none where it comes as bytes."""

    name: str
    shape: list[int]
    datatype: str
    parameters: TensorParameters = TensorParameters()
    data: list[Coordinate] | list[list[Point]] | None = None


class RequestOutput(BaseModel):
    """A tensor that is wanted."""

    name: str
    parameters: TensorParameters = TensorParameters()


class RequestParameters(BaseModel):
    """What the whole request wants; `convert` and `units` are those of POST /synthesize."""

    convert: Annotated[bool, Field(strict=True)] = True
    units: Units = "any"
    binary_data_output: bool = False


class InferenceRequest(BaseModel):
    """The body of an inference."""

    id: str | None = None
    parameters: RequestParameters = RequestParameters()
    inputs: list[RequestInput]
    outputs: list[RequestOutput] | None = None


class ResponseOutput(BaseModel):
    """A tensor out; `data` is flat, and missing where it follows as bytes."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, int] | None = None
    data: list[int] | None = None


class InferenceResponse(BaseModel):
    """The answer to an inference. Its parameters say that the pictures are synthetic, and by which bundle."""

    model_name: str
    id: str | None = None
    parameters: dict[str, str]
    outputs: list[ResponseOutput]


class ServerOut(BaseModel):
    """What answers here."""

    name: str
    version: str
    extensions: list[str]


class LiveOut(BaseModel):
    """The server answers."""

    live: bool


class ReadyOut(BaseModel):
    """Server or model will serve; `name` is the model's."""

    name: str | None = None
    ready: bool


class TensorOut(BaseModel):
    """A tensor of a model; -1 is the batch."""

    name: str
    datatype: str
    shape: list[int]


class ModelOut(BaseModel):
    """A target, as a model."""

    name: str
    platform: str
    inputs: list[TensorOut]
    outputs: list[TensorOut]

    @classmethod
    def of(cls, manifest: BundleManifest) -> "ModelOut":
        """The tensors of a target."""
        size, points = manifest.image_size, len(manifest.neutral)
        return cls(
            name=manifest.target,
            platform="onnxruntime_onnx",
            inputs=[TensorOut(name=INPUT, datatype="FP32", shape=[-1, points, 2])],
            outputs=[TensorOut(name=OUTPUT, datatype="UINT8", shape=[-1, size, size, 3])],
        )


router = APIRouter(prefix="/v2", tags=["open inference"])


@router.get("")
@router.get("/", include_in_schema=False)
async def show_server() -> ServerOut:
    """What answers here."""
    return ServerOut(name="landmarkgan", version=__version__, extensions=["binary_tensor_data"])


@router.get("/health/live")
async def check_life(lifecycle: StateDep) -> LiveOut:
    """As /livez."""
    lifecycle.check_alive()
    return LiveOut(live=True)


@router.get("/health/ready", response_model_exclude_none=True)
async def check_readiness(lifecycle: StateDep) -> ReadyOut:
    """As /readyz."""
    lifecycle.check_ready()
    return ReadyOut(ready=True)


@router.get("/models/{target_id}")
async def show_model(target_id: str, face_service: FaceServiceDep) -> ModelOut:
    """A target's tensors."""
    return ModelOut.of(face_service.catalogue.find(target_id).manifest)


@router.get("/models/{target_id}/ready")
async def check_model(target_id: str, face_service: FaceServiceDep) -> ReadyOut:
    """Whether the target is served."""
    return ReadyOut(name=face_service.catalogue.find(target_id).manifest.target, ready=True)


@router.post("/models/{target_id}/infer", response_model=InferenceResponse, openapi_extra=DOCUMENTED_BODY)
async def infer(target_id: str, request: Request, face_service: FaceServiceDep) -> Response:
    """Landmarks to the target's faces, as many as run as one batch."""
    order, rest = await read_request(request)
    faces = read_landmarks(order.inputs, rest)
    binary = wants_bytes(order)
    work = face_service.synthesize_batch(target_id, list(faces), order.parameters.convert, order.parameters.units)
    result = await run_while_connected(request, work, face_service.settings.deadline_seconds)
    answer = await run_in_threadpool(answer_inference, result, order.id, binary)
    answer.headers["Server-Timing"] = tell_timings(request, result.stages)
    return answer


async def read_request(request: Request) -> tuple[InferenceRequest, bytes]:
    """The body's JSON, and the bytes after it. Raises MediaTypeError, HeaderError, InferenceRequestError."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in BODY_TYPES or request.headers.get("content-encoding", "identity") != "identity":
        raise MediaTypeError("This body is not read.", "application/json or application/octet-stream, uncompressed.")
    try:
        body = await request.body()
    except ClientDisconnect as error:
        raise ClientGoneError("The client hung up, or was too slow.") from error
    length = request.headers.get(LENGTH_HEADER, str(len(body)))
    if not (length.isascii() and length.isdigit()) or int(length[:20]) > len(body):
        raise HeaderError(f"{LENGTH_HEADER.title()} is no length within the body.", f"From 0 to {len(body)}.")
    try:
        return InferenceRequest.model_validate_json(body[: int(length)]), body[int(length) :]
    except ValidationError as error:
        found = [f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors()]
        raise InferenceRequestError("; ".join(found[:SHOWN_ERRORS])) from error


def read_landmarks(inputs: Sequence[RequestInput], rest: bytes) -> NDArray[np.float64] | NDArray[np.float32]:
    """The one input ``(n, points, 2)``. Raises InferenceRequestError."""
    if len(inputs) != 1 or inputs[0].name != INPUT:
        raise InferenceRequestError("The inputs are not this model's.", f"One input, '{INPUT}'.")
    tensor, size = inputs[0], inputs[0].parameters.binary_data_size
    if tensor.datatype != "FP32" or len(tensor.shape) != 3 or tensor.shape[2] != 2 or min(tensor.shape) < 1:
        raise InferenceRequestError(f"'{INPUT}' is of another type or shape.", "FP32 [n, points, 2].")
    if (size is None) == (tensor.data is None) or len(rest) != (size or 0):
        raise InferenceRequestError(
            f"'{INPUT}' has no data, or data twice, or another number of bytes than it says.",
            "'data', or 'binary_data_size' and so many bytes after the JSON.",
        )
    unfilled = InferenceRequestError(
        f"The data of '{INPUT}' do not fill its shape.", "As many numbers, of 4 bytes each."
    )
    try:
        numbers = np.frombuffer(rest, "<f4") if tensor.data is None else np.array(tensor.data, np.float64)
    except ValueError as error:  # a broken number, or faces of different lengths
        raise unfilled from error
    if numbers.size != math.prod(tensor.shape):
        raise unfilled
    return numbers.reshape(tensor.shape)


def wants_bytes(order: InferenceRequest) -> bool:
    """Whether the pictures are wanted as bytes. Raises InferenceRequestError for outputs that there are not."""
    wanted = order.outputs or [RequestOutput(name=OUTPUT)]
    if [each.name for each in wanted] != [OUTPUT]:
        raise InferenceRequestError("The outputs are not this model's.", f"One output, '{OUTPUT}', or none named.")
    own = wanted[0].parameters.binary_data
    return order.parameters.binary_data_output if own is None else own


def answer_inference(result: BatchResult, request_id: str | None, binary: bool) -> Response:
    """The answer, its pixels in JSON or as bytes after it. Blocks: JSON of a picture takes a while."""
    pictures, origin = result.pictures, Origin.of(result.target)
    answer = InferenceResponse(
        model_name=result.target.manifest.target,
        id=request_id,
        parameters={"bundle": origin.bundle, "digital_source_type": origin.source_type},
        outputs=[ResponseOutput(name=OUTPUT, datatype="UINT8", shape=list(pictures.shape))],
    )
    headers = {name: value for name, value in describe_target(result.target).items() if name != "ETag"}
    if not binary:
        content: dict[str, Any] = answer.model_dump(exclude_none=True)
        content["outputs"][0]["data"] = pictures.ravel().tolist()
        return Response(json.dumps(content, separators=(",", ":")), headers=headers, media_type="application/json")
    answer.outputs[0].parameters = {"binary_data_size": pictures.nbytes}
    head = answer.model_dump_json(exclude_none=True).encode()
    headers[LENGTH_HEADER.title()] = str(len(head))
    return Response(head + pictures.tobytes(), headers=headers, media_type="application/octet-stream")
