"""The calibrated conversion: the target's face, the source's motions and pose, within what the target did."""

from pathlib import Path

import numpy as np
import pytest

from shared.anatomy import change_measure
from shared.bundle import BundleManifest, read_bundle
from shared.calibration import Calibration, normalise, soften
from shared.expression import measure_expression
from shared.geometry import find_crop
from shared.landmarks import Points, get_scheme
from shared.neutral import turn
from shared.pose import Pose, add_depth, compose_rotation, fit_pose, project

MODELS = Path(__file__).parents[2] / "models"
NAMES = [path.parent.name for path in sorted(MODELS.glob("*/bundle.json"))]


@pytest.fixture(scope="module", params=NAMES)
def manifest(request: pytest.FixtureRequest) -> BundleManifest:
    """A committed bundle's manifest."""
    return read_bundle(MODELS / request.param)


def make_stranger(manifest: BundleManifest) -> Points:
    """Somebody else's neutral face, in the target's crop units: wider, with small eyes and brows high up."""
    scheme = get_scheme(manifest.scheme)
    face = normalise(np.array(manifest.shape, np.float32), scheme) * np.float32([1.1, 1.0])
    for name, amount in (("right_eye", -0.03), ("left_eye", -0.03), ("right_brow", 0.04), ("left_brow", 0.04)):
        face = change_measure(face, name, np.array(amount, np.float32), scheme)
    return find_crop(face, manifest.crop).to_unit(face)


def act(manifest: BundleManifest, yaw: float = 0.0, pitch: float = 0.0, **does: float) -> Points:
    """A frame (1, N, 2) of the stranger: each keyword is a measure's change."""
    scheme = get_scheme(manifest.scheme)
    face = normalise(make_stranger(manifest), scheme)
    depth = add_depth(face, scheme)[:, 2:]
    for name, amount in does.items():
        face = change_measure(face, name, np.array(amount, np.float32), scheme)
    rotation = compose_rotation(np.array([[yaw, pitch, 0.0]]))
    shown = project(np.concatenate([face, depth], axis=1), Pose(rotation, np.ones(1), np.zeros((1, 2))))
    return np.stack([find_crop(each, manifest.crop).to_unit(each) for each in shown])


def convert(manifest: BundleManifest, frames: Points) -> Points:
    return Calibration(manifest).convert(frames, make_stranger(manifest))


def measure(manifest: BundleManifest, points: Points, name: str) -> float:
    return float(np.squeeze(measure_expression(points, get_scheme(manifest.scheme))[name]))


def test_the_neutral_face_becomes_the_targets(manifest: BundleManifest) -> None:
    converted = convert(manifest, make_stranger(manifest)[None])
    shape = np.array(manifest.shape, np.float32)
    np.testing.assert_allclose(converted[0], find_crop(shape, manifest.crop).to_unit(shape), atol=0.01)
    assert converted.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "amount"), [("mouth", 0.1), ("mouth_width", 0.08), ("right_brow", 0.03), ("left_eye", -0.03)]
)
def test_what_a_feature_does_arrives(manifest: BundleManifest, name: str, amount: float) -> None:
    moved = convert(manifest, np.concatenate([act(manifest), act(manifest, **{name: amount})]))
    still, done = (measure(manifest, each, name) for each in moved)
    assert done - still == pytest.approx(amount, rel=0.5)


def test_a_shut_eye_is_shut(manifest: BundleManifest) -> None:
    asleep = act(manifest, right_eye=-measure(manifest, make_stranger(manifest), "right_eye"))
    converted = convert(manifest, asleep)
    assert measure(manifest, converted, "right_eye") == pytest.approx(0, abs=0.012)
    assert measure(manifest, converted, "left_eye") > 0.07


def test_lids_shut_where_the_target_never_blinked_and_open_no_wider_than_it_did(manifest: BundleManifest) -> None:
    staring = manifest.model_copy(update={"presets": {}})
    calibration = Calibration(staring)
    asleep = act(staring, right_eye=-measure(staring, make_stranger(staring), "right_eye"))
    assert measure(staring, convert(staring, asleep), "right_eye") == pytest.approx(0, abs=0.012)
    amazed = convert(staring, act(staring, right_eye=0.3))
    assert measure(staring, amazed, "right_eye") < calibration.rest["right_eye"] + 3 * calibration.reach["right_eye"][1]


def test_the_head_turns_as_the_sources_does(manifest: BundleManifest) -> None:
    frames = np.concatenate([act(manifest, yaw=yaw, pitch=pitch) for yaw, pitch in ((0.1, 0), (-0.1, 0), (0, 0.1))])
    scheme, calibration = get_scheme(manifest.scheme), Calibration(manifest)
    angles = fit_pose(convert(manifest, frames), calibration.head, scheme).angles
    np.testing.assert_allclose(angles[:, 0], [0.1, -0.1, 0], atol=0.03)
    assert angles[2, 1] - angles[0, 1] == pytest.approx(0.1, abs=0.03)


def test_beyond_what_was_filmed_more_is_still_more_and_not_much_more(manifest: BundleManifest) -> None:
    calibration, scheme = Calibration(manifest), get_scheme(manifest.scheme)
    opened = np.concatenate([act(manifest, mouth=gap) for gap in np.linspace(0, 1.2, 13)])
    mouths = [measure(manifest, each, "mouth") for each in convert(manifest, opened)]
    assert (np.diff(mouths) > 0).all()
    assert mouths[-1] - mouths[0] < 2.2 * calibration.reach["mouth"][1] * 1.2
    turned = np.concatenate([act(manifest, yaw=yaw) for yaw in np.radians([10, 20, 30, 40, 50])])
    yaws = fit_pose(convert(manifest, turned), calibration.head, scheme).angles[:, 0]
    assert (np.diff(yaws) > 0).all()
    assert yaws[-1] < calibration.middle[0] + 2.2 * calibration.turn[0]


def test_a_tilted_head_stays_tilted(manifest: BundleManifest) -> None:
    angles = np.linspace(-0.1, 0.1, 9, dtype=np.float32)
    converted = convert(manifest, turn(np.repeat(make_stranger(manifest)[None], 9, axis=0), angles))
    rolls = measure_expression(converted, get_scheme(manifest.scheme))["roll"]
    np.testing.assert_allclose(rolls, angles, atol=2e-3)


def test_scale_and_place_in_the_crop_are_kept(manifest: BundleManifest) -> None:
    frame = act(manifest, mouth=0.1)
    moved = convert(manifest, np.concatenate([frame, frame * np.float32(0.8) + np.float32(0.15)]))
    np.testing.assert_allclose(moved[1], moved[0] * 0.8 + 0.15, atol=1e-4)


def test_faces_that_nobody_has_are_converted_to_finite_points(manifest: BundleManifest) -> None:
    line = np.stack([np.linspace(0, 1, len(manifest.shape))] * 2, axis=-1, dtype=np.float32)
    calibration = Calibration(manifest)
    assert np.isfinite(calibration.convert(act(manifest), line)).all()
    assert np.isfinite(calibration.convert(line[None], make_stranger(manifest))).all()


def test_softening_keeps_what_is_within_and_the_order_of_what_is_beyond() -> None:
    values = np.linspace(-4, 4, 81)
    softened = soften(values)
    np.testing.assert_allclose(softened[30:51], values[30:51], atol=1e-12)
    assert (np.diff(softened) > 0).all()
    np.testing.assert_allclose(softened, -softened[::-1], atol=1e-12)
    assert softened[-1] < 2
