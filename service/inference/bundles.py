"""The targets that can be served: every bundle of the models folder, opened, checked and run once."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.errors import DamagedTargetError, StartError, UnknownTargetError, UnsupportedImageError
from service.media.images import sniff_media_type
from shared.bundle import MANIFEST_NAME, BundleManifest, OnnxFile, TensorSpec, read_bundle
from shared.calibration import Calibration
from shared.detectors import DETECTOR_NAMES
from shared.errors import BundleError
from shared.landmarks import Points
from shared.pixels import PIXEL_RANGE, Image8, from_network
from shared.tilt import TiltRange

logger = logging.getLogger(__name__)

GPU_PROVIDER, CPU_PROVIDER = "CUDAExecutionProvider", "CPUExecutionProvider"


class Network(Protocol):
    """What a target needs of a runtime: one float32 array in, one out."""

    providers: tuple[str, ...]

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output for a batch of its inputs."""


class OnnxNetwork:
    """One ONNX file in ONNX Runtime, checked against its entry in the manifest."""

    def __init__(self, data: bytes, spec: OnnxFile, device: str, threads: int) -> None:
        """Raises BundleError where the file is no network of the declared names, types and shapes."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        wanted = [GPU_PROVIDER, CPU_PROVIDER] if device == "cuda" else [CPU_PROVIDER]
        available = ort.get_available_providers()
        try:
            # From the bytes that were hashed: a file swapped meanwhile, or data outside the bundle, is never read.
            self._session = ort.InferenceSession(data, options, [name for name in wanted if name in available])
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise BundleError(f"{spec.file}: ONNX Runtime can't open it: {reason}") from error
        _check_tensors(spec.file, "input", self._session.get_inputs(), spec.input)
        _check_tensors(spec.file, "output", self._session.get_outputs(), spec.output)
        self._input, self._output = spec.input.name, spec.output.name
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output for a batch of its inputs."""
        output: NDArray[np.float32] = self._session.run([self._output], {self._input: batch})[0]
        return output


@dataclass(frozen=True)
class Target:
    """One bundle, ready to run."""

    manifest: BundleManifest
    reference: bytes
    reference_type: str
    converter: Network
    tl2f: Network
    calibration: Calibration
    tilt: TiltRange

    def convert(self, points: Points) -> Points:
        """Anyone's landmarks ``(B, N, 2)`` in crop units -> the target's, likewise."""
        return self.converter.run(points)

    def convert_calibrated(self, points: Points, neutrals: Points) -> Points:
        """As `convert`, of faces whose neutral shapes ``(B, N, 2)`` are known."""
        return self.calibration.convert(points, neutrals, self.converter.run)

    def synthesize(self, points: Points) -> Image8:
        """The target's landmarks ``(B, N, 2)`` in crop units -> pictures ``(B, S, S, 3)``."""
        return from_network(self.tl2f.run(points))


@dataclass(frozen=True)
class Catalogue:
    """What there is to serve, by target id; and what was refused, with the reason."""

    targets: Mapping[str, Target]
    damaged: Mapping[str, str]

    def find(self, target_id: str) -> Target:
        """Raises UnknownTargetError, or DamagedTargetError with the reason."""
        if target_id in self.damaged:
            raise DamagedTargetError(self.damaged[target_id])
        if target_id not in self.targets:
            known = ", ".join(sorted(self.targets)) or "none"
            raise UnknownTargetError("There is no target of this name.", f"One of the targets served: {known}.")
        return self.targets[target_id]


