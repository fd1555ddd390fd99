"""Our own detector on real faces: the reference pictures of the committed bundles, and pictures made from them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.detectors import DetectedFace, load_detector
from shared.detectors.hourglass import HourglassDetector, find_region, leave_crop, place_crop
from shared.detectors.manifest import read_manifest
from shared.detectors.mesh import MeshDetector
from shared.detectors.protocol import FollowingDetector
from shared.detectors.region import Region
from shared.errors import DetectorUnavailableError, LandmarksError
from shared.geometry import CropRule, find_crop
from tests.fixtures.photos import measure_error, place_photo

MODELS = Path(__file__).parents[3] / "models"
EYE_CORNERS = (36, 39, 42, 45)


@pytest.fixture(scope="module")
def detector() -> HourglassDetector:
    return HourglassDetector(MODELS, threads=1)


@pytest.fixture(scope="module")
def face(detector: HourglassDetector, photo: Image.Image) -> DetectedFace:
    faces = detector.detect(np.asarray(photo))
    assert len(faces) == 1
    return faces[0]


def test_points_are_those_that_the_mesh_finds(photo: Image.Image, face: DetectedFace) -> None:
    (expected,) = MeshDetector(MODELS / "mesh", threads=1).detect(np.asarray(photo))
    assert face.landmarks.shape == (68, 2)
    assert face.landmarks.dtype == np.float32
    assert 0.5 <= face.score <= 1
    assert measure_error(face.landmarks, expected.landmarks[:68]) < 0.05


@pytest.mark.parametrize("degrees", [-90, -30, 30, 180])
def test_a_tilted_head(detector: HourglassDetector, photo: Image.Image, face: DetectedFace, degrees: int) -> None:
    tilted = place_photo(photo, (400, 400), (72, 72), 256).rotate(degrees, Image.Resampling.BICUBIC)
    angle = np.deg2rad(-degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    expected = ((face.landmarks * 256 / photo.width - 128) @ turn + 200).astype(np.float32)
    found = detector.detect(np.asarray(tilted))
    assert len(found) == 1
    assert measure_error(found[0].landmarks, expected) < 0.06


@pytest.mark.parametrize(
    ("canvas", "at", "side"),
    [
        ((2000, 1400), (1500, 300), 160),  # a small face in a large picture
        ((3000, 2600), (200, 0), 2600),  # a large face in a large picture
        ((256, 1200), (0, 800), 256),
    ],
)
def test_any_size_and_place(
    detector: HourglassDetector,
    photo: Image.Image,
    face: DetectedFace,
    canvas: tuple[int, int],
    at: tuple[int, int],
    side: int,
) -> None:
    found = detector.detect(np.asarray(place_photo(photo, canvas, at, side)))
    expected = face.landmarks * np.float32(side / photo.width) + np.array(at, np.float32)
    assert len(found) == 1
    assert measure_error(found[0].landmarks, expected) < 0.06


def test_two_faces_come_largest_first(detector: HourglassDetector, photo: Image.Image, face: DetectedFace) -> None:
    picture = place_photo(photo, (700, 360), (20, 60), 220)
    picture.paste(photo.resize((320, 320), Image.Resampling.LANCZOS), (350, 20))
    found = detector.detect(np.asarray(picture))
    assert len(found) == 2
    large = face.landmarks * np.float32(320 / photo.width) + np.array([350, 20], np.float32)
    small = face.landmarks * np.float32(220 / photo.width) + np.array([20, 60], np.float32)
    assert measure_error(found[0].landmarks, large) < 0.05
    assert measure_error(found[1].landmarks, small) < 0.05


def test_a_face_is_followed_while_it_is_there(
    detector: HourglassDetector, photo: Image.Image, face: DetectedFace
) -> None:
    assert isinstance(detector, FollowingDetector)
    assert face.region is not None
    moved = np.roll(np.asarray(photo), (4, 6), axis=(0, 1))
    found = detector.follow(moved, face.region)
    assert found is not None
    assert measure_error(found.landmarks - np.array([6, 4], np.float32), face.landmarks) < 0.05
    assert detector.follow(np.full_like(moved, 128), face.region) is None


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (3, 500), (480, 640)])
def test_pictures_without_a_face(detector: HourglassDetector, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert detector.detect(noise) == []
    assert detector.detect(np.full_like(noise, 128)) == []


def test_what_is_no_rgb_picture_is_refused(detector: HourglassDetector) -> None:
    with pytest.raises(ValueError, match=r"expected a uint8 RGB picture \(H, W, 3\)"):
        detector.detect(np.zeros((8, 8, 4), np.uint8))


def test_the_crop_of_an_upright_face_is_the_rules_own(face: DetectedFace) -> None:
    rule = read_manifest(MODELS / "hourglass").crop
    level = face.landmarks.copy()
    level[list(EYE_CORNERS), 1] = 100.0
    crop, region = find_crop(level, rule), find_region(level, rule, EYE_CORNERS)
    assert (region.x, region.y, region.side, region.angle) == pytest.approx((crop.x, crop.y, crop.side, 0), abs=1e-3)


def test_a_turned_face_gives_the_same_crop_turned(face: DetectedFace) -> None:
    rule = read_manifest(MODELS / "hourglass").crop
    upright = find_region(face.landmarks, rule, EYE_CORNERS)
    turn = Region(50, 80, 1.0, np.deg2rad(70))
    turned = find_region(turn.to_picture(face.landmarks), rule, EYE_CORNERS)
    middle = turn.to_picture(np.array([upright.x, upright.y], np.float32))
    assert (turned.x, turned.y) == pytest.approx(tuple(middle), abs=1e-2)
    assert turned.side == pytest.approx(upright.side, rel=1e-4)
    assert turned.angle == pytest.approx(upright.angle + np.deg2rad(70), abs=1e-4)
    with pytest.raises(LandmarksError, match="one spot"):
        find_region(
            np.zeros((68, 2), np.float32),
            CropRule(centre_points=(0,), scale_points=(0, 1), factor=1, drop=0),
            EYE_CORNERS,
        )


def test_crop_and_blazefaces_square_lie_along_the_faces_own_axis() -> None:
    region = Region(30, 40, 100, np.pi / 2)  # what is down for the face is left in the picture
    crop = place_crop(region)
    assert (crop.x, crop.y, crop.side, crop.angle) == pytest.approx((33, 40, 80, np.pi / 2), abs=1e-4)
    square = leave_crop(region)
    assert (square.x, square.y, square.side, square.angle) == pytest.approx((27, 40, 106, np.pi / 2), abs=1e-4)


def test_load_detector_gives_the_hourglass_with_the_scheme_it_learned() -> None:
    loaded = load_detector("hourglass", MODELS)
    assert (loaded.name, loaded.scheme) == ("hourglass", read_manifest(MODELS / "hourglass").scheme)


def test_missing_networks_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DetectorUnavailableError, match=r"no trained detector in .*make train-detector"):
        load_detector("hourglass", tmp_path)
    shutil.copytree(MODELS / "hourglass", tmp_path / "hourglass")
    with pytest.raises(DetectorUnavailableError, match=r"face_detection\.onnx is not in .*convert\.mesh"):
        load_detector("hourglass", tmp_path)
