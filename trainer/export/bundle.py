"""From trained networks to a bundle: ONNX files, compared with the networks on real landmarks, then the manifest."""

import copy
import logging
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn

from shared.bundle import (
    BundleManifest,
    FileRef,
    OnnxFile,
    RunRecord,
    TensorSpec,
    TrainingData,
    hash_file,
    write_manifest,
)
from shared.landmarks import Points
from shared.neutral import find_calm, find_neutral
from shared.pixels import PIXEL_RANGE
from trainer.config import TrainingConfig
from trainer.data.dataset import QUICK_SUFFIX, FrameDataset
from trainer.data.folders import finish_folder, start_folder
from trainer.errors import ExportError
from trainer.export.presets import choose_presets
from trainer.networks.converter import Converter

PARITY = 1e-3
"""Largest difference allowed between a network and its file, in crop units and in shares of white."""

OPSET = 20
CONVERTER_FILE, TL2F_FILE, REFERENCE_FILE = "converter.onnx", "tl2f.onnx", "reference.jpg"


def export_bundle(
    dataset: FrameDataset,
    converter: Converter,
    theta: nn.Module,
    config: TrainingConfig,
    models_dir: Path,
    run: RunRecord,
) -> Path:
    """Write ``models/<target>``, or ``models/<target>-quick`` for a quick run; the folder.

    The bundle is put together beside its place and moved there whole; what was there before goes. Raises ExportError
    where a file does not answer as its network does. The networks are left as they are.
    """
    manifest = dataset.manifest
    target, display_name = manifest.target, manifest.display_name
    if config.preset == "quick":  # beside a bundle that took hours, never in its place
        target, display_name = target + QUICK_SUFFIX, f"{display_name} (quick)"
    part = start_folder(models_dir, target)
    converter, theta = copy.deepcopy(converter).cpu(), copy.deepcopy(theta).cpu()
    held_out = dataset.landmarks("validation")
    landmarks = torch.from_numpy(held_out if len(held_out) else dataset.landmarks("train"))
    points: tuple[int | None, ...] = (None, landmarks.shape[1], 2)
    size = manifest.size

    frames = dataset.landmarks("train")
    calm = find_calm(frames, dataset.scheme)
    reference = dataset.crops("train")[calm]
    Image.fromarray(reference).save(part / REFERENCE_FILE, quality=95)
    round_weights(converter)
    round_weights(theta)
    coordinates = {"low": -1.0, "high": 2.0}
    low, high = PIXEL_RANGE
    files = {
        "converter": export_network(
            converter,
            landmarks,
            part / CONVERTER_FILE,
            TensorSpec(name="landmarks", shape=points, **coordinates),
            TensorSpec(name="converted", shape=points, **coordinates),
        ),
        "tl2f": export_network(
            theta,
            landmarks,
            part / TL2F_FILE,
            TensorSpec(name="landmarks", shape=points, **coordinates),
            TensorSpec(name="face", shape=(None, 3, size, size), low=low, high=high),
        ),
    }
    write_manifest(
        BundleManifest(
            target=target,
            display_name=display_name,
            scheme=manifest.scheme,
            crop=manifest.crop,
            image_size=size,
            converter=files["converter"],
            tl2f=files["tl2f"],
            reference=FileRef(file=REFERENCE_FILE, sha256=hash_file(part / REFERENCE_FILE)),
            neutral=list_shape(frames[calm]),
            shape=list_shape(find_neutral(frames, dataset.scheme)),
            presets={name: list_shape(frames[index]) for name, index in choose_presets(frames, dataset.scheme).items()},
            detector=manifest.detector,
            data=TrainingData(
                description=", ".join(f"{source.name} ({source.kept} frames)" for source in manifest.sources),
                licence=manifest.licence,
                consent=manifest.consent,
                frames=manifest.splits,
            ),
            metrics={},
            versions={"python": platform.python_version()}
            | {name: version(name) for name in ("torch", "onnx", "onnxruntime", "numpy")},
            config=config.model_dump(mode="json"),
            run=run,
        ),
        part,
    )
    return finish_folder(part, target)


def list_shape(points: Points) -> tuple[tuple[float, float], ...]:
    """Landmarks (N, 2) as the manifest holds them."""
    return tuple((float(x), float(y)) for x, y in points)


@torch.no_grad()
def round_weights(network: nn.Module) -> None:
    """Round every weight to float16, as it is stored: half the bytes. What is compared and measured is the rounded."""
    for parameter in network.parameters():
        parameter.copy_(parameter.half().float())


def export_network(
    network: nn.Module, landmarks: Tensor, path: Path, given: TensorSpec, result: TensorSpec
) -> OnnxFile:
    """Write one network as ONNX with a dynamic batch, and compare it on real landmarks (n, N, 2)."""
    network.eval()
    batch = torch.export.Dim("batch", min=1, max=4096)
    with quiet_exporter():
        program = torch.onnx.export(
            network,
            (landmarks[[0, -1]],),  # two rows, also of a single photo: one would be taken for the only size
            dynamo=True,
            opset_version=OPSET,
            input_names=[given.name],
            output_names=[result.name],
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    drop_traces(model)
    store_float16(model)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    compare_outputs(network, path, landmarks, given.name)
    return OnnxFile(file=path.name, sha256=hash_file(path), input=given, output=result)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep two notes of torch's exporter from the user's terminal, and no others: that torchvision, which nothing here
    needs, is not installed, and that the exporter itself uses a spelling which torch deprecates."""

    def is_news(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("torchvision is not installed")

    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    logger.addFilter(is_news)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        logger.removeFilter(is_news)


def drop_traces(model: onnx.ModelProto) -> None:
    """Take out what the exporter notes of the code that each node came from: paths of the machine that trained."""
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.output,
        *model.graph.value_info,
    ):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def store_float16(model: onnx.ModelProto) -> None:
    """Keep large weights as float16 with a Cast behind each; ONNX Runtime folds the casts when it loads the file.

    Weights that float16 does not hold exactly stay as they are.
    """
    graph = model.graph
    kept, stored, casts = [], [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16) if values.dtype == np.float32 and values.size >= 1024 else None
        if half is None or not np.array_equal(half.astype(np.float32), values):
            kept.append(tensor)
            continue
        stored.append(numpy_helper.from_array(half, f"{tensor.name}.float16"))
        casts.append(helper.make_node("Cast", [f"{tensor.name}.float16"], [tensor.name], to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend([*kept, *stored])
    graph.node.extend([*casts, *nodes])


def compare_outputs(network: nn.Module, path: Path, landmarks: Tensor, name: str) -> None:
    """Raise ExportError where the file's answer differs from the network's by more than `PARITY` anywhere."""
    chosen = landmarks[:: max(1, len(landmarks) // 16)][:16]
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = network(chosen).numpy()
    whole = run_session(session, name, chosen.numpy())
    single = run_session(session, name, chosen[:1].numpy())
    difference = max(float(np.abs(whole - expected).max()), float(np.abs(single - expected[:1]).max()))
    if not difference <= PARITY:
        raise ExportError(
            f"{path.name} differs from its network by {difference:.2g} on held-out landmarks; at most {PARITY:g} is "
            "allowed. Nothing was replaced; check the versions of torch, onnx and onnxruntime."
        )


def run_session(session: ort.InferenceSession, name: str, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """The one output of a one-input network."""
    output: NDArray[np.float32] = session.run(None, {name: batch})[0]
    return output
