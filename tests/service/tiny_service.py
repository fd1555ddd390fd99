"""Bundles with tiny but real ONNX networks, an application that serves them, and pictures for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from service.api.schemas import list_points
from service.app import create_app
from service.settings import Settings
from shared.bundle import (
    BundleManifest,
    FileRef,
    Measured,
    OnnxFile,
    TensorSpec,
    TrainingData,
    hash_file,
    write_manifest,
)
from shared.detectors import DetectedFace, LandmarkDetector
from shared.geometry import CropRule
from shared.landmarks import IBUG68, Points, Scheme

SIZE = 32
SHIFT = 0.125  # what the tiny converter adds to every coordinate


def make_face(scheme: Scheme = IBUG68) -> Points:
    """Points that lie as a face's do, in crop units ``(N, 2)``: each group on its own small ellipse."""
    places = {
        "jaw": (0.5, 0.5, 0.32, 0.4),
        "right_brow": (0.36, 0.33, 0.09, 0.02),
        "left_brow": (0.64, 0.33, 0.09, 0.02),
        "nose_bridge": (0.5, 0.46, 0.01, 0.09),
        "nose_base": (0.5, 0.58, 0.06, 0.02),
        "right_eye": (0.37, 0.41, 0.06, 0.025),
        "left_eye": (0.63, 0.41, 0.06, 0.025),
        "outer_lips": (0.5, 0.72, 0.12, 0.06),
        "inner_lips": (0.5, 0.72, 0.08, 0.03),
        "right_pupil": (0.37, 0.41, 0.0, 0.0),
        "left_pupil": (0.63, 0.41, 0.0, 0.0),
    }
    points = np.zeros((scheme.count, 2), np.float32)
    for name, rows in scheme.groups.items():
        x, y, wide, high = places[name]
        ends = (0, np.pi) if name == "jaw" else (2 * np.pi, 0)
        turn = np.linspace(*ends, len(rows), endpoint=name == "jaw")
        points[list(rows)] = np.stack([x - wide * np.cos(turn), y + high * np.sin(turn)], axis=1)
    return points


def make_converter(shift: float = SHIFT, count: int = 68) -> onnx.ModelProto:
    """(B, count, 2) -> (B, count, 2): `shift` added."""
    return make_model(
        [helper.make_node("Add", ["landmarks", "shift"], ["converted"])],
        {"shift": np.array(shift, np.float32)},
        ("landmarks", ["batch", count, 2]),
        ("converted", ["batch", count, 2]),
    )


def make_tl2f(count: int = 68) -> onnx.ModelProto:
    """(B, count, 2) -> (B, 3, 32, 32): red is the mean x, green the mean y, blue a horizontal ramp."""
    ramp = np.zeros((1, 3, SIZE, SIZE), np.float32)
    ramp[0, 2] = np.linspace(0, 1, SIZE)
    return make_model(
        [
            helper.make_node("ReduceMean", ["landmarks", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "mix"], ["colour"]),
            helper.make_node("Unsqueeze", ["colour", "last"], ["pixel"]),
            helper.make_node("Add", ["pixel", "ramp"], ["sum"]),
            helper.make_node("Clip", ["sum", "zero", "one"], ["image"]),
        ],
        {
            "axes": np.array([1], np.int64),
            "mix": np.array([[1, 0, 0], [0, 1, 0]], np.float32),
            "last": np.array([2, 3], np.int64),
            "ramp": ramp,
            "zero": np.array(0, np.float32),
            "one": np.array(1, np.float32),
        },
        ("landmarks", ["batch", count, 2]),
        ("image", ["batch", 3, SIZE, SIZE]),
    )


