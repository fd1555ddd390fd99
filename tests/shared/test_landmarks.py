"""Schemes: every point accounted for, mirrored, converted; and points that are no face's."""

import numpy as np
import pytest

from shared.errors import LandmarkGANError, LandmarksError
from shared.landmarks import (
    IBUG68,
    IBUG70,
    SCHEMES,
    WFLW98,
    Scheme,
    check_points,
    convert_scheme,
    converts,
    flip_points,
    get_scheme,
    guess_scheme,
    pick,
)
from tests.fixtures.painted import FACE


@pytest.fixture(params=sorted(SCHEMES))
def scheme(request: pytest.FixtureRequest) -> Scheme:
    return SCHEMES[request.param]


def test_groups_hold_every_point_once(scheme: Scheme) -> None:
    assert sorted(index for group in scheme.groups.values() for index in group) == list(range(scheme.count))


def test_mirroring_twice_is_nothing(scheme: Scheme) -> None:
    assert sorted(scheme.flip) == list(range(scheme.count))
    assert all(scheme.flip[scheme.flip[index]] == index for index in range(scheme.count))


def test_mirroring_swaps_right_and_left_groups(scheme: Scheme) -> None:
    for name, group in scheme.groups.items():
        other = name.replace("right", "LEFT").replace("left", "right").replace("LEFT", "left")
        assert {scheme.flip[index] for index in group} == set(scheme.groups[other]), name
    for name, (upper, lower) in scheme.openings.items():
        other = name.replace("right", "LEFT").replace("left", "right").replace("LEFT", "left")
        assert {scheme.flip[index] for index in upper} == set(scheme.openings[other][0])
        assert {scheme.flip[index] for index in lower} == set(scheme.openings[other][1])
    outer_right, inner_right, inner_left, outer_left = scheme.eye_corners
    assert (scheme.flip[outer_right], scheme.flip[inner_right]) == (outer_left, inner_left)
    assert scheme.flip[scheme.nose_tip] == scheme.nose_tip


def test_strokes_openings_and_rigid_points_are_of_the_scheme(scheme: Scheme) -> None:
    used = {index for stroke, _ in scheme.strokes for index in stroke}
    assert used <= set(range(scheme.count))
    pupils = {"ibug70": {68, 69}, "wflw98": {96, 97}}.get(scheme.name, set())
    assert used == set(range(scheme.count)) - pupils
    moving = {
        index for name in ("outer_lips", "inner_lips", "right_brow", "left_brow") for index in scheme.groups[name]
    }
    lids = {index for rows in scheme.openings.values() for row in rows for index in row}
    assert not set(scheme.rigid) & (moving | lids)


def test_a_symmetric_face_is_its_own_mirror_image() -> None:
    np.testing.assert_allclose(flip_points(FACE, IBUG68, width=1.0), FACE, atol=1e-6)


def test_flipping_mirrors_about_the_pictures_middle_and_copies() -> None:
    points = FACE * 50 + (10, 5)
    flipped = flip_points(points.astype(np.float32), IBUG68, width=200)
    assert flipped[36] == pytest.approx((200 - points[45, 0], points[45, 1]), abs=1e-4)
    batch = np.stack([points, points + 1]).astype(np.float32)
    np.testing.assert_allclose(flip_points(batch, IBUG68, width=200)[0], flipped)
    np.testing.assert_allclose(flip_points(flip_points(batch, IBUG68, 200), IBUG68, 200), batch, atol=1e-4)
    np.testing.assert_allclose(batch[0], points, atol=1e-4)


def test_98_points_reduce_to_the_68_that_mean_the_same() -> None:
    marks = np.stack([np.arange(98), -np.arange(98)], axis=1).astype(np.float32)
    reduced = convert_scheme(marks, WFLW98, IBUG68)
    index = reduced[:, 0].astype(int)
    assert reduced.shape == (68, 2)
    for name, group in IBUG68.groups.items():
        assert set(index[list(group)]) <= set(WFLW98.groups[name]), name
    assert [index[corner] for corner in IBUG68.eye_corners] == list(WFLW98.eye_corners)
    assert index[IBUG68.nose_tip] == WFLW98.nose_tip
    # The conversion of a mirrored face is the mirrored conversion.
    np.testing.assert_array_equal(
        convert_scheme(flip_points(marks, WFLW98, 98), WFLW98, IBUG68), flip_points(reduced, IBUG68, 98)
    )
    assert convert_scheme(np.stack([marks, marks]), WFLW98, IBUG68).shape == (2, 68, 2)


