"""The face-alignment detector against a stand-in for the package: same names and shapes, no downloads."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.detectors import load_detector
from shared.errors import DetectorUnavailableError


def install_package(monkeypatch: pytest.MonkeyPatch, alignment: Any) -> None:
    """Put a module in the place of face_alignment 1.5.0."""
    package = ModuleType("face_alignment")
    package.LandmarksType = SimpleNamespace(TWO_D=1)
    package.FaceAlignment = alignment
    monkeypatch.setitem(sys.modules, "face_alignment", package)


class BoxAlignment:
    """Finds the boxes it is told, and puts all 68 points at a box's first corner."""

    boxes: tuple[NDArray[np.float32], ...] = ()

    def __init__(self, landmarks_type: int, device: str, compile: bool) -> None:
        assert (landmarks_type, device, compile) == (1, "cpu", False)
        self.face_detector = SimpleNamespace(detect_from_image=lambda image: list(self.boxes))

    def get_landmarks_from_image(
        self, image: NDArray[np.uint8], detected_faces: list[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        return [np.tile(box[:2], (68, 1)) for box in detected_faces]


def test_faces_come_largest_first_with_pixel_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = (np.array([3, 4, 13, 14, 0.8], np.float32), np.array([20, 10, 60, 50, 1.2], np.float32))
    monkeypatch.setattr(BoxAlignment, "boxes", boxes)
    install_package(monkeypatch, BoxAlignment)
    detector = load_detector("fan", Path("unused"))
    large, small = detector.detect(np.zeros((64, 64, 3), np.uint8))
    assert large.landmarks.shape == (68, 2)
    assert large.landmarks.dtype == np.float32
    np.testing.assert_array_equal(large.landmarks[0], [20.5, 10.5])
    np.testing.assert_array_equal(small.landmarks[0], [3.5, 4.5])
    assert [large.score, small.score] == pytest.approx([1.0, 0.8])


def test_no_face_is_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    install_package(monkeypatch, BoxAlignment)
    assert load_detector("fan", Path("unused")).detect(np.zeros((64, 64, 3), np.uint8)) == []


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(DetectorUnavailableError, match="extra `fan`"):
        load_detector("fan", Path("unused"))


def test_weights_out_of_reach_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise URLError("no route to host")

    install_package(monkeypatch, fail)
    with pytest.raises(DetectorUnavailableError, match=r"could not load its weights.*no route to host"):
        load_detector("fan", Path("unused"))
