"""Which frames systems are shown, what tells a driver's neutral shape, and where a driver moves."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.landmarks import IBUG68, IBUG70, convert_scheme
from shared.neutral import find_neutral
from tests.fixtures.acted import act, film_points, film_units, write_dataset
from tests.fixtures.painted import PaintedDetector, paint_people
from trainer.data.dataset import SPLITS, FrameDataset
from trainer.errors import DatasetError
from trainer.evaluation import drivers as clips
from trainer.evaluation.drivers import KEPT, find_moving, find_stills, measure_kept, measure_noise, open_clip
from trainer.evaluation.face_analyzer import LocalFaceAnalyzer, Observation


class Remembering:
    """FaceAnalyzer that know the frames of a film by their pictures, and see them a little off."""

    scheme = "ibug68"

    def __init__(self, dataset: FrameDataset, error: float = 0.0) -> None:
        units = dataset.arrays["landmarks"]
        noise = np.random.default_rng(0).normal(0, error, units.shape) if error else np.zeros_like(units)
        self.known = {crop.tobytes(): points for crop, points in zip(dataset.all_crops, units + noise, strict=True)}

    def look(self, picture: np.ndarray, expected: np.ndarray | None = None) -> Observation:
        return Observation(self.known[picture.tobytes()].astype(np.float32))


def open_dataset(folder: Path, split: np.ndarray, name: str = "ada") -> FrameDataset:
    return FrameDataset(write_dataset(folder, name, film_points(len(split)), size=64, split=split))


def test_only_test_frames_are_shown(tmp_path: Path) -> None:
    split = np.repeat([SPLITS["train"], SPLITS["validation"], SPLITS["test"]], (40, 10, 25)).astype(np.int8)
    dataset = open_dataset(tmp_path, split)
    clip = open_clip(dataset, Remembering(dataset), every=2)
    assert clip.rows.tolist() == list(range(50, 75, 2))
    np.testing.assert_array_equal(clip.crops[1], dataset.all_crops[52])
    np.testing.assert_array_equal(clip.points[1], dataset.arrays["points"][52])
    np.testing.assert_array_equal(clip.neutral, find_neutral(dataset.landmarks("train"), IBUG68))
    assert (dataset.crops("train") == clip.calm).all(axis=(1, 2, 3)).any()
    assert clip.timeline.block == 12  # 25 frames a second, every other one


def test_a_driver_without_training_frames_gives_its_first_half_to_the_neutral_shape(tmp_path: Path) -> None:
    dataset = open_dataset(tmp_path, np.full(31, SPLITS["test"], np.int8))
    clip = open_clip(dataset, Remembering(dataset), every=1)
    assert clip.rows.tolist() == list(range(15, 31))
    np.testing.assert_array_equal(clip.neutral, find_neutral(dataset.landmarks("test")[:15], IBUG68))


def test_unless_told_so_many_frames_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "MOST_FRAMES", 7)
    split = np.repeat([SPLITS["train"], SPLITS["test"]], (30, 30)).astype(np.int8)
    dataset = open_dataset(tmp_path, split)
    assert open_clip(dataset, Remembering(dataset), every=None).rows.tolist() == [30, 35, 40, 45, 50, 55]


def test_without_test_frames_there_is_nothing_to_measure(tmp_path: Path) -> None:
    dataset = open_dataset(tmp_path, np.zeros(30, np.int8))
    with pytest.raises(DatasetError, match="'ada' has no test frames"):
        open_clip(dataset, Remembering(dataset), every=1)


def test_noise_is_what_the_detector_sees_otherwise(tmp_path: Path) -> None:
    dataset = open_dataset(tmp_path, np.full(200, SPLITS["test"], np.int8))
    crops, units = np.asarray(dataset.all_crops), dataset.landmarks(None)
    still = measure_noise(crops, units, Remembering(dataset))
    assert still == dict.fromkeys(measure_kept(units, IBUG68), 0)
    noise = measure_noise(crops, units, Remembering(dataset, error=0.002))
    eyes = np.linalg.norm(units[:, 36:42].mean(axis=1) - units[:, 42:48].mean(axis=1), axis=1).mean()
    # the gap is the difference of two means of three points: sqrt(2 / 3) of a coordinate's noise
    assert noise["mouth"] == pytest.approx(np.sqrt(2 / 3) * 0.002 / eyes, rel=0.2)


def test_a_driver_moves_in_the_seconds_in_which_it_does() -> None:
    measures = measure_kept(film_units(60), IBUG68)
    still = {name: np.zeros(60) for name in measures} | {
        "mouth": np.r_[np.zeros(20), measures["mouth"][20:40], np.zeros(20)]
    }
    moving = find_moving(still, np.zeros(60, np.int64), 20, dict.fromkeys(KEPT, 0.01))
    assert moving["mouth"].tolist() == [False] * 20 + [True] * 20 + [False] * 20
    assert not moving["yaw"].any()
    assert not find_moving(still, np.zeros(60, np.int64), 20, dict.fromkeys(KEPT, 1.0))["mouth"].any()


def test_blocks_do_not_reach_over_two_files() -> None:
    values = {name: np.zeros(20) for name in KEPT} | {"mouth": np.repeat([0.0, 1.0], 10)}
    moving = find_moving(values, np.repeat([0, 1], 10), 20, dict.fromkeys(KEPT, 0.01))
    assert not moving["mouth"].any()


def test_every_face_of_a_photo_is_a_still(tmp_path: Path) -> None:
    Image.fromarray(paint_people((1, 10, 10, 40), (2, 90, 10, 60))).save(tmp_path / "two.png")
    stills = find_stills(tmp_path, PaintedDetector())
    assert [(still.name, still.face) for still in stills] == [("two", 0), ("two", 1)]
    assert np.ptp(stills[0].landmarks[:, 0]) > np.ptp(stills[1].landmarks[:, 0])
    with pytest.raises(DatasetError, match="no still faces in"):
        find_stills(tmp_path / "nowhere", PaintedDetector())


def test_eyes_tell_landmarks_in_crop_units() -> None:
    sight = LocalFaceAnalyzer(PaintedDetector(), None).look(paint_people((1, 20, 30, 40), width=80, height=80))
    assert sight.landmarks is not None
    assert sight.descriptor is None
    np.testing.assert_allclose(sight.landmarks.min(axis=0), (20 / 80, 30 / 80), atol=1e-6)
    assert LocalFaceAnalyzer(PaintedDetector(), None).look(np.zeros((80, 80, 3), np.uint8)).landmarks is None


def test_gaze_is_told_of_open_eyes_alone() -> None:
    awake = convert_scheme(act(), IBUG68, IBUG70)
    asleep = convert_scheme(act(lids=1), IBUG68, IBUG70)
    measured = measure_kept(np.stack([awake, asleep]), IBUG70)
    assert np.isfinite(measured["gaze_x"]).tolist() == [True, False]
    assert np.isfinite(measured["mouth"]).all()
    assert "gaze_x" not in measure_kept(awake[:68], IBUG68)
