"""The embedded detector on real faces: the reference pictures of the committed bundles, and pictures made from them."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.detectors import DetectedFace, load_detector
from shared.detectors.blazeface import FaceCandidate
from shared.detectors.mesh import MESH_TO_IBUG68, MeshDetector, reduce_mesh
from shared.detectors.region import Picture, Region
from shared.errors import DetectorUnavailableError
from shared.landmarks import IBUG70, flip_points
from tests.fixtures.photos import measure_error, place_photo

MODELS = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="module")
def detector() -> MeshDetector:
    return MeshDetector(MODELS / "mesh", threads=1)


@pytest.fixture(scope="module")
def face(detector: MeshDetector, photo: Image.Image) -> DetectedFace:
    faces = detector.detect(np.asarray(photo))
    assert len(faces) == 1
    return faces[0]


def test_points_lie_where_a_face_has_them(face: DetectedFace) -> None:
    points = face.landmarks
    assert points.shape == (70, 2)
    assert points.dtype == np.float32
    assert 0.5 <= face.score <= 1
    x, y = points.T
    assert (np.diff(x[:17]) > 0).sum() >= 12  # the jaw runs from left to right,
    assert y[8] == y.max()  # lowest at the chin
    assert (np.diff(x[17:27]) > 0).all()
    assert (np.diff(y[27:31]) > 0).all()
    assert (np.diff(x[31:36]) > 0).all()
    assert x[36] < x[39] < x[27] < x[42] < x[45]
    for brow, eye in ((slice(17, 22), slice(36, 42)), (slice(22, 27), slice(42, 48))):
        assert y[brow].mean() < y[eye].min()
    assert y[36:48].max() < y[30] < y[33] < y[51] < y[57] < y[8]
    assert (y[[37, 38, 43, 44]] < y[[41, 40, 47, 46]]).all()  # upper lids over lower lids
    for pupil, lids in ((68, slice(36, 42)), (69, slice(42, 48))):  # each between its lids
        assert x[lids].min() < x[pupil] < x[lids].max()
        assert y[lids].min() - 2 < y[pupil] < y[lids].max() + 2
    assert x[48] < x[60] < x[62] < x[64] < x[54]
    assert (y[[50, 51, 52]] < y[[61, 62, 63]]).all()
    assert (y[[65, 66, 67]] < y[[56, 57, 58]]).all()


def test_a_mirrored_face_gives_mirrored_points(detector: MeshDetector, photo: Image.Image, face: DetectedFace) -> None:
    mirrored = detector.detect(np.ascontiguousarray(np.asarray(photo)[:, ::-1]))[0].landmarks
    expected = flip_points(face.landmarks, IBUG70, photo.width)
    assert measure_error(mirrored, expected) < 0.03
    assert np.abs(mirrored[68:] - expected[68:]).max() < 0.01 * photo.width


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_a_turned_picture(detector: MeshDetector, photo: Image.Image, face: DetectedFace, quarter_turns: int) -> None:
    found = detector.detect(np.ascontiguousarray(np.rot90(np.asarray(photo), quarter_turns)))
    expected = face.landmarks
    for _ in range(quarter_turns):  # counter-clockwise: (x, y) goes to (y, W - x)
        expected = np.stack([expected[:, 1], photo.width - expected[:, 0]], axis=1)
    assert len(found) == 1
    assert measure_error(found[0].landmarks, expected) < 0.04


@pytest.mark.parametrize("degrees", [-30, 30])
def test_a_tilted_head(detector: MeshDetector, photo: Image.Image, face: DetectedFace, degrees: int) -> None:
    tilted = place_photo(photo, (400, 400), (72, 72), 256).rotate(degrees, Image.Resampling.BICUBIC)
    angle = np.deg2rad(-degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    expected = ((face.landmarks * 256 / photo.width - 128) @ turn + 200).astype(np.float32)
    found = detector.detect(np.asarray(tilted))
    assert len(found) == 1
    assert measure_error(found[0].landmarks, expected) < 0.04


@pytest.mark.parametrize(
    ("canvas", "at", "side"),
    [
        ((64, 64), (0, 0), 64),
        ((2000, 1400), (1500, 300), 160),  # a small face in a large picture
        ((3000, 2600), (200, 0), 2600),  # a large face in a large picture
        ((256, 1200), (0, 800), 256),
    ],
)
def test_any_size_and_place(
    detector: MeshDetector,
    photo: Image.Image,
    face: DetectedFace,
    canvas: tuple[int, int],
    at: tuple[int, int],
    side: int,
) -> None:
    found = detector.detect(np.asarray(place_photo(photo, canvas, at, side)))
    expected = face.landmarks * np.float32(side / photo.width) + np.array(at, np.float32)
    assert len(found) == 1
    assert measure_error(found[0].landmarks, expected) < 0.05


def test_points_follow_a_shift_of_few_pixels(detector: MeshDetector, photo: Image.Image) -> None:
    first, second = (
        detector.detect(np.asarray(place_photo(photo, (500, 400), (100 + move, 80 + move), 256)))[0].landmarks
        for move in (0, 7)
    )
    assert measure_error(second - np.float32(7), first) < 0.01


def test_two_faces_come_largest_first(detector: MeshDetector, photo: Image.Image, face: DetectedFace) -> None:
    picture = place_photo(photo, (700, 360), (20, 60), 220)
    picture.paste(photo.resize((320, 320), Image.Resampling.LANCZOS), (350, 20))
    found = detector.detect(np.asarray(picture))
    assert len(found) == 2
    large = face.landmarks * np.float32(320 / photo.width) + np.array([350, 20], np.float32)
    small = face.landmarks * np.float32(220 / photo.width) + np.array([20, 60], np.float32)
    assert measure_error(found[0].landmarks, large) < 0.04
    assert measure_error(found[1].landmarks, small) < 0.04


def test_a_face_that_the_picture_cuts(detector: MeshDetector, photo: Image.Image, face: DetectedFace) -> None:
    left = int(face.landmarks[36, 0]) - 4  # just outside the eye; the ear and half a cheek are gone
    found = detector.detect(np.ascontiguousarray(np.asarray(photo)[:, left:]))
    assert len(found) == 1
    assert measure_error(found[0].landmarks + np.array([left, 0], np.float32), face.landmarks) < 0.06


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (3, 500), (480, 640)])
def test_pictures_without_a_face(detector: MeshDetector, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert detector.detect(noise) == []
    assert detector.detect(np.full_like(noise, 128)) == []


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((0, 8, 3), np.uint8)]
)
def test_what_is_no_rgb_picture_is_refused(detector: MeshDetector, image: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"expected a uint8 RGB picture \(H, W, 3\)"):
        detector.detect(image)


def test_the_table_has_68_rows_and_averages_pairs() -> None:
    assert len(MESH_TO_IBUG68) == 68
    assert len(set(MESH_TO_IBUG68)) == 68
    points = np.stack([np.arange(468), np.zeros(468)], axis=1).astype(np.float32)
    reduced = reduce_mesh(points)
    assert reduced[0, 0] == 127
    assert reduced[2, 0] == (93 + 132) / 2


class AmbiguousFace(MeshDetector):
    """Has BlazeFace's candidates and scores made up: the first candidate passes for a face upside down."""

    candidates: tuple[FaceCandidate, ...] = ()

    def __init__(self) -> None:
        super().__init__(MODELS / "mesh", threads=1)
        self.wrong, self.right = (each.region for each in self.candidates)
        self.faces.find_candidates = self.list_candidates
        self.faces.score_regions = self.score

    def list_candidates(self, picture: Picture, views: list[Region]) -> list[FaceCandidate]:
        return list(self.candidates)

    def fit_mesh(self, picture: Picture, region: Region) -> tuple[NDArray[np.float32], float] | None:
        return region.to_picture(np.random.default_rng(0).uniform(0.2, 0.8, (468, 2)).astype(np.float32)), 40.0

    def score(self, picture: Picture, *regions: Region) -> list[float]:
        first = np.hypot(regions[0].x - self.wrong.x, regions[0].y - self.wrong.y) < self.wrong.side / 4
        return [0.0, 0.78] if first else [0.92, 0.0]


