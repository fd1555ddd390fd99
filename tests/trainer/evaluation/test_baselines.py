"""The systems compared: what each makes of a shot, over real HTTP where it asks the service."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.bundle import read_bundle
from tests.fixtures.acted import film_points, film_units, paint, write_dataset
from tests.service.tiny_service import SHIFT, SIZE, make_face, write_bundle
from trainer.data.dataset import FrameDataset
from trainer.errors import ScoredFolderError, ServiceError
from trainer.evaluation.baselines import NearestFrame, ScoredFolder, Served, Shot, WarpedReference, warp_triangles
from trainer.evaluation.served_faces import ServedFaces, serve


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the tiny bundle `ada`: its converter adds SHIFT, its red is the mean x."""
    folder = tmp_path_factory.mktemp("models")
    write_bundle(folder, "ada")
    return folder


@pytest.fixture(scope="module")
def served(models: Path) -> Iterator[ServedFaces]:
    with serve(models, threads=1, max_batch=1) as faces:
        yield faces


def make_shot(face: np.ndarray | None = None) -> Shot:
    return Shot("own/ada-ada/000000", "ada", make_face() * 100 + 20 if face is None else face)


def test_the_service_makes_pictures_with_and_without_the_converter(served: ServedFaces) -> None:
    assert served.list_targets() == ["ada"]
    plain, converted = (Served("ours", served, convert).make(make_shot()) for convert in (False, True))
    assert plain.shape == (SIZE, SIZE, 3)
    assert np.median(converted[..., 0].astype(int) - plain[..., 0]) == pytest.approx(SHIFT * 255, abs=1)


def test_the_service_tells_converted_landmarks(served: ServedFaces, models: Path) -> None:
    face = make_face() * 100 + 20
    moved = served.convert("ada", face) - SHIFT
    offset = moved - make_face()  # crop units of the tiny bundle's own rule: scaled and placed, not bent
    assert np.ptp(moved[:, 0]) / np.ptp(moved[:, 1]) == pytest.approx(np.ptp(face[:, 0]) / np.ptp(face[:, 1]), rel=1e-3)
    assert np.isfinite(offset).all()


def test_a_refusal_is_a_typed_error(served: ServedFaces) -> None:
    with pytest.raises(ServiceError, match="/synthesize answered 404"):
        served.synthesize("eve", make_face(), convert=True)


def test_the_nearest_training_frame_is_copied(served: ServedFaces, tmp_path: Path) -> None:
    class Straight(ServedFaces):
        """A converter that leaves landmarks as they are."""

        def convert(self, target: str, landmarks: np.ndarray) -> np.ndarray:
            return landmarks

    dataset = FrameDataset(write_dataset(tmp_path, "ada", film_points(30), size=32))
    system = NearestFrame(Straight(served.client, served.pid), {"ada": dataset})
    for row in (0, 7, 21):
        made = system.make(make_shot(dataset.landmarks(None)[row] + np.float32(1e-4)))
        np.testing.assert_array_equal(made, dataset.all_crops[row])
    held_out = system.make(make_shot(dataset.landmarks(None)[29]))
    assert any((held_out == crop).all() for crop in dataset.crops("train"))


def test_the_reference_is_warped_to_the_converted_landmarks(served: ServedFaces, models: Path) -> None:
    system = WarpedReference(served, {"ada": read_bundle(models / "ada")}, models)
    assert system.make(make_shot()).shape == system.references["ada"].shape


def test_triangles_take_the_picture_along() -> None:
    before, after = film_units(20)[[0, 5]]
    picture = paint(before, 128)
    np.testing.assert_array_equal(warp_triangles(picture, before, before), picture)
    inside = list(range(17, 68))
    moved = before.copy()
    moved[inside] += np.array([0.02, 0.0], np.float32)
    warped = warp_triangles(picture, before, moved)
    x, y = (before[30] * 128).astype(int)  # the nose's tip: all triangles about it go along
    shift = round(0.02 * 128)
    patch, there = picture[y - 3 : y + 4, x - 3 : x + 4], warped[y - 3 : y + 4, x - 3 + shift : x + 4 + shift]
    assert np.abs(patch.astype(int) - there).max() <= 40
    assert np.abs(warp_triangles(picture, before, after).astype(int) - paint(after, 128)).mean() < 6
    assert (warped[0] == picture[0]).all()


def test_pictures_of_another_program_are_found_by_name(tmp_path: Path) -> None:
    path = tmp_path / "own" / "ada-ada" / "000000.png"
    path.parent.mkdir(parents=True)
    picture = paint(film_units(1)[0], 32)
    Image.fromarray(picture).save(path)
    system = ScoredFolder("theirs", tmp_path, {"ada": 32})
    np.testing.assert_array_equal(system.make(make_shot()), picture)
    assert system.make(Shot("own/ada-ada/000001", "ada", make_face())) is None


def test_pictures_of_another_program_that_cannot_be_scored(tmp_path: Path) -> None:
    with pytest.raises(ScoredFolderError, match=r"no pictures of theirs in .*--write-drivers"):
        ScoredFolder("theirs", tmp_path, {"ada": 32})
    path = tmp_path / "own" / "ada-ada" / "000000.png"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (16, 20)).save(path)
    with pytest.raises(ScoredFolderError, match="has 16x20 pixels; expected are 32x32"):
        ScoredFolder("theirs", tmp_path, {"ada": 32}).make(make_shot())
    path.write_bytes(b"no picture")
    with pytest.raises(ScoredFolderError, match="can't be read"):
        ScoredFolder("theirs", tmp_path, {"ada": 32}).make(make_shot())
