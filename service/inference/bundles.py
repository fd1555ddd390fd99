"""The targets that can be served: bundles of the models folder, opened, checked and run once, as they come and go."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort

from service.errors import DamagedTargetError, StartError, UnknownTargetError, UnsupportedImageError
from service.inference.network import Network, OnnxNetwork, load_cuda_libraries, open_shared
from service.media.images import sniff_media_type
from shared.animation import Animator
from shared.bundle import MANIFEST_NAME, Bundle, BundleManifest, load_bundle
from shared.detectors import DETECTOR_NAMES
from shared.devices import GPU_PROVIDER
from shared.errors import BundleError
from shared.pixels import PIXEL_RANGE

logger = logging.getLogger(__name__)

# A folder is exchanged by two renames, between which it is not there; only one that stays away is withdrawn.
GAP_SECONDS = 0.8

Consent = Literal["recorded", "none"]
Signature = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True, eq=False)
class Target:
    """One bundle, ready to run. `bundle` is its hash: that of ``bundle.json``, which holds those of all its files."""

    bundle: str
    manifest: BundleManifest
    reference: bytes
    reference_type: str
    converter: Network
    tl2f: Network
    animator: Animator

    @property
    def consent(self) -> Consent:
        """Whether the bundle names the record in which the person agreed."""
        return "recorded" if (self.manifest.data.consent or "").strip() else "none"


@dataclass(frozen=True)
class Catalogue:
    """What there is to serve, by target id; and what was refused, with the reason.

    An id can stand in both: a damaged bundle does not displace the one that is served.
    """

    targets: Mapping[str, Target] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)

    def find(self, target_id: str) -> Target:
        """Raises UnknownTargetError, or DamagedTargetError with the reason."""
        if target_id in self.targets:
            return self.targets[target_id]
        if target_id in self.damaged:
            raise DamagedTargetError(self.damaged[target_id])
        known = ", ".join(sorted(self.targets)) or "none"
        raise UnknownTargetError("There is no target of this name.", f"One of the targets served: {known}.")


class BundleFolder:
    """The models folder, scanned again and again while its bundles come, change and go.

    A folder that a detector's name or a leading dot marks is none of a target's. Any other that holds ONNX files and no
    manifest is a bundle that was never finished. A bundle that can't be served is logged and listed; the others, and
    the one that was in its place, serve on.
    """

    def __init__(
        self, models_dir: Path, device: str, threads: int, require_gpu: bool = False, require_consent: bool = False
    ) -> None:
        self.models_dir, self.device, self.threads = models_dir, device, threads
        self.require_gpu, self.require_consent = require_gpu, require_consent
        self._catalogue: Catalogue | None = None
        self._tried: dict[str, Signature] = {}
        self._missing_since: dict[str, float] = {}

    def scan(self) -> Catalogue:
        """What is there now; the same object as last time where nothing changed. Blocks; one call at a time.

        Raises StartError, the first time alone, where a GPU is required and not used.
        """
        if self._catalogue is None:
            self._check_runtime()
        before = self._catalogue or Catalogue()
        try:
            folders = {each.name: each for each in sorted(self.models_dir.iterdir()) if _holds_bundle(each)}
        except OSError as error:  # a volume that is away for a moment takes no target with it
            if self._catalogue is None:
                logger.error("the models folder can't be read; no target is served: %s", error)
                self._catalogue = before
            return before
        targets, damaged = dict(before.targets), dict(before.damaged)
        self._withdraw(targets, damaged, set(folders))
        for name, folder in folders.items():
            signature = _sign(folder)
            if not signature or self._tried.get(name) == signature:
                continue
            try:
                target = self._open(folder, targets.get(name))
            except BundleError as error:
                if _sign(folder) != signature:  # still being written
                    continue
                damaged[name] = str(error)
                logger.error("bundle refused%s: %s", ", the one before serves on" * (name in targets), error)
            else:
                damaged.pop(name, None)
                targets[name] = target
            self._tried[name] = signature
        if self._catalogue is None or (targets, damaged) != (before.targets, before.damaged):
            self._catalogue = Catalogue(targets, damaged)
        return self._catalogue

    def _check_runtime(self) -> None:
        if self.device == "cuda":
            load_cuda_libraries()
        if self.require_gpu and GPU_PROVIDER not in ort.get_available_providers():
            raise StartError(
                f"A GPU is required, but this ONNX Runtime has no {GPU_PROVIDER}; install onnxruntime-gpu."
            )

    def _withdraw(self, targets: dict[str, Target], damaged: dict[str, str], present: set[str]) -> None:
        """Take out what has been away for longer than an exchange takes."""
        self._missing_since = {name: since for name, since in self._missing_since.items() if name not in present}
        for name in (targets.keys() | damaged.keys()) - present:
            if time.monotonic() - self._missing_since.setdefault(name, time.monotonic()) < GAP_SECONDS:
                continue
            if targets.pop(name, None) is not None:
                logger.info("target %s is withdrawn: its bundle is gone", name)
            damaged.pop(name, None)
            self._tried.pop(name, None)

    def _open(self, folder: Path, served: Target | None) -> Target:
        """The folder's bundle, or the one that is `served` where they are the same. Raises BundleError."""
        bundle = load_bundle(folder)
        if served is not None and served.bundle == bundle.sha256:
            return served
        target = open_target(bundle, self.device, self.threads)
        if self.require_consent and target.consent == "none":
            raise BundleError(
                f"{folder.name}: its manifest names no consent record, and this service serves none without "
                "(LANDMARKGAN_REQUIRE_CONSENT)."
            )
        if self.require_gpu and GPU_PROVIDER not in target.tl2f.providers:
            reason = f"A GPU is required, but {folder.name} runs on {', '.join(target.tl2f.providers)}."
            raise BundleError(reason) if self._catalogue else StartError(reason)
        runs_on = ", ".join(target.tl2f.providers)
        logger.info(
            "target %s runs on %s, threads=%d, bundle %s", folder.name, runs_on, target.tl2f.threads, bundle.sha256
        )
        return target


