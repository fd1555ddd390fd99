"""The whole evaluation: committed bundles, the real service and detector, painted drivers, and every file it writes."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.bundle import read_bundle
from shared.detectors import load_detector
from shared.landmarks import IBUG68, IBUG70, convert_scheme
from tests.fixtures.acted import film_points, write_dataset
from tests.fixtures.painted import write_video
from trainer.cli import evaluate as cli_evaluate
from trainer.cli import main as cli
from trainer.data.dataset import SPLITS
from trainer.errors import RecordError, ScoredFolderError, ServiceError
from trainer.evaluation import driving_clips, evaluate
from trainer.evaluation.face_analyzer import FaceAnalyzer, LocalFaceAnalyzer
from trainer.evaluation.publish import BEGIN, END, fill, read_measured
from trainer.evaluation.results import Evaluation
from trainer.evaluation.served_faces import serve

ROOT = Path(__file__).parents[3]


@contextmanager
def open_own_eyes(models_dir: Path) -> Iterator[FaceAnalyzer]:
    """Without dlib, whose package the tests do not install: no identities."""
    yield LocalFaceAnalyzer(load_detector("mesh", models_dir), None)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the committed bundles, painted datasets of their names, a driver, one photo, and two documents."""
    shutil.copytree(ROOT / "models", tmp_path / "models", ignore=shutil.ignore_patterns("*-quick", "README.md"))
    blocks = np.repeat([SPLITS["train"], SPLITS["test"]], (24, 4)).astype(np.int8)
    for phase, (name, split) in enumerate(
        {"cap": blocks, "franck": blocks, "zoe": np.full(8, SPLITS["test"], np.int8)}.items()
    ):
        points = convert_scheme(film_points(len(split), phase=2.0 * phase), IBUG68, IBUG70)
        write_dataset(tmp_path / "data", name, points, split=split)
    faces = tmp_path / "data" / "media" / "faces"
    faces.mkdir(parents=True)
    shutil.copy(ROOT / "models" / "cap" / "reference.jpg", faces)
    (tmp_path / "docs").mkdir()
    for path in (tmp_path / "README.md", tmp_path / "docs" / "evaluation.md"):
        path.write_text(f"Before.\n{BEGIN}\nold\n{END}\nAfter.\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "open_face_analyzer", open_own_eyes)
    monkeypatch.setattr("trainer.evaluation.face_analyzer.open_face_analyzer", open_own_eyes)
    return tmp_path


def test_one_command_writes_the_same_figures_everywhere(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", "--every", "2", "--record"]) == 0
    said = capsys.readouterr().out
    evaluation = Evaluation.model_validate_json((checkout / "runs" / "evaluation" / "figures.json").read_text())
    assert evaluation.drivers["zoe"].frames == 2
    systems = {"landmarkgan", "calibrated", "unconverted", "gain", "nearest", "warp"}
    assert {each.system for each in evaluation.figures} == systems | {"real"}
    assert evaluation.list_pairs("cross") == [
        ("cap", "franck"),
        ("franck", "cap"),
        ("zoe", "cap"),
        ("zoe", "franck"),
    ]
    assert evaluation.list_pairs("cycle") == [("cap", "franck"), ("franck", "cap")]  # zoe has no bundle

    psnr = evaluation.find("landmarkgan", "own", "cap", "cap", "psnr")
    assert psnr is not None
    assert psnr.low <= psnr.value <= psnr.high
    cell = f"{psnr.value:.2f} [{psnr.low:.2f}, {psnr.high:.2f}]"
    card = (checkout / "models" / "cap" / "README.md").read_text()
    for place in (said, (checkout / "README.md").read_text(), (checkout / "docs" / "evaluation.md").read_text(), card):
        assert cell in place
    leak = evaluation.find("landmarkgan", "generator", "cap", "cap", "leak")
    assert leak is not None
    assert f"{leak.value:.2f} [{leak.low:.2f}, {leak.high:.2f}]" in card
    recorded = read_bundle(checkout / "models" / "cap").metrics
    assert recorded["generator_leak"].value == leak.value
    assert recorded["own_psnr"].value == psnr.value
    assert recorded["own_psnr"].low == psnr.low
    assert "cycle_franck_lmk" in recorded
    assert "calibrated_from_zoe_face_found" in recorded
    assert not any(name.startswith(("nearest", "unconverted")) for name in recorded)
    assert "consent | none on record" in card

    report = (checkout / "runs" / "evaluation" / "report.html").read_text()
    assert f"<td>{psnr.value:.2f} <span>" in report
    assert report.count("data:image/jpeg;base64,") == 6 + 7  # four pairs, two targets' photos, seven sheets
    assert "://" not in report  # which, unlike "http", base64 can't spell


def test_another_programs_pictures_and_another_revision_are_rows(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", "--every", "2", "--write-drivers", "drivers"]) == 0
    index = json.loads((checkout / "drivers" / "index.json").read_text())
    assert f"names {len(index['pictures'])} pictures" in capsys.readouterr().out
    with Image.open(checkout / "drivers" / index["targets"]["cap"]["reference"]) as reference:
        for entry in index["pictures"]:
            if not entry["driver"].startswith("results/"):
                assert (checkout / "drivers" / entry["driver"]).is_file()
            path = checkout / "theirs" / entry["name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            reference.save(path)  # cap's reference, whatever was asked for
    assert cli.main(["evaluate", "--every", "2", "--score", "theirs=theirs", "--previous", str(ROOT)]) == 0
    evaluation = Evaluation.model_validate_json((checkout / "runs" / "evaluation" / "figures.json").read_text())
    assert evaluation.systems["theirs"] == "theirs"
    ours, theirs = (evaluation.find(name, "own", "cap", "cap", "landmark_error") for name in ("landmarkgan", "theirs"))
    assert ours is not None
    assert theirs is not None
    assert theirs.value > ours.value
    assert evaluation.find("theirs", "cycle", "cap", "franck", "lmk") is not None
    assert not evaluation.notes
    now, before = (
        [
            each.model_copy(update={"system": ""})
            for each in evaluation.figures
            if each.system == name and each.task != "generator"
        ]
        for name in ("landmarkgan", "previous")
    )
    assert now == before  # the same bundles, served by this very checkout: to the last digit

    with pytest.raises(RecordError, match="'cap' was exchanged while it was measured"):
        read_measured(evaluation.model_copy(update={"bundles": {"cap": {}}}), "cap", checkout / "models")


@pytest.mark.parametrize("value", ["theirs", "=theirs", "theirs=", "landmarkgan=theirs"])
def test_folders_to_score_need_a_name_of_their_own(value: str) -> None:
    with pytest.raises(ScoredFolderError):
        cli_evaluate.split_scored([value])
    assert cli_evaluate.split_scored(["a=b=c", "d=e"]) == {"a": Path("b=c"), "d": Path("e")}


def test_a_document_without_its_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"Before.\n{BEGIN}\nold\n{END}\nAfter.\n")
    assert fill(path, "new") == f"Before.\n{BEGIN}\nnew\n{END}\nAfter.\n"
    path.write_text("Before.\nAfter.\n")
    with pytest.raises(RecordError, match="no place for the figures"):
        fill(path, "new")


def test_a_revision_without_a_service_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="is no checkout with a service/"), serve(tmp_path, code=tmp_path):
        pass


def test_nothing_to_measure_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluate, "open_face_analyzer", open_own_eyes)
    folders = ["--data-dir", str(tmp_path), "--models-dir", str(ROOT / "models")]
    assert cli.main(["evaluate", *folders]) == 2
    assert "No bundle has a prepared dataset" in capsys.readouterr().err


def test_a_folder_of_clips_goes_through_video_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A face that sways, filmed from a photo; what is measured is what the job's video shows."""
    monkeypatch.setattr(driving_clips, "open_face_analyzer", open_own_eyes)
    shutil.copytree(ROOT / "models" / "mesh", tmp_path / "models" / "mesh")
    shutil.copytree(ROOT / "models" / "franck", tmp_path / "models" / "franck")
    with Image.open(ROOT / "models" / "cap" / "reference.jpg") as picture:
        frames = [np.asarray(picture.convert("RGB").rotate(12 * np.sin(number / 2))) for number in range(12)]
    (tmp_path / "clips").mkdir()
    write_video(tmp_path / "clips" / "sway.mp4", frames)
    folders = ["--models-dir", str(tmp_path / "models"), "--report", str(tmp_path / "report")]
    assert cli.main(["evaluate", "--clips", str(tmp_path / "clips"), *folders]) == 0
    said = capsys.readouterr().out
    written = (tmp_path / "report" / "clips.json").read_text()
    evaluation = driving_clips.ClipEvaluation.model_validate_json(written)
    figures = [each for each in evaluation.figures if each.target == "franck"]
    found = {(each.system, each.driver, each.metric): each.value for each in figures}
    assert found["landmarkgan", "sway", "face_found"] == 1
    assert found["landmarkgan", "sway", "roll"] > 0.9
    assert found["converted", "sway", "roll"] > 0.95
    assert found["landmarkgan", "all", "roll"] == found["landmarkgan", "sway", "roll"]
    assert f"{found['landmarkgan', 'sway', 'roll']:.2f} [" in said
    assert cli.main(["evaluate", "--clips", str(tmp_path / "models"), *folders]) == 2
    assert "no clips" in capsys.readouterr().err


def test_the_service_that_is_measured_is_not_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("LANDMARKGAN_JOBS_DIR", str(tmp_path / "jobs"))
    monkeypatch.setenv("LANDMARKGAN_DETECTOR", "nonsense")
    with serve(ROOT / "models", threads=1) as served:
        assert "franck" in served.list_targets()
    assert not (tmp_path / "jobs").exists()
