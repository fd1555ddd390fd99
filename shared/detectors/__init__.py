"""Landmark detectors: `mesh` is embedded (ONNX), `fan` needs the extra of that name, `hourglass` is our own."""

from pathlib import Path

from shared.detectors.protocol import DetectedFace, LandmarkDetector
from shared.errors import DetectorUnavailableError

__all__ = ["DETECTOR_NAMES", "DetectedFace", "LandmarkDetector", "load_detector"]

DETECTOR_NAMES = ("mesh", "fan", "hourglass")


def load_detector(name: str, models_dir: Path, threads: int = 2, device: str = "cpu") -> LandmarkDetector:
    """Load the detector called `name`; those of `mesh` and `hourglass` are in folders of `models_dir`.

    `threads` bounds the CPU threads inside one call of `hourglass`; `mesh` takes one. `device` is "cpu", or "cuda" for
    a GPU that is there. Only the detector named is imported. Raises `DetectorUnavailableError`.
    """
    if name == "mesh":
        from shared.detectors.mesh import MeshDetector

        return MeshDetector(models_dir / "mesh", device=device)
    if name == "fan":
        from shared.detectors.fan import FanDetector

        return FanDetector(device)
    if name == "hourglass":
        from shared.detectors.hourglass import HourglassDetector

        return HourglassDetector(models_dir, threads, device)
    raise DetectorUnavailableError(f"no landmark detector is called {name!r}; there are: {', '.join(DETECTOR_NAMES)}")