def open_target(bundle: Bundle, device: str, threads: int) -> Target:
    """Open a bundle's networks, from the very bytes that were hashed, and run them once. Raises BundleError."""
    manifest, files = bundle.manifest, bundle.files
    if (manifest.tl2f.output.low, manifest.tl2f.output.high) != PIXEL_RANGE:
        raise BundleError(f"{manifest.target}: pictures are expected in {PIXEL_RANGE}; export the target again.")
    try:
        reference = files[manifest.reference.file]
        converter = OnnxNetwork(
            files[manifest.converter.file], manifest.converter, device, threads=1
        )  # too small to share
        neutral = np.array(manifest.neutral, np.float32)[None]  # (1, N, 2)
        tl2f = open_shared(files[manifest.tl2f.file], manifest.tl2f, device, threads, neutral)
        target = Target(
            bundle=bundle.sha256,
            manifest=manifest,
            reference=reference,
            reference_type=sniff_media_type(reference),
            converter=converter,
            tl2f=tl2f,
            animator=Animator(manifest, converter.run, tl2f.run),
        )
        _warm_up(target)
    except (BundleError, UnsupportedImageError) as error:
        raise BundleError(f"{manifest.target}: {error}") from error
    return target


def _holds_bundle(folder: Path) -> bool:
    if not folder.is_dir() or folder.name.startswith(".") or folder.name in DETECTOR_NAMES:
        return False
    return (folder / MANIFEST_NAME).exists() or any(folder.glob("*.onnx"))


def _sign(folder: Path) -> Signature:
    """What changes whenever a file of the folder does; empty where the folder is going at this moment."""
    try:
        states = [(each.name, each.stat()) for each in folder.iterdir()]
    except OSError:
        return ()
    return tuple(
        sorted((name, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for name, state in states)
    )


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
