"""A head's pose, told apart from what its face does."""

import numpy as np
import pytest

from shared.anatomy import change_measure, describe
from shared.expression import measure_expression
from shared.landmarks import SCHEMES, Points, Scheme
from shared.pose import Array, Pose, add_depth, compose_rotation, face_camera, find_rigid, fit_pose, project

ANGLES = np.radians([[0, 0, 0], [35, 0, 0], [-35, 12, 0], [5, -20, 30], [20, 20, -60]])


@pytest.fixture(params=sorted(SCHEMES))
def scheme(request: pytest.FixtureRequest) -> Scheme:
    found: Scheme = SCHEMES[request.param]
    return found


def make_head(scheme: Scheme) -> Array:
    return add_depth(describe(scheme).face.astype(np.float32), scheme)


def pose_head(scheme: Scheme, face: Points | None = None) -> Points:
    head = make_head(scheme)
    if face is not None:
        head = np.concatenate([face, head[:, 2:]], axis=1)
    places = np.linspace(0.3, 0.6, 2 * len(ANGLES)).reshape(-1, 2)
    return project(head, Pose(compose_rotation(ANGLES), np.linspace(0.2, 40, len(ANGLES)), places))


def test_a_pose_is_found_again(scheme: Scheme) -> None:
    found = fit_pose(pose_head(scheme), make_head(scheme), scheme)
    np.testing.assert_allclose(found.angles, ANGLES, atol=1e-3)
    np.testing.assert_allclose(found.scale, np.linspace(0.2, 40, len(ANGLES)), rtol=1e-3)


def test_rotations_turn_as_the_measures_count() -> None:
    scheme = SCHEMES["ibug68"]
    turned = np.radians([[15, 0, 0], [0, 15, 0], [0, 0, 15]])
    still = measure_expression(make_head(scheme)[:, :2], scheme)
    shown = project(make_head(scheme), Pose(compose_rotation(turned), np.ones(3), np.zeros((3, 2))))
    measured = measure_expression(shown, scheme)
    for row, name in enumerate(("yaw", "pitch", "roll")):
        assert measured[name][row] - still[name] > 0.05, name
    assert measured["roll"][2] == pytest.approx(np.radians(15), abs=1e-3)


def test_what_a_face_does_is_not_taken_for_its_pose(scheme: Scheme) -> None:
    open_mouth = change_measure(make_head(scheme)[:, :2].astype(np.float32), "mouth", np.float32(0.3), scheme)
    found = fit_pose(pose_head(scheme, open_mouth), make_head(scheme), scheme)
    np.testing.assert_allclose(found.angles, ANGLES, atol=0.02)


def test_turned_to_the_camera_a_face_does_what_it_did(scheme: Scheme) -> None:
    smile = change_measure(make_head(scheme)[:, :2].astype(np.float32), "mouth_width", np.float32(0.2), scheme)
    posed, head = pose_head(scheme, smile), make_head(scheme)
    frontal = face_camera(posed, head, fit_pose(posed, head, scheme))
    np.testing.assert_allclose(frontal, np.broadcast_to(smile, frontal.shape), atol=0.03)
    rigid = find_rigid(scheme)
    np.testing.assert_allclose(frontal[:, rigid], np.broadcast_to(head[rigid, :2], frontal[:, rigid].shape), atol=0.03)


def test_points_that_no_head_has_give_a_pose_all_the_same(scheme: Scheme) -> None:
    line = np.stack([np.linspace(0, 1, scheme.count)] * 2, axis=-1, dtype=np.float32)[None]
    spot = np.full((1, scheme.count, 2), 0.5, np.float32)
    for points in (line, spot):
        pose = fit_pose(points, make_head(scheme), scheme)
        assert np.isfinite(pose.rotation).all()
        assert pose.scale[0] > 0
    assert np.isfinite(fit_pose(line, np.zeros((scheme.count, 3)), scheme).rotation).all()