def test_pupils_rest_between_the_lids_corners_and_are_dropped_again() -> None:
    marks = np.stack([np.arange(68), 2 * np.arange(68)], axis=1).astype(np.float32)
    wide = convert_scheme(np.stack([marks, marks + 1]), IBUG68, IBUG70)
    assert wide.shape == (2, 70, 2)
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide[0, 68:], [(37.5, 75), (43.5, 87)])
    np.testing.assert_array_equal(wide[:, :68], np.stack([marks, marks + 1]))
    np.testing.assert_array_equal(convert_scheme(wide, IBUG70, IBUG68)[0], marks)
    assert flip_points(wide[0], IBUG70, 100)[68, 0] == 100 - wide[0, 69, 0]


def test_98_points_have_the_pupils_that_70_have() -> None:
    marks = np.stack([np.arange(98), -np.arange(98)], axis=1).astype(np.float32)
    reduced = convert_scheme(marks, WFLW98, IBUG70)
    np.testing.assert_array_equal(reduced[:68], convert_scheme(marks, WFLW98, IBUG68))
    np.testing.assert_array_equal(reduced[68:, 0], [96, 97])


def test_which_conversions_exist() -> None:
    pairs = {(a.name, b.name) for a in SCHEMES.values() for b in SCHEMES.values() if a is not b and converts(a, b)}
    assert pairs == {("ibug68", "ibug70"), ("ibug70", "ibug68"), ("wflw98", "ibug68"), ("wflw98", "ibug70")}
    assert all(converts(scheme, scheme) for scheme in SCHEMES.values())


def test_conversions_that_do_not_exist_are_refused() -> None:
    assert convert_scheme(FACE, IBUG68, IBUG68) is FACE
    with pytest.raises(LandmarksError, match="'ibug68' can't be converted to 'wflw98'"):
        convert_scheme(FACE, IBUG68, WFLW98)


def test_schemes_are_found_by_name_and_by_count() -> None:
    assert get_scheme("wflw98") is guess_scheme(98) is WFLW98
    assert guess_scheme(68) is IBUG68
    assert guess_scheme(70) is IBUG70
    with pytest.raises(LandmarksError, match=r"'iris70'.*ibug68, ibug70, wflw98"):
        get_scheme("iris70")
    with pytest.raises(LandmarksError, match=r"71 points.*ibug68 \(68 points\)"):
        guess_scheme(71)


def test_pick_keeps_the_order_of_the_groups() -> None:
    assert pick(IBUG68, ("left_eye", "nose_bridge")) == (42, 43, 44, 45, 46, 47, 27, 28, 29, 30)


def test_points_of_any_scale_and_place_are_taken() -> None:
    for scale, place in ((1, 0), (1e-4, 0), (9e5, 0), (40, 3e5)):
        given = (FACE.astype(np.float64) * scale + place).tolist()
        checked = check_points(given, IBUG68)
        assert checked.dtype == np.float32
        np.testing.assert_allclose(checked, given, rtol=1e-6)


def spoil(index: int, value: float) -> list[list[float]]:
    points = FACE.tolist()
    points[index][1] = value
    return points


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (FACE[:67].tolist(), "68 points; 67 were given"),
        (FACE.flatten().tolist(), r"shape \(136,\)"),
        (np.zeros((68, 3)), r"shape \(68, 3\)"),
        ([], r"shape \(0,\)"),
        ("abc", "pairs of numbers"),
        ([[1, 2], [3]], "pairs of numbers"),
        (None, "shape"),
        (spoil(3, float("nan")), "NaN or infinite"),
        (spoil(3, float("inf")), "NaN or infinite"),
        (spoil(3, -2e6), r"within ±1e\+06; one is 2e\+06"),
        (np.full((68, 2), 7.0), "one spot"),
        (np.zeros((68, 2)), "one spot"),
        (FACE * 1e-7 + 1.0, "one spot"),
    ],
)
def test_points_that_are_no_faces_are_refused(points: object, said: str) -> None:
    with pytest.raises(LandmarksError, match=said) as caught:
        check_points(points, IBUG68)
    assert isinstance(caught.value, LandmarkGANError)