def test_a_face_upside_down_comes_after_every_upright_one() -> None:
    AmbiguousFace.candidates = (FaceCandidate(Region(70, 70, 60), 0.9), FaceCandidate(Region(180, 170, 90), 0.8))
    picture = np.zeros((256, 256, 3), np.uint8)
    found = AmbiguousFace().find_meshes(picture)
    assert [face.score for face in found] == [0.92]  # the second candidate alone
    assert found[0].points[:, 0].mean() > 130


def test_following_asks_blazeface_only_where_told_to(
    detector: MeshDetector, photo: Image.Image, face: DetectedFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    score_regions = detector.faces.score_regions
    monkeypatch.setattr(
        detector.faces, "score_regions", lambda *given: (asked.append(len(given)), score_regions(*given))[1]
    )
    picture = np.asarray(photo)
    assert face.region is not None
    quick = detector.follow(picture, face.region, check=False)
    assert not asked
    checked = detector.follow(picture, face.region)
    assert len(asked) == 1
    assert quick is not None
    assert checked is not None
    np.testing.assert_array_equal(quick.landmarks, checked.landmarks)
    assert measure_error(quick.landmarks, face.landmarks) < 0.01


def test_load_detector_gives_the_mesh() -> None:
    loaded = load_detector("mesh", MODELS)
    assert (loaded.name, loaded.scheme) == ("mesh", "ibug70")


def test_unknown_names_and_missing_networks_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DetectorUnavailableError, match=r"'mash'; there are: mesh, fan"):
        load_detector("mash", MODELS)
    with pytest.raises(DetectorUnavailableError, match=r"face_detection\.onnx is not in .*convert\.mesh"):
        load_detector("mesh", tmp_path)
