"""Omega as a file: exported to ``models/hourglass/``, and read back from it where Theta is trained against it.

The ONNX file is the one place of the weights. Its initializers carry the names of the torch module's parameters, so
that the service runs and the trainer differentiates the same numbers.
"""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import numpy_helper
from onnxscript.optimizer import fold_constants, remove_unused_nodes
from torch import Tensor, nn

from shared.bundle import FileRef, Measured, TensorSpec, TrainingData, hash_file
from shared.detectors.manifest import HOURGLASS, REMEDY, DetectorManifest, read_manifest, write_manifest
from shared.errors import DetectorUnavailableError
from shared.landmarks import CONVERSIONS, Scheme
from shared.pixels import PIXEL_RANGE, to_network
from trainer.config import DetectorTraining
from trainer.data.dataset import FrameDataset
from trainer.data.folders import finish_folder, start_folder
from trainer.errors import ExportError
from trainer.export.bundle import OPSET, PARITY, drop_traces, quiet_exporter, store_float16
from trainer.losses.generator import GuidanceDetector
from trainer.networks.hourglass import Hourglass

OMEGA_FILE = "omega.onnx"
LARGEST_FILE = 3_000_000  # bytes
COMPARED = 8  # pictures


class ServedOmega(nn.Module):
    """Omega as it is served: landmarks (B, N, 2) in crop units, and a confidence (B,) in place of the heatmaps.

    The confidence is the mean height of the heatmaps' peaks, that of the Gaussian they were trained towards being 1.
    Flat and torn heatmaps, of pictures that show no face, come out low.
    """

    def __init__(self, omega: Hourglass, sigma: float) -> None:
        super().__init__()
        self.omega = omega
        self.peak = 1 / (2 * np.pi * sigma**2)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:  # (B, 3, S, S)
        landmarks, heatmaps = self.omega(pictures)
        return landmarks, (heatmaps.amax(dim=(2, 3)) / self.peak).clamp(max=1).mean(dim=1)


def export_omega(
    omega: Hourglass,
    datasets: Mapping[str, FrameDataset],
    nme: Mapping[str, Measured],
    config: DetectorTraining,
    models_dir: Path,
) -> Path:
    """Write ``models/hourglass``; the folder. `datasets` are those that it learned from, of one scheme and crop rule.

    The weights must be rounded already (`round_weights`), so that `nme` is of what is stored. The folder appears whole.
    Raises ExportError where the file does not answer as the network does, or is too large.
    """
    trained_on = next(iter(datasets.values()))
    size, count = trained_on.manifest.size, trained_on.scheme.count
    low, high = PIXEL_RANGE
    part = start_folder(models_dir, HOURGLASS)
    write_network(omega, config.sigma, torch.from_numpy(pick_pictures(trained_on)), part / OMEGA_FILE)
    write_manifest(
        DetectorManifest(
            scheme=trained_on.manifest.scheme,
            crop=trained_on.manifest.crop,
            network=FileRef(file=OMEGA_FILE, sha256=hash_file(part / OMEGA_FILE)),
            picture=TensorSpec(name="picture", shape=(None, 3, size, size), low=low, high=high),
            landmarks=TensorSpec(name="landmarks", shape=(None, count, 2), low=0.0, high=1.0),
            confidence=TensorSpec(name="confidence", shape=(None,), low=0.0, high=1.0),
            nme=nme,
            data={name: describe_data(each) for name, each in datasets.items()},
            versions={"python": platform.python_version()}
            | {name: version(name) for name in ("torch", "onnx", "onnxruntime", "numpy")},
            config=config.model_dump(mode="json"),
        ),
        part,
    )
    check_weights(omega, load_omega(part))
    return finish_folder(part, HOURGLASS)


