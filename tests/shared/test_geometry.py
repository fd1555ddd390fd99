"""The crop: from landmarks alone, its units, its warp, and the way back."""

import numpy as np
import pytest
from pydantic import ValidationError

from shared.errors import LandmarksError
from shared.geometry import Crop, CropRule, cut_crop, find_crop, turn_picture
from shared.neutral import turn
from shared.pixels import Image8

# Four points; the first two make the centre, the others the scale.
RULE = CropRule(centre_points=(0, 1), scale_points=(2, 3), factor=4.0, drop=0.25)
POINTS = np.array([[10, 20], [30, 20], [15, 10], [25, 10]], np.float32)


def draw_places(width: int = 80, height: int = 60) -> Image8:
    """A picture whose red is its column and whose green is its row."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(width), np.arange(height)[:, None]
    return image


def test_crop_follows_from_the_points() -> None:
    crop = find_crop(POINTS, RULE)  # mean (20, 20); RMS distance of the scale points from their mean: 5
    assert (crop.x, crop.y, crop.side) == pytest.approx((20, 20 + 0.25 * 20, 20))
    assert crop.box == pytest.approx((10, 15, 30, 35))


def test_units_and_back() -> None:
    crop = find_crop(POINTS, RULE)
    units = crop.to_unit(POINTS)
    np.testing.assert_allclose(units[:2], [[0.0, 0.25], [1.0, 0.25]])
    np.testing.assert_allclose(crop.from_unit(units), POINTS, atol=1e-5)
    assert units.dtype == crop.from_unit(units).dtype == np.float32


@pytest.mark.parametrize(("scale", "place"), [(3.0, (0, 0)), (0.01, (5, -2)), (1000.0, (20_000, 500))])
def test_units_know_no_scale_and_no_place(scale: float, place: tuple[float, float]) -> None:
    moved = (POINTS * scale + place).astype(np.float32)
    np.testing.assert_allclose(
        find_crop(moved, RULE).to_unit(moved), find_crop(POINTS, RULE).to_unit(POINTS), atol=2e-3
    )


def test_points_outside_the_rule_do_not_move_the_crop() -> None:
    open_mouth = np.concatenate([POINTS, [[20, 90]]]).astype(np.float32)
    assert find_crop(open_mouth, RULE) == find_crop(POINTS, RULE)


def test_scale_points_on_one_spot_are_refused() -> None:
    points = POINTS.copy()
    points[3] = points[2]
    with pytest.raises(LandmarksError, match="one spot"):
        find_crop(points, RULE)


def test_rule_is_checked() -> None:
    for wrong in ({"scale_points": (1,)}, {"centre_points": ()}, {"factor": 0}, {"drop": 2}, {"extra": 1}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            CropRule.model_validate(RULE.model_dump() | wrong)


def test_a_crop_at_its_own_scale_is_a_cut() -> None:
    image = draw_places()
    np.testing.assert_array_equal(cut_crop(image, Crop(30, 25, 20), 20), image[15:35, 20:40])


def test_a_larger_crop_keeps_places_to_pixel_centres() -> None:
    large = cut_crop(draw_places(), Crop(30, 25, 20), 80).astype(float)  # four pixels for each
    places = 20 + (np.arange(80) + 0.5) / 4 - 0.5  # columns of the picture, whose first centre is 0.5
    np.testing.assert_allclose(large[40, 8:-8, 0], places[8:-8], atol=0.6)


def test_shrinking_averages() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = cut_crop(stripes, Crop(32, 32, 64), 16)
    assert np.abs(small[:, 2:-2].astype(int) - 127).max() < 10  # no stripes of its own


def test_beyond_the_edge_the_edges_pixels_go_on() -> None:
    image = draw_places()
    crop = cut_crop(image, Crop(0, 30, 40), 40)  # its left half lies outside
    np.testing.assert_array_equal(crop[:, :20, 0], 0)
    np.testing.assert_array_equal(crop[:, 20:, 0], np.broadcast_to(np.arange(20), (40, 20)))
    np.testing.assert_array_equal(crop[:, :, 1], np.broadcast_to(np.arange(10, 50)[:, None], (40, 40)))


@pytest.mark.parametrize("crop", [Crop(1e6, 1e6, 30), Crop(-500, 20, 10), Crop(40, 30, 0.01), Crop(40, 30, 900)])
def test_extreme_crops_give_a_picture(crop: Crop) -> None:
    assert cut_crop(draw_places(), crop, 16).shape == (16, 16, 3)


@pytest.mark.parametrize("angle", [0.3, -0.5, 2.0])
def test_a_picture_turns_as_its_landmarks_do(angle: float) -> None:
    """A white spot on black, and the landmark in its middle."""
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[100:104, 180:184] = 255
    pivot = (0.5, 0.45)
    rows, columns = np.nonzero(turn_picture(picture, angle, pivot)[..., 0] > 100)
    landmark = turn(np.array([[[182, 102]]], np.float32) / 256, np.array([angle], np.float32), pivot)[0, 0] * 256
    assert [columns.mean() + 0.5, rows.mean() + 0.5] == pytest.approx(landmark, abs=0.5)


def test_what_turns_into_view_is_the_edge_drawn_out() -> None:
    picture = np.full((64, 64, 3), 90, np.uint8)
    picture[:, :32] = 200
    turned = turn_picture(picture, 0.7, (0.5, 0.5))
    assert set(np.unique(turned[24:40, 0])) == {200}
    assert turned.min() > 50
