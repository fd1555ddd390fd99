"""Faces pasted into pictures: where they land, what stays out, and how they match, on the targets' real pictures."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from tiny_service import make_face

from shared import pasting
from shared.bundle import read_bundle
from shared.detectors.mesh import MeshDetector
from shared.errors import LandmarksError
from shared.face_colours import GRID
from shared.geometry import Crop, cut_crop, find_crop, turn_picture
from shared.landmarks import IBUG68, Points
from shared.neutral import turn
from shared.pasting import draw_mask, paste_face, paste_into, sample_colours
from shared.patch import Patch, fill_hull, find_outline, fit_patch
from shared.pixels import Image8

MODELS = Path(__file__).parents[2] / "models"
MOST_AT_THE_EDGE = 6.0  # grey levels
SECTORS = 16
WHITE = (1.0, 1.0, 1.0)
FACE: Points = make_face()  # ibug68, within the unit square


@pytest.fixture(scope="module")
def people() -> dict[str, tuple[Image8, Points]]:
    """The targets' pictures, and their landmarks in pixels."""
    detector = MeshDetector(MODELS / "mesh", threads=1)
    found = {}
    for name in ("cap", "franck"):
        with Image.open(MODELS / name / "reference.jpg") as picture:
            image = np.asarray(picture.convert("RGB"))
        found[name] = image, detector.detect(image)[0].landmarks
    return found


def cut_patch(driver: tuple[Image8, Points], target: tuple[Image8, Points], name: str) -> tuple[Patch, Crop]:
    """The target's own picture as a patch over the driver, both cut as the target's bundle says."""
    rule = read_bundle(MODELS / name).crop
    crop, own = find_crop(driver[1], rule), find_crop(target[1], rule)
    return Patch(cut_crop(target[0], own, 256), own.to_unit(target[1]), crop.to_unit(driver[1])), crop


def read_mask(image: Image8, patch: Patch, crop: Crop) -> NDArray[np.float32]:
    """Where the patch shows in the crop, (256, 256, 1), 0 to 1."""
    mask = draw_mask(fit_patch(patch), sample_colours(image, crop))
    return np.asarray(mask, np.float32)[..., None] / 255


def measure_edge(image: Image8, pasted: Image8, patch: Patch, crop: Crop) -> float:
    """Mean difference in grey levels between patch and picture along the seam, by sector and channel.

    The seam is where the mask goes from a third to nine tenths; the patch's share of the blend is taken out again.
    """
    alpha = read_mask(image, patch, crop)
    change = cut_crop(pasted, crop, 256).astype(np.float32) - cut_crop(image, crop, 256)
    y, x = np.mgrid[:256, :256] - np.argwhere(alpha[..., 0] > 0.5).mean(axis=0)[:, None, None]
    sector = ((np.arctan2(y, x) / (2 * np.pi) + 0.5) * SECTORS).astype(int) % SECTORS
    seam = (alpha[..., 0] > 1 / 3) & (alpha[..., 0] < 0.9)
    difference = change[seam] / alpha[seam]
    means = [np.abs(difference[sector[seam] == each].mean(axis=0)).mean() for each in range(SECTORS)]
    return float(np.mean(means))


def light(image: Image8, left: float, right: float, tint: tuple[float, float, float]) -> Image8:
    """The picture under another light: these shares of it from left to right, tinted."""
    shares = np.linspace(left, right, image.shape[1])[:, None] * np.array(tint)
    return np.clip(image * shares, 0, 255).astype(np.uint8)


def tilt(image: Image8, points: Points, angle: float) -> tuple[Image8, Points]:
    """A square picture and its landmarks, turned about its middle."""
    middle = np.float32(image.shape[0] / 2)
    return turn_picture(image, angle, (0.5, 0.5)), turn(points - middle, angle) + middle


def blend_unmatched(image: Image8, patch: Patch, crop: Crop) -> Image8:
    """The patch in its crop in its own colours, for comparison; the picture elsewhere is left out."""
    under = cut_crop(image, crop, 256).astype(np.float32)
    picture = fit_patch(patch).picture
    return (under + (picture - under) * read_mask(image, patch, crop)).astype(np.uint8)


@pytest.mark.parametrize(("driver", "target"), [("cap", "franck"), ("franck", "cap")])
@pytest.mark.parametrize("change", ["as it is", "dark", "from the side", "blue", "tilted"])
def test_a_real_face_matches_a_real_picture_along_the_edge(
    people: dict[str, tuple[Image8, Points]], driver: str, target: str, change: str
) -> None:
    image, points = people[driver]
    face = people[target]
    if change == "tilted":  # the target's picture is tilted as the driver's head is
        (image, points), face = tilt(image, points, 0.4), tilt(*face, 0.4)
    elif change != "as it is":
        lights = {"dark": (0.5, 0.5, WHITE), "from the side": (0.5, 1, WHITE), "blue": (0.9, 0.9, (0.7, 0.8, 1))}
        image = light(image, *lights[change])
    patch, crop = cut_patch((image, points), face, target)
    pasted = paste_face(image, patch, crop)
    assert measure_edge(image, pasted, patch, crop) <= MOST_AT_THE_EDGE
    whole = Crop(128, 128, 256)
    unmatched = blend_unmatched(image, patch, crop)
    assert measure_edge(cut_crop(image, crop, 256), unmatched, patch, whole) > 2 * MOST_AT_THE_EDGE


