"""Steadied faces: still where the face is still, close behind where it moves."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tiny_service import make_face

from service.inference.smoothing import LANDMARKS, LONGEST_GAP, FaceSmoother, OneEuro, Response
from service.inference.synthesis import Placed
from shared.bundle import read_bundle
from shared.detectors.mesh import MeshDetector
from shared.detectors.tracker import FaceTracker
from shared.geometry import Crop, find_crop

MODELS = Path(__file__).parents[3] / "models"
CROP = Crop(200, 150, 120)


def run(smoother: FaceSmoother, faces: list[Placed], rate: float = 25, start: float = 0) -> list[Placed]:
    return [smoother.smooth(face, start + index / rate) for index, face in enumerate(faces)]


def measure_motion(points: NDArray[np.float32]) -> float:
    """Mean distance of a point from itself a frame before."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=2).mean())


def test_by_hand() -> None:
    """One step of the filter: speed, then cutoff, then weight."""
    filtering = OneEuro(Response(rest=1.0, gain=2.0, speed_cutoff=0.5))
    np.testing.assert_array_equal(filtering.smooth(np.zeros((1, 2)), 0), [[0, 0]])
    (found,) = filtering.smooth(np.array([[3.0, 4.0]]), 0.1)
    speed = 5 / 0.1 / (1 + 1 / (2 * np.pi * 0.5 * 0.1))
    weight = 1 / (1 + 1 / (2 * np.pi * (1 + (2 * speed) ** 2) * 0.1))
    np.testing.assert_allclose(found, [3 * weight, 4 * weight])


def test_a_point_that_moves_does_not_loosen_the_others() -> None:
    filtering, noise = OneEuro(LANDMARKS), np.random.default_rng(0).normal(0, 1e-3, (60, 2, 2))
    noise[:, 0, 0] += np.linspace(0, 1, 60)
    smooth = np.stack([filtering.smooth(each, 0.04) for each in noise])
    assert measure_motion(smooth[20:, 1:]) < measure_motion(noise[20:, 1:]) / 3
    assert abs(smooth[-1, 0, 0] - 1) < 0.02


def test_a_still_face_under_a_noisy_sensor_keeps_still() -> None:
    """Frame-to-frame motion of landmarks and of the crop, a real face, the real detector: at most a third."""
    manifest = read_bundle(MODELS / "cap")
    with Image.open(MODELS / "cap" / "reference.jpg") as picture:
        photo = np.asarray(picture.convert("RGB")).astype(np.float32)
    rng, tracker = np.random.default_rng(1), FaceTracker(MeshDetector(MODELS / "mesh", threads=1))
    faces = []
    for _ in range(40):
        face = tracker.find(np.clip(photo + rng.normal(0, 6, photo.shape), 0, 255).astype(np.uint8))
        assert face is not None
        crop = find_crop(face.landmarks, manifest.crop)
        faces.append(Placed(crop.to_unit(face.landmarks), crop))
    steadied = run(FaceSmoother(), faces)
    for view in (lambda face: face.points, lambda face: face.crop.from_unit(face.points)):
        raw, smooth = (np.stack([view(face) for face in each])[5:] for each in (faces, steadied))
        assert measure_motion(raw) > 1e-4
        assert measure_motion(smooth) < measure_motion(raw) / 3


@pytest.mark.parametrize("rate", [10, 25, 60])
def test_a_moving_mouth_is_followed_closely(rate: int) -> None:
    """Speech at three openings a second, a twentieth of the crop wide: it stays as wide, and is late by little."""
    seconds = np.arange(2 * rate) / rate
    opening = 0.025 * (1 - np.cos(2 * np.pi * 3 * seconds))
    faces = []
    for value in opening:
        points = make_face()
        points[65:68, 1] += value
        faces.append(Placed(points, CROP))
    shown = np.array([face.points[66, 1] - make_face()[66, 1] for face in run(FaceSmoother(), faces, rate)])
    lags = np.arange(0, 0.1, 0.001)
    errors = [np.abs(shown - np.interp(seconds - lag, seconds, opening))[rate // 2 :].mean() for lag in lags]
    assert lags[int(np.argmin(errors))] <= 0.03
    assert np.ptp(shown[rate // 2 :]) > 0.8 * np.ptp(opening)


def test_a_moving_head_keeps_its_crop() -> None:
    """Half a crop a second: the crop is behind by less than a fiftieth of its side."""
    faces = [Placed(make_face(), Crop(200 + 60 * index / 25, 150, 120)) for index in range(50)]
    last = run(FaceSmoother(), faces)[-1]
    assert faces[-1].crop.x - last.crop.x < 120 / 50
    assert (last.crop.y, last.crop.side) == pytest.approx((150, 120))


@pytest.mark.parametrize("pause", [LONGEST_GAP + 0.01, 0.0, -1.0])
def test_a_gap_or_a_clock_that_does_not_run_begins_anew(pause: float) -> None:
    smoother = FaceSmoother()
    run(smoother, [Placed(make_face(), CROP)] * 5, start=10)
    elsewhere = Placed(make_face() + np.float32(0.1), Crop(50, 60, 70))
    found = smoother.smooth(elsewhere, 10 + 4 / 25 + pause)
    np.testing.assert_array_equal(found.points, elsewhere.points)
    assert (found.crop.x, found.crop.y, found.crop.side) == pytest.approx((50, 60, 70))


def test_the_first_face_is_taken_as_it_is() -> None:
    found = FaceSmoother().smooth(Placed(make_face(), CROP), 1e9)
    np.testing.assert_array_equal(found.points, make_face())
    assert (found.crop.x, found.crop.y, found.crop.side) == pytest.approx((200, 150, 120))