def load_catalogue(models_dir: Path, device: str, threads: int, require_gpu: bool) -> Catalogue:
    """Open every bundle of the folder. A damaged one is logged and listed; the others serve on.

    A folder that a detector's name or a leading dot marks is none of a target's. Any other that holds ONNX files and no
    manifest is a bundle that was never finished. Raises StartError where a GPU is required and not used.
    """
    if device == "cuda":
        load_cuda_libraries()
    if require_gpu and GPU_PROVIDER not in ort.get_available_providers():
        raise StartError(f"A GPU is required, but this ONNX Runtime has no {GPU_PROVIDER}; install onnxruntime-gpu.")
    targets: dict[str, Target] = {}
    damaged: dict[str, str] = {}
    if not models_dir.is_dir():
        logger.error("the models folder %s does not exist; no target is served", models_dir)
    for folder in sorted(models_dir.iterdir()) if models_dir.is_dir() else ():
        if not _holds_bundle(folder):
            continue
        try:
            target = open_target(folder, device, threads)
        except BundleError as error:
            damaged[folder.name] = str(error)
            logger.error("target refused: %s", error)
            continue
        if require_gpu and GPU_PROVIDER not in target.tl2f.providers:
            raise StartError(f"A GPU is required, but {folder.name} runs on {', '.join(target.tl2f.providers)}.")
        targets[folder.name] = target
        logger.info("target %s runs on %s", folder.name, ", ".join(target.tl2f.providers))
    return Catalogue(targets, damaged)


def load_cuda_libraries() -> None:
    """Load CUDA and cuDNN from the wheels of `onnxruntime-gpu[cuda,cudnn]`: the dynamic loader does not look there."""
    preload = getattr(ort, "preload_dlls", None)  # since ONNX Runtime 1.21
    if preload is not None and GPU_PROVIDER in ort.get_available_providers():
        preload()


def open_target(folder: Path, device: str, threads: int) -> Target:
    """Verify one bundle, open its networks and run them once. Raises BundleError."""
    manifest = read_bundle(folder)
    if (manifest.tl2f.output.low, manifest.tl2f.output.high) != PIXEL_RANGE:
        raise BundleError(f"{folder.name}: pictures are expected in {PIXEL_RANGE}; export the target again.")
    try:
        reference = (folder / manifest.reference.file).read_bytes()
        converter, tl2f = ((folder / spec.file).read_bytes() for spec in (manifest.converter, manifest.tl2f))
        target = Target(
            manifest=manifest,
            reference=reference,
            reference_type=sniff_media_type(reference),
            converter=OnnxNetwork(converter, manifest.converter, device, threads=1),  # too small to share out
            tl2f=OnnxNetwork(tl2f, manifest.tl2f, device, threads),
            calibration=Calibration(manifest),
            tilt=TiltRange(manifest),
        )
        _warm_up(target)
    except (BundleError, UnsupportedImageError, OSError) as error:
        raise BundleError(f"{folder.name}: {error}") from error
    return target


def _holds_bundle(folder: Path) -> bool:
    if not folder.is_dir() or folder.name.startswith(".") or folder.name in DETECTOR_NAMES:
        return False
    return (folder / MANIFEST_NAME).exists() or any(folder.glob("*.onnx"))


def _check_tensors(file: str, side: str, found: list[ort.NodeArg], spec: TensorSpec) -> None:
    if len(found) != 1:
        raise BundleError(f"{file} has {len(found)} {side}s; expected one, '{spec.name}'.")
    tensor = found[0]
    if tensor.name != spec.name or tensor.type != "tensor(float)":
        raise BundleError(f"{file}: {side} is '{tensor.name}', {tensor.type}; expected '{spec.name}', tensor(float).")
    shape = tuple(size if isinstance(size, int) else None for size in tensor.shape)
    if shape != spec.shape:
        raise BundleError(f"{file}: {side} has the shape {shape}; the manifest says {spec.shape}.")


def _warm_up(target: Target) -> None:
    """Run both networks on the neutral face, alone and as a batch of two: whatever fails, fails now."""
    manifest = target.manifest
    neutral = np.array(manifest.neutral, np.float32)
    for size in (1, 2):
        points = np.repeat(neutral[None], size, axis=0)  # (B, N, 2)
        for spec, network in ((manifest.converter, target.converter), (manifest.tl2f, target.tl2f)):
            try:
                output = network.run(points)
            except Exception as error:
                reason = str(error).splitlines()[0]
                raise BundleError(f"{spec.file} does not run on a batch of {size}: {reason}") from error
            if output.shape != (size, *spec.output.shape[1:]) or not np.isfinite(output).all():
                raise BundleError(f"{spec.file} gives {output.shape} or values that are not finite for its own face.")
