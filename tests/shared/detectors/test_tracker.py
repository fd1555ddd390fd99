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
from shared.detectors.tracker import FaceTracker
from tests.fixtures.painted import PaintedDetector, paint_people

MODELS = Path(__file__).parents[3] / "models"


class CountingMesh(MeshDetector):
    """Counts the frames that were searched whole."""

    searched = 0

    def detect(self, image: NDArray[np.uint8]) -> list[DetectedFace]:
        self.searched += 1
        return super().detect(image)


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
    tracker, mesh.searched = FaceTracker(mesh), 0
    assert tracker.find(show(("franck", 20, 60, 220))) is not None
    assert tracker.find(show()) is None
    assert tracker.find(show()) is None
    again = tracker.find(show(("franck", 230, 100, 220)))
    assert again is not None
    assert again.landmarks[:, 0].mean() > 280
    assert mesh.searched == 4


def test_a_frame_of_another_size_is_searched_anew(mesh: CountingMesh) -> None:
    tracker, mesh.searched = FaceTracker(mesh), 0
    assert tracker.find(show(("cap", 20, 60, 220))) is not None
    assert tracker.find(show(("cap", 200, 60, 160), size=(400, 300))) is not None
    assert mesh.searched == 2


def test_the_second_face_stays_the_second_person(mesh: CountingMesh) -> None:
    """Its number counts when the video begins; later it may be the larger one."""
    tracker = FaceTracker(mesh, index=1)
    for franck, cap in ((240, 180), (210, 210), (180, 240)):
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
