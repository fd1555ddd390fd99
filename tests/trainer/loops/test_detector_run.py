"""`train-detector`, from datasets to a detector that the trainer reads back: what it takes, refuses and writes."""

from pathlib import Path

import numpy as np
import pytest

from shared.detectors.manifest import read_manifest
from tests.fixtures.acted import RULE, film_points, write_dataset
from trainer.cli import main as cli
from trainer.config import DetectorTraining
from trainer.data.dataset import SPLITS, FrameDataset
from trainer.errors import TargetError
from trainer.export.omega import load_omega
from trainer.loops import detector_run as module
from trainer.loops.detector import measure_nme, open_faces
from trainer.loops.detector_run import choose_datasets, make_detector
from trainer.networks.hourglass import HourglassConfig

TINY = DetectorTraining(network=HourglassConfig(channels=8, depth=1), steps=3, fine_steps=1, batch=4)


def write_samples(data_dir: Path, size: int = 64) -> None:
    """Two people to learn from, and one to drive alone."""
    write_dataset(data_dir, "ada", film_points(24), size)
    write_dataset(data_dir, "bob", film_points(24, phase=2), size)
    write_dataset(data_dir, "driver", film_points(8, phase=4), size, split=np.full(8, SPLITS["test"], np.int8))


def test_from_datasets_to_a_detector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_samples(tmp_path / "data")
    folders = (tmp_path / "data", tmp_path / "runs", tmp_path / "models")
    folder = make_detector(None, [], TINY, "cpu", *folders)
    said = capsys.readouterr().out
    assert "68 points, on cpu: learning from ada (16 frames), bob (16 frames)." in said
    manifest, omega = read_manifest(folder), load_omega(folder)
    assert sorted(manifest.data) == ["ada", "bob"]
    assert {name: each.frames for name, each in manifest.nme.items()} == {"ada": 4, "bob": 4, "driver": 8}
    dataset = FrameDataset(tmp_path / "data" / "ada")
    found = measure_nme(omega, open_faces(dataset, "test"), dataset.scheme)
    assert manifest.nme["ada"].value == pytest.approx(found, rel=1e-6)  # of the weights as they are stored
    assert f"ada: NME {100 * found:.2f} % on 4 test pictures." in said

    def refuse(*given: object) -> None:
        raise AssertionError("a finished run is not trained again")

    monkeypatch.setattr("trainer.loops.detector.draw_faces", refuse)
    before = (folder / "omega.onnx").read_bytes()
    assert make_detector(None, [], TINY, "cpu", *folders) == folder
    assert (folder / "omega.onnx").read_bytes() == before


def test_the_command_hands_its_options_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[object] = []

    def record(*arguments: object) -> Path:
        given.extend(arguments)
        return tmp_path / "models" / "hourglass"

    monkeypatch.setattr(module, "make_detector", record)
    folders = ["--data-dir", "d", "--runs-dir", "r", "--models-dir", "m"]
    assert cli.main(["train-detector", "--wflw", "w", "--steps", "7", "--device", "cpu", *folders]) == 0
    config = DetectorTraining(steps=7)
    assert given == [Path("w"), [], config, "cpu", Path("d"), Path("r"), Path("m")]
    assert "LANDMARKGAN_DETECTOR=hourglass make serve" in capsys.readouterr().out
    assert cli.main(["train-detector", "--steps", "0"]) == 2
    assert "a training has at least one step" in capsys.readouterr().err


def test_datasets_can_be_named(tmp_path: Path) -> None:
    write_samples(tmp_path, size=16)
    assert list(choose_datasets([], tmp_path)) == ["ada", "bob"]
    assert list(choose_datasets(["bob"], tmp_path)) == ["bob"]
    with pytest.raises(TargetError, match=r"called driver, eve; there are: ada, bob\."):
        choose_datasets(["eve", "driver", "ada"], tmp_path)


def test_datasets_of_several_kinds_are_not_mixed(tmp_path: Path) -> None:
    write_samples(tmp_path, size=16)
    write_dataset(tmp_path, "zoe", film_points(24), 16, RULE.model_copy(update={"factor": 5.0}))
    with pytest.raises(TargetError, match=r'of several: ada, bob; zoe\. .*DATASETS="ada bob"'):
        choose_datasets([], tmp_path)
    assert list(choose_datasets(["zoe"], tmp_path)) == ["zoe"]


def test_without_datasets_it_says_where_they_come_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train-detector", "--data-dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "`make data` prepares the samples" in said
    assert "make train-detector WFLW=dir" in said


def test_crops_that_cannot_be_halved_are_refused(tmp_path: Path) -> None:
    write_samples(tmp_path, size=60)
    with pytest.raises(TargetError, match="60 pixels wide; the detector needs a multiple of 8"):
        make_detector(None, [], TINY, "cpu", tmp_path, tmp_path / "runs", tmp_path / "models")
