"""A region's map and its inverse, and what it cuts, on arrays small enough to check by hand."""

import math

import numpy as np
import pytest
from PIL import Image

from shared.detectors.region import Region, bound_points, cut_region, measure_angle


def test_the_unit_square_maps_to_the_corners_of_the_region() -> None:
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    level = Region(10, 20, 4).to_picture(corners)
    np.testing.assert_allclose(level, [[8, 18], [12, 18], [12, 22], [8, 22]])
    turned = Region(10, 20, 4, math.pi / 2).to_picture(corners)  # x of the region now runs down the picture
    np.testing.assert_allclose(turned, [[12, 18], [12, 22], [8, 22], [8, 18]], atol=1e-5)


def test_to_unit_undoes_to_picture() -> None:
    points = np.random.default_rng(0).uniform(0, 1, (20, 2)).astype(np.float32)
    region = Region(31.5, 12.25, 77.0, 0.6)
    np.testing.assert_allclose(region.to_unit(region.to_picture(points)), points, atol=1e-5)


def test_scale_keeps_the_place_in_the_scaled_picture() -> None:
    points = np.array([[0.2, 0.3], [1, 0]], np.float32)
    region = Region(31.5, 12.25, 77.0, 0.6)
    np.testing.assert_allclose(region.scale(0.25).to_picture(points), region.to_picture(points) / 4, rtol=1e-5)


def test_bound_points_is_tight_in_the_turned_frame() -> None:
    points = Region(50, 40, 20, 0.5).to_picture(np.array([[0, 0.25], [1, 0.75]], np.float32))
    region = bound_points(points, 0.5, 1.5)
    assert (region.x, region.y, region.side) == pytest.approx((50, 40, 30), abs=1e-3)


def test_measure_angle_turns_from_x_towards_y() -> None:
    assert measure_angle(np.array([1, 1], np.float32), np.array([1, 3], np.float32)) == pytest.approx(math.pi / 2)


def test_a_region_of_whole_pixels_is_cut_unchanged() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    cut = cut_region(Image.fromarray(image), Region(4, 5, 4), 4)
    np.testing.assert_array_equal(cut, image[3:7, 2:6])


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    cut = cut_region(Image.fromarray(image), Region(4, 4, 8, math.pi / 2), 8)
    np.testing.assert_allclose(cut.astype(int), np.rot90(image).astype(int), atol=1)  # Pillow rounds down


@pytest.mark.parametrize("size", [4, 32])  # 32 pixels as they are, and averaged down by 8
def test_outside_the_picture_is_black_or_its_border(size: int) -> None:
    picture = Image.new("RGB", (64, 64), (200, 100, 50))
    region = Region(0, 32, 32)  # its left half lies outside
    black = cut_region(picture, region, size)
    assert black[:, : size // 2 - 1].max() == 0
    assert (black[:, size // 2 + 1 :] == (200, 100, 50)).all()
    assert (cut_region(picture, region, size, extend=True) == (200, 100, 50)).all()


def test_a_region_away_from_the_picture_is_black() -> None:
    picture = Image.new("RGB", (64, 64), "white")
    assert cut_region(picture, Region(500, 500, 20), 8, extend=True).max() == 0


@pytest.mark.parametrize("extend", [False, True])
def test_a_large_region_keeps_places_and_averages(extend: bool) -> None:
    y, x = np.mgrid[0:600, 0:600]
    ramp = np.stack([x / 3, y / 3, (x % 2) * 200], axis=2).round().astype(np.uint8)
    cut = cut_region(Image.fromarray(ramp), Region(290, 300, 600), 50, extend).astype(float)
    centres = (np.arange(50) + 0.5) * 12  # pixel centres of the cut, in pixels of the picture, 10 to the right
    np.testing.assert_allclose(cut[25, 2:-1, 0], ((centres - 10) / 3)[2:-1], atol=2)
    np.testing.assert_allclose(cut[2:-2, 25, 1], (centres / 3)[2:-2], atol=2)
    np.testing.assert_allclose(cut[2:-2, 2:-2, 2], 100, atol=2)  # stripes of one pixel become their mean
