"""A picture's reductions, by hand, and what is cut from them."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.detectors.pyramid import Pyramid
from shared.detectors.region import Region, cut_region


def make_ramp(width: int, height: int) -> NDArray[np.uint8]:
    """Red grows to the right and green downwards, blue changes from column to column."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x % 2) * 200], axis=2).astype(np.uint8)


def test_levels_halve_until_a_network_could_take_the_whole() -> None:
    sizes = [Image.fromarray(np.asarray(level)).size for level in Pyramid(make_ramp(2051, 1030)).levels]
    assert sizes == [(2051, 1030), (1026, 515), (513, 258), (257, 129)]
    for width, height in ((1, 1), (511, 40), (40, 300)):
        assert len(Pyramid(make_ramp(width, height)).levels) == 1


def test_a_level_averages_blocks_and_what_is_left_at_the_edges() -> None:
    image = make_ramp(1025, 1027)  # more rows than are in memory at once
    half = np.asarray(Pyramid(image).levels[1])
    blocks = image[:1026, :1024].reshape(513, 2, 512, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(half[:513, :512], blocks, atol=1)
    np.testing.assert_allclose(half[:513, 512], image[:1026, 1024].reshape(513, 2, 3).mean(axis=1), atol=1)
    np.testing.assert_allclose(half[513, :512], image[1026, :1024].reshape(512, 2, 3).mean(axis=1), atol=1)


@pytest.mark.parametrize(("pixels", "factor"), [(0.3, 1), (1.99, 1), (2, 2), (3.9, 2), (4, 4), (8, 8), (100, 8)])
def test_a_region_is_cut_from_the_smallest_picture_that_shows_it(pixels: float, factor: int) -> None:
    pyramid = Pyramid(make_ramp(2100, 400))
    level, chosen = pyramid.choose(pixels)
    assert chosen == factor
    assert np.asarray(level).shape[1] == math.ceil(2100 / factor)


@pytest.mark.parametrize("extend", [False, True])
@pytest.mark.parametrize(
    "region",
    [Region(700, 400, 900, 0.4), Region(600, 500, 300), Region(50, 60, 700, -1.0), Region(650, 450, 1300 * 1.6)],
)
def test_a_cut_is_that_of_the_whole_picture(region: Region, extend: bool) -> None:
    image = make_ramp(1300, 901)
    cut, expected = (
        cut_region(picture, region, 64, extend).astype(float) for picture in (Pyramid(image), Image.fromarray(image))
    )
    assert np.abs(cut - expected)[..., :2].mean() < 1
    inner = np.zeros_like(image)
    inner[40:-40, 40:-40] = 255
    np.testing.assert_allclose(cut[(cut_region(inner, region, 64) == 255).all(axis=2), 2], 100, atol=3)
