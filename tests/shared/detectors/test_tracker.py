"""Following a face from frame to frame, with the embedded detector on real faces and with painted ones."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.detectors import DetectedFace
from shared.detectors.mesh import MeshDetector
from shared.detectors.protocol import FollowingDetector
from shared.detectors.region import Region
from shared.detectors.tracker import FaceTracker, turned_over
from tests.fixtures.painted import PaintedDetector, paint_people

MODELS = Path(__file__).parents[3] / "models"


class CountingMesh(MeshDetector):
    """Counts the frames that were searched, whole and in part."""

    searched = 0
    redetected = 0

    def detect(self, image: NDArray[np.uint8]) -> list[DetectedFace]:
        self.searched += 1
        return super().detect(image)

    def redetect(self, image: NDArray[np.uint8], near: Region | None, attempt: int) -> list[DetectedFace]:
        self.redetected += 1
        return super().redetect(image, near, attempt)


@pytest.fixture(scope="module")
def mesh() -> CountingMesh:
    return CountingMesh(MODELS / "mesh", threads=1)


def show(*photos: tuple[str, int, int, int], size: tuple[int, int] = (480, 360)) -> NDArray[np.uint8]:
    """A grey frame with reference pictures: target, left, top, side."""
    frame = Image.new("RGB", size, (120, 124, 118))
    for target, left, top, side in photos:
        with Image.open(MODELS / target / "reference.jpg") as picture:
            frame.paste(picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS), (left, top))
    return np.asarray(frame)


def test_a_moving_face_is_followed_as_exactly_as_it_is_found(mesh: CountingMesh) -> None:
    tracker, mesh.searched = FaceTracker(mesh), 0
    frames = [show(("franck", 100 + 8 * step, 60 + 4 * step, 220)) for step in range(6)]
    followed = [tracker.find(frame) for frame in frames]
    assert mesh.searched == 1
    for frame, face in zip(frames, followed, strict=True):
        assert face is not None
        assert face.score >= 0.5
        (found,) = mesh.detect(frame)
        corners = found.landmarks[[36, 45]]
        error = np.linalg.norm(face.landmarks - found.landmarks, axis=1).mean()
        assert error < 0.02 * np.linalg.norm(corners[0] - corners[1])


def test_a_face_that_goes_is_lost_at_once_and_found_again_elsewhere(mesh: CountingMesh) -> None:
    tracker, mesh.searched, mesh.redetected = FaceTracker(mesh), 0, 0
    assert tracker.find(show(("franck", 20, 60, 220))) is not None
    assert tracker.find(show()) is None
    assert tracker.find(show()) is None
    again = tracker.find(show(("franck", 230, 100, 220)))
    assert again is not None
    assert again.landmarks[:, 0].mean() > 280
    assert (mesh.searched, mesh.redetected) == (1, 3)


def test_a_frame_of_another_size_is_searched_anew(mesh: CountingMesh) -> None:
    tracker, mesh.searched = FaceTracker(mesh), 0
    assert tracker.find(show(("cap", 20, 60, 220))) is not None
    assert tracker.find(show(("cap", 200, 60, 160), size=(400, 300))) is not None
    assert mesh.searched == 2


def test_the_second_face_stays_the_second_person(mesh: CountingMesh) -> None:
    """Its number counts when the video begins; later it may be the larger one."""
    tracker = FaceTracker(mesh, index=1)
    for franck, cap in ((230, 190), (210, 210), (190, 230)):
        face = tracker.find(show(("franck", 0, 60, franck), ("cap", 250, 60, cap), size=(500, 360)))
        assert face is not None
        assert face.landmarks[:, 0].mean() > 250


def test_a_detector_that_cannot_follow_is_asked_for_each_frame() -> None:
    detector = PaintedDetector()
    assert not isinstance(detector, FollowingDetector)
    tracker = FaceTracker(detector, index=1)
    for step in range(3):
        face = tracker.find(paint_people((1, 10 + step, 10, 60 - 20 * step), (2, 90 - step, 10, 40), width=160))
        assert face is not None
        assert face.landmarks[:, 0].mean() == pytest.approx(110 - step, abs=2)
    assert detector.calls == 3
    assert tracker.find(paint_people((3, 5, 5, 30))) is None  # one face, far from where it was: there is no second
    assert FaceTracker(detector, index=1).find(paint_people((3, 5, 5, 30))) is None


def test_the_mesh_sees_no_face_on_a_wall(mesh: CountingMesh) -> None:
    assert isinstance(mesh, FollowingDetector)
    assert mesh.follow(show(), Region(150, 170, 160)) is None


def test_a_small_face_is_found_again_within_a_few_frames(mesh: CountingMesh) -> None:
    tracker = FaceTracker(mesh)
    assert tracker.find(show(size=(1000, 800))) is None
    frame = show(("franck", 820, 640, 110), size=(1000, 800))
    assert any(tracker.find(frame) for _ in range(8))


def test_a_face_does_not_turn_over_between_two_frames() -> None:
    upright = Region(50, 50, 40, 0.1)
    assert turned_over(Region(50, 50, 40, 0.1 + np.pi), upright)
    assert turned_over(Region(50, 50, 40, -2.0), upright)
    assert not turned_over(Region(52, 50, 40, 0.1 + 2 * np.pi - 0.5), upright)
    assert not turned_over(None, upright)
