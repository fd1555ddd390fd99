"""Each figure of a picture or of landmarks against one computed by hand."""

import numpy as np
import pytest

from shared.landmarks import IBUG68
from tests.fixtures.acted import film_units, paint
from tests.fixtures.painted import FACE
from trainer.evaluation.metrics import (
    compare_pictures,
    find_box,
    map_ssim,
    measure_gradient_energy,
    measure_landmark_error,
    measure_lmk,
    measure_psnr,
)


def test_psnr() -> None:
    real = np.zeros((4, 4, 3), np.uint8)
    made = real.copy()
    made[0, 0] = 16  # mean square 16
    assert measure_psnr(made, real) == pytest.approx(10 * np.log10(255**2 / 16))


def test_ssim_of_flat_pictures() -> None:
    dark, light = np.full((32, 32, 3), 100, np.uint8), np.full((32, 32, 3), 120, np.uint8)
    constant = (0.01 * 255) ** 2
    expected = (2 * 100 * 120 + constant) / (100**2 + 120**2 + constant)
    np.testing.assert_allclose(map_ssim(dark, light), expected, rtol=1e-6)


def test_the_box_holds_the_landmarks() -> None:
    points = np.array([[0.25, 0.5], [0.5, 0.75]], np.float32)
    assert find_box(points, 100) == (slice(50, 75), slice(25, 50))
    assert find_box(points + 5, 100) == (slice(98, 100), slice(98, 100))


def test_gradient_energy_counts_both_ways() -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[:, 1] = 10  # across: 10, -10 in both rows; down: none
    assert measure_gradient_energy(picture) == pytest.approx(100)
    picture[1] = 0
    assert measure_gradient_energy(picture) == pytest.approx(50 + 100 / 3)


def test_lmk_is_a_norm_over_all_and_a_mean_a_point() -> None:
    wanted = np.zeros((68, 2), np.float32)
    found = wanted + np.array([0.03, 0.04], np.float32)
    norm, point = measure_lmk(found, wanted)
    assert norm == pytest.approx(0.05 * np.sqrt(68), rel=1e-5)
    assert point == pytest.approx(0.05, rel=1e-5)
    found[1:] = 0
    assert measure_lmk(found, wanted) == pytest.approx((0.05, 0.05 / 68), rel=1e-5)


def test_the_landmark_error_is_in_percent_of_the_eyes() -> None:
    outer = FACE[IBUG68.eye_corners[3]] - FACE[IBUG68.eye_corners[0]]
    assert measure_landmark_error(FACE + 0.1 * outer, FACE, IBUG68) == pytest.approx(10, rel=1e-5)


def test_a_frame_compared_with_itself() -> None:
    landmarks = film_units(1)[0]
    picture = paint(landmarks, 64)
    figures = compare_pictures(picture, picture, landmarks)
    assert figures == pytest.approx(
        {"psnr": 10 * np.log10(255**2 / 1e-10), "psnr_box": 10 * np.log10(255**2 / 1e-10)}
        | dict.fromkeys(("ssim", "ssim_box", "gradient_energy_box"), 1)
    )