def test_hair_ears_and_background_stay_out(people: dict[str, tuple[Image8, Points]]) -> None:
    """All that lies outside the target's outline is exchanged, and nothing changes."""
    patch, crop = cut_patch(people["cap"], people["franck"], "franck")
    fitted = fit_patch(patch)
    mask = np.asarray(draw_mask(fitted, sample_colours(people["cap"][0], crop)))
    for x, y in np.clip(fitted.points[:17] * 256, 0, 255).astype(int):
        assert mask[y, x] == 0
    outside = (
        fill_hull(find_outline(patch.points), 256).filter(ImageFilter.MaxFilter(3)).point(lambda level: 255 - level)
    )
    painted = np.where(np.asarray(outside)[..., None] > 0, np.uint8([255, 0, 255]), patch.picture).astype(np.uint8)
    clean = paste_face(people["cap"][0], patch, crop)
    pasted = paste_face(people["cap"][0], Patch(painted, patch.points, patch.covered), crop)
    # Grid cells at the outline mix what is on both sides of it.
    change = np.abs(pasted.astype(int) - clean)
    assert change.max() <= 8
    assert change.mean() < 0.05


def make_patch(picture: Image8, offset: float = 0.0) -> Patch:
    return Patch(picture, FACE + np.float32(offset), FACE)