def make_model(
    nodes: list[onnx.NodeProto],
    constants: dict[str, NDArray[np.generic]],
    source: tuple[str, list[str | int]],
    result: tuple[str, list[str | int]],
) -> onnx.ModelProto:
    """A checked ONNX model of one float32 input and output."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, source[1])],
        [helper.make_tensor_value_info(result[0], TensorProto.FLOAT, result[1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def write_bundle(
    models: Path,
    target: str,
    converter: onnx.ModelProto | None = None,
    tl2f: onnx.ModelProto | None = None,
    scheme: Scheme = IBUG68,
) -> BundleManifest:
    """A whole bundle ``models/<target>``."""
    folder = models / target
    folder.mkdir(parents=True)
    onnx.save(converter or make_converter(count=scheme.count), folder / "converter.onnx")
    onnx.save(tl2f or make_tl2f(scheme.count), folder / "tl2f.onnx")
    Image.new("RGB", (SIZE, SIZE), (90, 60, 30)).save(folder / "reference.png")

    def refer(name: str, source: TensorSpec, result: TensorSpec) -> OnnxFile:
        return OnnxFile(file=name, sha256=hash_file(folder / name), input=source, output=result)

    points = TensorSpec(name="landmarks", shape=(None, scheme.count, 2), low=0, high=1)
    converted = TensorSpec(name="converted", shape=(None, scheme.count, 2), low=0, high=1)
    manifest = BundleManifest(
        target=target,
        display_name=target.title(),
        scheme=scheme.name,
        crop=CropRule(centre_points=scheme.rigid, scale_points=scheme.rigid, factor=8.0, drop=0.05),
        image_size=SIZE,
        converter=refer("converter.onnx", points, converted),
        tl2f=refer("tl2f.onnx", points, TensorSpec(name="image", shape=(None, 3, SIZE, SIZE), low=0, high=1)),
        reference=FileRef(file="reference.png", sha256=hash_file(folder / "reference.png")),
        neutral=list_points(make_face(scheme)),
        shape=list_points(make_face(scheme)),
        presets={"neutral": list_points(make_face(scheme))},
        detector="mesh",
        data=TrainingData(description="made by hand", licence="Apache-2.0", consent=None, frames={"train": 1}),
        metrics={"psnr": Measured(value=30.0, split="test", frames=1)},
        versions={"landmarkgan": "0"},
        config={},
    )
    write_manifest(manifest, folder)
    return manifest


class MarkedDetector:
    """A detector for pictures made by `draw_faces`: a face wherever a pure red pixel marks its upper left corner."""

    name = "marked"
    scheme = "ibug68"

    def detect(self, image: NDArray[np.uint8]) -> list[DetectedFace]:
        """The marked faces; each is as wide as its mark's run of red pixels, the widest first."""
        red = (image == (255, 0, 0)).all(axis=2)
        faces = []
        for y in np.flatnonzero(red.any(axis=1)):
            columns = np.flatnonzero(red[y])
            landmarks = make_face() * np.float32(len(columns)) + np.array([columns[0], y], np.float32)
            faces.append(DetectedFace(landmarks.astype(np.float32), 0.9))
        return sorted(faces, key=lambda face: -float(np.ptp(face.landmarks)))


def draw_faces(*faces: tuple[int, int, int], size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A grey picture with one mark for each face: left, top, width."""
    image = Image.new("RGB", size, (128, 128, 128))
    for left, top, width in faces:
        image.paste((255, 0, 0), (left, top, left + width, top + 1))
    return image


def to_bytes(image: Image.Image, kind: str = "PNG", exif: Image.Exif | None = None) -> bytes:
    """The picture's file."""
    buffer = BytesIO()
    if exif is None:
        image.save(buffer, kind)
    else:
        image.save(buffer, kind, exif=exif)
    return buffer.getvalue()


def read_picture(data: bytes) -> NDArray[np.uint8]:
    """An answer's picture ``(H, W, 3)``."""
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@asynccontextmanager
async def serve(
    settings: Settings, detector: LandmarkDetector | None = None, wait: bool = True
) -> AsyncIterator[httpx.AsyncClient]:
    """The application, alive and loaded, behind a client that speaks ASGI to it."""
    app = create_app(settings, detector)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            while wait and (await client.get("/version")).status_code == 503:
                await asyncio.sleep(0.005)
            client.app = app
            yield client