def pick_pictures(dataset: FrameDataset) -> np.typing.NDArray[np.float32]:
    """A few held-out pictures (n, 3, S, S), from the validation block, or from training where that is empty."""
    crops = dataset.crops("validation" if len(dataset.indices("validation")) else "train")
    return to_network(np.stack(list(crops[:: -(-len(crops) // COMPARED)])))


def describe_data(dataset: FrameDataset) -> TrainingData:
    """What the manifest says of one dataset."""
    manifest = dataset.manifest
    kept = ", ".join(f"{source.name} ({source.kept} frames)" for source in manifest.sources)
    return TrainingData(
        description=f"{kept}; landmarks: {manifest.detector}",
        licence=manifest.licence,
        consent=manifest.consent,
        frames=manifest.splits,
    )


def write_network(omega: Hourglass, sigma: float, pictures: Tensor, path: Path) -> None:
    """Write Omega as ONNX with a dynamic batch, weights as float16, and compare it on real pictures (n, 3, S, S)."""
    served = ServedOmega(omega, sigma).eval()
    with quiet_exporter():
        program = torch.onnx.export(
            served,
            (pictures[:2] if len(pictures) > 1 else pictures.repeat(2, 1, 1, 1),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["picture"],
            output_names=["landmarks", "confidence"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            verbose=False,
            optimize=False,  # It would merge equal parameters, and lose their names.
        )
    assert program is not None
    fold_constants(program.model)
    remove_unused_nodes(program.model)
    model = program.model_proto
    drop_traces(model)
    store_float16(model)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    if path.stat().st_size > LARGEST_FILE:
        raise ExportError(
            f"{path.name} has {path.stat().st_size / 1e6:.1f} MB; at most {LARGEST_FILE / 1e6:g} are allowed. Train "
            "with fewer channels, and round the weights."
        )
    compare_answers(served, path, pictures)


@torch.no_grad()
def compare_answers(served: ServedOmega, path: Path, pictures: Tensor) -> None:
    """Raise ExportError where the file's landmarks or confidences differ from the module's by more than `PARITY`."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (pictures, pictures[:1]):
        answers = session.run(["landmarks", "confidence"], {"picture": batch.numpy()})
        for found, expected in zip(answers, served(batch), strict=True):
            difference = float(np.abs(found - expected.numpy()).max())
            if not difference <= PARITY:
                raise ExportError(
                    f"{path.name} differs from its network by {difference:.2g} on held-out pictures; at most "
                    f"{PARITY:g} is allowed. Nothing was replaced; check the versions of torch, onnx and onnxruntime."
                )


def check_weights(omega: Hourglass, loaded: Hourglass) -> None:
    """Raise ExportError where the file did not keep the weights as they are: what serves must also train."""
    kept = loaded.state_dict()
    changed = [name for name, value in omega.state_dict().items() if not torch.equal(value, kept[name])]
    if changed:
        raise ExportError(f"{OMEGA_FILE} holds other weights than the network's: {', '.join(changed[:5])}.")


def load_omega(folder: Path) -> Hourglass:
    """Omega from ``models/hourglass``, in evaluation mode, its weights held fixed: gradients go through it to pictures.

    Raises DetectorUnavailableError where it is missing or damaged, or was not written by `export_omega`.
    """
    manifest = read_manifest(folder)
    try:
        config = DetectorTraining.model_validate(manifest.config)
        served = ServedOmega(Hourglass(config.network), config.sigma)
        served.load_state_dict(read_weights(folder / manifest.network.file, set(served.state_dict())))
    except (ValueError, RuntimeError, onnx.checker.ValidationError) as error:  # pydantic's errors are ValueErrors
        raise DetectorUnavailableError(
            f"{folder / manifest.network.file} does not hold the weights of the network that the manifest describes "
            f"({error}); {REMEDY}"
        ) from error
    return served.omega.eval().requires_grad_(False)


def load_guidance(folder: Path, scheme: Scheme) -> GuidanceDetector:
    """Omega, and which points of this scheme it finds. Of points that the scheme lacks it finds no heatmaps.

    Raises DetectorUnavailableError where Omega's scheme and this one do not convert to each other.
    """
    omega, known = load_omega(folder), read_manifest(folder).scheme
    if known == scheme.name:
        return GuidanceDetector(omega, list(range(scheme.count)))
    if (scheme.name, known) in CONVERSIONS:
        return GuidanceDetector(omega, list(CONVERSIONS[scheme.name, known]))
    if (known, scheme.name) not in CONVERSIONS:
        raise DetectorUnavailableError(
            f"{folder} finds landmarks of scheme '{known}', and the target's are '{scheme.name}'. Train a detector on "
            "these (make train-detector, with WFLW= or with datasets of that scheme), or set i2l to 0."
        )
    chosen = list(CONVERSIONS[known, scheme.name])
    head = nn.Conv2d(omega.config.channels, len(chosen), kernel_size=1).requires_grad_(False)
    head.load_state_dict({name: value[chosen] for name, value in omega.head[-1].state_dict().items()})
    omega.head[-1] = head
    return GuidanceDetector(omega, list(range(scheme.count)))


def read_weights(path: Path, names: set[str]) -> dict[str, Tensor]:
    """The initializers of an ONNX file that bear one of these names, as float32; see `store_float16`."""
    weights = {}
    for tensor in onnx.load(path).graph.initializer:
        name = tensor.name.removesuffix(".float16")
        if name in names:
            weights[name] = torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
    return weights