def test_pasting_what_was_cut_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 255, (8, 10, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    crop = Crop(50, 40, 48)
    pasted = paste_face(image, make_patch(cut_crop(image, crop, 48)), crop)
    assert np.abs(pasted.astype(int) - image).max() <= 3


@pytest.mark.parametrize("size", [32, 48, 192])  # enlarged, as it is, shrunk
def test_a_face_lands_where_it_was_cut_and_nowhere_else(size: int) -> None:
    """A dark spot on the face, where the picture has none."""
    image = np.full((100, 120, 3), 150, np.uint8)
    crop = Crop(60, 50, 48)
    picture = np.full((size, size, 3), 150, np.uint8)
    spot = slice(round(size * 15 / 32), round(size * 17 / 32))
    picture[spot, spot] = 60
    pasted = paste_face(image, make_patch(picture), crop)
    mass = 150 - np.minimum(pasted[..., 0], 148).astype(float) - 2
    centre = [(mass.sum(axis=axis) @ (np.arange(mass.shape[1 - axis]) + 0.5)) / mass.sum() for axis in (0, 1)]
    assert centre == pytest.approx([60, 50], abs=0.3)
    left, top, right, bottom = (round(edge) for edge in crop.box)
    outside = pasted.copy()
    outside[top:bottom, left:right] = 150
    assert (outside == 150).all()
    assert (image == 150).all()  # a copy was made


def test_a_face_shows_inside_both_outlines_alone() -> None:
    def where(offset: float) -> NDArray[np.bool_]:
        grey = np.full((64, 64, 3), 90, np.uint8)
        return np.asarray(draw_mask(make_patch(grey, offset), grey[:GRID, :GRID])) > 0

    assert 0 < where(0.1).sum() < where(0.0).sum()
    assert not where(2.0).any()
    image = np.full((64, 64, 3), 90, np.uint8)
    nowhere = paste_face(image, make_patch(np.zeros((64, 64, 3), np.uint8), 2.0), Crop(32, 32, 64))
    np.testing.assert_array_equal(nowhere, image)


def test_a_patch_takes_the_place_of_the_face_below_it() -> None:
    """A dot at the nose tip goes where the other nose tip is; the mouth's own opening stays."""
    face = FACE.copy()
    covered = ((FACE - 0.5) @ np.array([[1.1, 0.05], [-0.1, 0.9]]) + (0.52, 0.47)).astype(np.float32)
    face[57, 1] += 0.05  # a lower lip that hangs
    fitted = fit_patch(Patch(paint_dot(face[30]), face, covered))
    np.testing.assert_allclose(np.delete(fitted.points, 57, axis=0), np.delete(covered, 57, axis=0), atol=1e-4)
    assert fitted.points[57, 1] - covered[57, 1] == pytest.approx(0.045, abs=0.002)
    np.testing.assert_allclose(find_dot(fitted.picture), covered[30] * 256, atol=1)


@pytest.mark.parametrize("width", [0.85, 1.15])
def test_a_jaw_takes_the_shape_of_the_one_below_it_and_the_features_stay(width: float) -> None:
    covered = FACE.copy()
    covered[:17, 0] = 0.5 + width * (FACE[:17, 0] - 0.5)
    for row in (2, 5, 11, 14):
        fitted = fit_patch(Patch(paint_dot(FACE[row]), FACE, covered))
        np.testing.assert_allclose(find_dot(fitted.picture), covered[row] * 256, atol=2)
        np.testing.assert_array_equal(fitted.points[:17], covered[:17])
    stretched = fit_patch(Patch(paint_dot(FACE[39]), FACE, covered))
    for row in (30, 39, 48, 62):
        fitted = fit_patch(Patch(paint_dot(FACE[row]), FACE, covered))
        np.testing.assert_allclose(find_dot(fitted.picture), stretched.points[row] * 256, atol=2)


def paint_dot(place: Points) -> Image8:
    """A black picture (256, 256, 3) with a white dot at this place in crop units."""
    picture = np.zeros((256, 256, 3), np.uint8)
    x, y = np.round(place * 256).astype(int)
    picture[y - 3 : y + 3, x - 3 : x + 3] = 255
    return picture


def find_dot(picture: Image8) -> Points:
    """Its middle (2,) in pixels."""
    found: Points = (np.argwhere(picture[..., 0] > 128).mean(axis=0)[::-1] + 0.5).astype(np.float32)
    return found


def test_hair_that_hangs_into_the_face_below_stays_before_it() -> None:
    skin, hair = np.uint8([205, 150, 130]), np.uint8([40, 30, 30])
    image = np.full((256, 256, 3), skin, np.uint8)
    left = round(256 * (FACE[:17, 0].min() + 0.3 * (FACE[IBUG68.eye_corners[0], 0] - FACE[:17, 0].min())))
    image[:, :left] = hair
    patch = Patch(np.full((256, 256, 3), np.uint8([190, 160, 150]), np.uint8), FACE, FACE)
    pasted = paste_face(image, patch, Crop(128, 128, 256))
    np.testing.assert_allclose(pasted[:, : left - 8].astype(int), image[:, : left - 8], atol=3)
    # Nor does it darken the face: skin is matched with skin.
    np.testing.assert_allclose(pasted[100:180, left + 30 : 200].mean(axis=(0, 1)), skin, atol=8)


def test_the_outer_eye_of_a_turned_head_shows() -> None:
    """It lies nearly on the outline, where a soft edge would leave the eye below it to be seen."""
    turned = FACE.copy()
    middle = turned[30, 0]
    turned[:, 0] = np.where(turned[:, 0] > middle, middle + 0.5 * (turned[:, 0] - middle), turned[:, 0])
    corner = IBUG68.eye_corners[3]
    turned[13:17, 0] = np.minimum(turned[13:17, 0], turned[corner, 0] + 0.03)
    grey = np.full((256, 256, 3), 150, np.uint8)
    mask = np.asarray(draw_mask(Patch(grey, turned, turned), grey[:GRID, :GRID]))
    x, y = (turned[list(IBUG68.groups["left_eye"])].mean(axis=0) * 256).astype(int)
    assert mask[y, x] > 200


def test_faces_that_differ_too_much_are_not_bent() -> None:
    patch = Patch(np.zeros((64, 64, 3), np.uint8), FACE, (FACE - 0.5) * np.float32(0.3) + 0.5)
    assert fit_patch(patch) is patch


def test_a_crop_beside_the_picture_pastes_nothing_and_one_over_the_edge_what_is_inside() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)
    face = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    np.testing.assert_array_equal(paste_face(image, make_patch(face), Crop(-100, 20, 30)), image)
    pasted = paste_face(image, make_patch(face), Crop(0, 20, 32))
    assert (pasted[:, :8] != image[:, :8]).any()
    np.testing.assert_array_equal(pasted[:, 17:], image[:, 17:])


def test_a_count_that_no_scheme_has_is_refused() -> None:
    with pytest.raises(LandmarksError, match="5 points"):
        paste_face(np.zeros((8, 8, 3), np.uint8), Patch(np.zeros((8, 8, 3), np.uint8), FACE[:5], FACE), Crop(4, 4, 8))


def test_large_pictures_are_pasted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    # Of so little contrast that nothing is clipped between Pillow's passes, whose order depends on the shape.
    image, face = (rng.integers(96, 160, (size, size, 3), dtype=np.uint8) for size in (90, 32))
    patch = Patch(face, FACE, FACE)
    for crop in (Crop(41.3, 47.8, 83.1), Crop(30, 20, 20.5)):  # enlarged, and shrunk
        whole = paste_face(image, patch, crop)
        with monkeypatch.context() as change:
            change.setattr(pasting, "PASTED_AT_ONCE", 500)
            assert np.abs(paste_face(image, patch, crop).astype(int) - whole).max() <= 2
    large = np.zeros((2500, 2500, 3), np.uint8)
    tracemalloc.start()
    try:
        paste_into(large, patch, Crop(1250, 1250, 3500))  # over every edge
        assert tracemalloc.get_traced_memory()[1] < large.nbytes
    finally:
        tracemalloc.stop()
