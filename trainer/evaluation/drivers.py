"""What every system is shown: the chosen test frames of each driver, and the faces of the still pictures.

Figures are of test frames alone. What tells a driver's neutral shape is never among them.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from shared.detectors import LandmarkDetector
from shared.expression import GAZE, measure_expression
from shared.landmarks import Points, Scheme, convert_scheme, get_scheme
from shared.neutral import find_calm, find_neutral
from shared.pixels import Image8
from trainer.data.dataset import FrameDataset
from trainer.errors import DatasetError
from trainer.evaluation.face_analyzer import FaceAnalyzer, count_workers
from trainer.evaluation.intervals import BLOCK_SECONDS, Timeline

MOST_FRAMES = 120
"""Of each driver, unless told: spread evenly over its test frames."""

KEPT = ("mouth", "mouth_width", "right_eye", "left_eye", "brows", "yaw", "pitch", "roll", *GAZE)
"""What of an expression is to arrive: the measures of shared/expression.py, the two brows' heights as their mean.

Gaze where there are pupils and open eyes."""

SHUT = 0.06
"""The gap between lids, in distances between the eyes, below which nobody can tell where an eye looks: half open."""

Measures = Mapping[str, NDArray[np.float64]]

# A block of a second counts as moving where the measure's 5th and 95th percentile lie so many detector noises apart;
# of noise alone they would lie 3.3 apart.
MOVING = 5.0


@dataclass(frozen=True)
class Clip:
    """A driver: `n` of its test frames, in order of time.

    `crops` (n, S, S, 3); `points` (n, N, 2) in pixels of the frames, in the dataset's `scheme`; `units` the same in
    crop units, in the detector's scheme; `rows` (n,) in the dataset. `neutral` is the driver's neutral shape (N, 2) in
    crop units, `calm` the picture nearest to it, both from frames that are not among these. `moving` says of each
    measure in which frames it moves (n,).
    """

    name: str
    display_name: str
    scheme: Scheme
    crops: Image8
    points: Points
    units: Points
    rows: NDArray[np.int64]
    timeline: Timeline
    neutral: Points
    calm: Image8
    measures: Measures
    moving: Mapping[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Still:
    """One face of a picture of people never seen in training: `face` counts from the largest, 0 first.

    `landmarks` (N, 2) in pixels of the picture.
    """

    name: str
    picture: Image8
    face: int
    landmarks: Points
    scheme: Scheme


def open_clip(dataset: FrameDataset, analyzer: FaceAnalyzer, every: int | None) -> Clip:
    """Choose a driver's frames: one test frame in `every`, or so many that MOST_FRAMES at most remain.

    Where the dataset has no training frames its first half tells the neutral shape, and only the second half counts.
    Raises DatasetError where nothing is left.
    """
    test, train = dataset.indices("test"), dataset.indices("train")
    if not len(train):
        train, test = test[: len(test) // 2], test[len(test) // 2 :]
    if not len(test):
        raise DatasetError(f"The dataset '{dataset.manifest.target}' has no test frames to be measured on.")
    stride = every or -(-len(test) // MOST_FRAMES)
    rows = test[::stride]
    own, stretches = dataset.arrays["landmarks"], dataset.arrays["source"].astype(np.int64)
    seen = get_scheme(analyzer.scheme)
    units = convert_scheme(own, dataset.scheme, seen)
    crops = np.stack([np.asarray(dataset.all_crops[row]) for row in rows])
    rate = next((source.fps for source in dataset.manifest.sources if source.fps is not None), None)
    second = 1 if rate is None else max(1, round(BLOCK_SECONDS * rate / dataset.manifest.every))
    kept = measure_kept(own[:1], dataset.scheme)  # pupils that were never seen are not measured
    noise = measure_noise(crops, units[rows], analyzer)
    moving = find_moving(measure_kept(units[test], seen), stretches[test], second, noise)
    return Clip(
        name=dataset.manifest.target,
        display_name=dataset.manifest.display_name,
        scheme=dataset.scheme,
        crops=crops,
        points=dataset.arrays["points"][rows],
        units=units[rows],
        rows=rows,
        timeline=Timeline(stretches[rows], max(1, round(second / stride))),
        neutral=find_neutral(own[train], dataset.scheme),
        calm=np.asarray(dataset.all_crops[train[find_calm(own[train], dataset.scheme)]]),
        measures={name: each for name, each in measure_kept(units[rows], seen).items() if name in kept},
        moving={name: flags[::stride] for name, flags in moving.items()},
    )


def measure_kept(points: Points, scheme: Scheme) -> Measures:
    """Each of `KEPT` for landmarks (..., N, 2) in any unit."""
    measured = {name: value.astype(np.float64) for name, value in measure_expression(points, scheme).items()}
    measured["brows"] = (measured["right_brow"] + measured["left_brow"]) / 2
    shut = np.minimum(measured["right_eye"], measured["left_eye"]) < SHUT
    for name in GAZE if scheme.pupils is not None else ():
        measured[name] = np.where(shut, np.nan, measured[name])
    return {name: measured[name] for name in KEPT if name in measured}


def measure_noise(crops: Image8, units: Points, analyzer: FaceAnalyzer) -> Mapping[str, float]:
    """The detector's noise in each measure: how differently it sees a frame and that frame's crop.

    The standard deviation of a normal distribution with the differences' median absolute deviation.
    """
    with ThreadPoolExecutor(count_workers()) as threads:
        found = [observation.landmarks for observation in threads.map(analyzer.look, crops)]
    there = np.array([each is not None for each in found])
    if not there.any():
        return dict.fromkeys(KEPT, 0.0)
    scheme = get_scheme(analyzer.scheme)
    seen = measure_kept(np.stack([each for each in found if each is not None]), scheme)
    known = measure_kept(units[there], scheme)
    differences = {name: seen[name] - known[name] for name in seen}
    told = {name: each[np.isfinite(each)] for name, each in differences.items()}
    return {
        name: 1.4826 * float(np.median(np.abs(each - np.median(each)))) if len(each) else 0.0
        for name, each in told.items()
    }


def find_moving(
    measures: Measures, stretch: NDArray[np.int64], second: int, noise: Mapping[str, float]
) -> Mapping[str, NDArray[np.bool_]]:
    """In which frames (n,) each measure moves: all those of a block of `second` frames in which it spreads enough."""
    moving = {name: np.zeros(len(stretch), bool) for name in measures}
    for number in np.unique(stretch):
        members = np.flatnonzero(stretch == number)
        for start in range(0, len(members), second):
            block = members[start : start + second]
            for name, values in measures.items():
                low, high = np.percentile(values[block], (5, 95))
                moving[name][block] = high - low > MOVING * noise[name]
    return moving


def find_stills(folder: Path, detector: LandmarkDetector) -> list[Still]:
    """Every face of the still pictures in `folder`. Raises DatasetError where there are none."""
    stills = []
    scheme = get_scheme(detector.scheme)
    for path in sorted(folder.glob("*")):
        with Image.open(path) as picture:
            image = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
        stills += [
            Still(path.stem, image, number, face.landmarks, scheme)
            for number, face in enumerate(detector.detect(image))
        ]
    if not stills:
        raise DatasetError(f"There are no still faces in {folder}. `make data` fetches them.")
    return stills
