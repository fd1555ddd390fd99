"""Looks at generated pictures: the landmark detector and the recognition network, in as many processes as are cores.

Both take longer than making a picture does, and dlib lets no other thread of its process run meanwhile.
"""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.cores import count_cores
from shared.detectors import LandmarkDetector, load_detector
from shared.landmarks import Points
from shared.pixels import Image8
from trainer.evaluation.recognition import FaceRecognizer

DETECTOR = "mesh"


@dataclass(frozen=True)
class Observation:
    """What is seen in a picture: the largest face's landmarks (N, 2) in crop units, where there is one.

    `descriptor` (128,) of the face, where one was wanted: at these landmarks, or where a face was expected. `second`
    (68, 2) are the landmarks that another reader finds there, in crop units.
    """

    landmarks: Points | None
    descriptor: NDArray[np.float64] | None = None
    second: Points | None = None


class FaceAnalyzer(Protocol):
    """Looks at square pictures. Several threads may ask at once."""

    @property
    def scheme(self) -> str:
        """Of the landmarks seen."""

    def look(self, picture: Image8, expected: Points | None = None) -> Observation:
        """Look at a picture (S, S, 3); with `expected` (N, 2), crop units, tell all that Observation has."""


class LocalFaceAnalyzer:
    """Looks in this process, one picture at a time."""

    def __init__(self, detector: LandmarkDetector, recognizer: FaceRecognizer | None) -> None:
        """Without a `recognizer`, no picture gets a descriptor."""
        self.detector = detector
        self.recognizer = recognizer
        self.scheme = detector.scheme

    def look(self, picture: Image8, expected: Points | None = None) -> Observation:
        """See FaceAnalyzer."""
        size = np.float32(len(picture))
        faces = self.detector.detect(picture)
        found: Points | None = (faces[0].landmarks / size).astype(np.float32) if faces else None
        if expected is None or self.recognizer is None:
            return Observation(found)
        there = (expected if found is None else found) * size
        return Observation(found, self.recognizer.describe(picture, there), self.recognizer.read(picture, there) / size)


class PooledFaceAnalyzer:
    """Looks in other processes."""

    def __init__(self, pool: ProcessPoolExecutor, models_dir: Path, scheme: str) -> None:
        self.pool = pool
        self.models_dir = models_dir
        self.scheme = scheme

    def look(self, picture: Image8, expected: Points | None = None) -> Observation:
        """See FaceAnalyzer."""
        return self.pool.submit(_look, self.models_dir, picture, expected).result()


@contextmanager
def open_face_analyzer(models_dir: Path) -> Iterator[FaceAnalyzer]:
    """FaceAnalyzer with the embedded detector and dlib's recognition.

    Raises DetectorUnavailableError and RecognitionUnavailableError.
    """
    scheme = load_detector(DETECTOR, models_dir).scheme
    FaceRecognizer()  # what is missing is said here, and not by a process that breaks
    # Forked, the processes would inherit locks that ONNX Runtime's threads hold.
    with ProcessPoolExecutor(count_workers(), mp_context=multiprocessing.get_context("spawn")) as pool:
        yield PooledFaceAnalyzer(pool, models_dir.resolve(), scheme)


def count_workers() -> int:
    """As many as are cores; what they see does not depend on how many they are."""
    return count_cores()


def _look(models_dir: Path, picture: Image8, expected: Points | None) -> Observation:
    return _open_own(models_dir).look(picture, expected)


@cache
def _open_own(models_dir: Path) -> LocalFaceAnalyzer:
    return LocalFaceAnalyzer(load_detector(DETECTOR, models_dir, threads=1), FaceRecognizer())
