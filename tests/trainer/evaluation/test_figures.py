"""The pictures of README and docs: which frames they show, and that bundles and datasets on disk are what they show."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.expression import MEASURES
from shared.landmarks import IBUG68
from tests.fixtures.painted import FACE, PaintedDetector, film, write_video
from tests.service.tiny_service import write_bundle
from trainer.cli import main as cli
from trainer.data.prepare import About, PrepareOptions, prepare_dataset
from trainer.data.sources import VideoSource
from trainer.evaluation.figures import CELL, COLUMNS, choose_frames, draw_landmarks, save_figure


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Datasets of the two people whose bundles `write_bundle` makes here."""
    for who, name in enumerate(("ada", "bob"), start=1):
        source = VideoSource([write_video(tmp_path / f"{name}.mp4", film(who, 160))])
        options = PrepareOptions(size=32, detector="painted")
        prepare_dataset(source, About(name, name.title()), options, lambda _: PaintedDetector(), tmp_path / "data")
        write_bundle(tmp_path / "models", name)
    return tmp_path / "data"


def draw(data_dir: Path, *arguments: str) -> int:
    folders = ["--data-dir", str(data_dir), "--models-dir", str(data_dir.parent / "models")]
    return cli.main(["figures", *folders, "--out", str(data_dir.parent / "docs"), *arguments])


def test_frames_are_chosen_by_what_the_face_does() -> None:
    measured = {name: np.zeros(101, np.float32) for name in MEASURES}
    measured["mouth"] = np.arange(101, dtype=np.float32)
    measured["right_eye"] = np.arange(200, 99, -1).astype(np.float32)
    chosen = choose_frames(measured)
    assert len(chosen) == len(COLUMNS)
    assert chosen[:2] == [2, 99]
    assert chosen[4] == 99


def test_landmarks_are_drawn_where_they_are() -> None:
    drawn = draw_landmarks(FACE * 0.5 + 0.25, IBUG68)
    assert drawn.shape == (CELL, CELL, 3)
    inked = np.argwhere(drawn.min(axis=2) < 128) / CELL  # (n, 2) y, x
    x, y = (FACE * 0.5 + 0.25)[IBUG68.nose_tip]
    assert np.abs(inked - (y, x)).max(axis=1).min() < 0.01
    assert inked.min() > 0.2
    assert inked.max() < 0.8


def test_points_that_were_moved_are_red() -> None:
    before = FACE * 0.5 + 0.25
    after = before.copy()
    after[IBUG68.nose_tip] += 0.05
    drawn = draw_landmarks(after, IBUG68, before=before).astype(int)
    red = np.argwhere((drawn[..., 0] > 150) & (drawn[..., 1] < 90)) / CELL
    assert len(red)
    assert np.abs(red - after[IBUG68.nose_tip][::-1]).max() < 0.03
    unmoved = draw_landmarks(after, IBUG68, before=after).astype(int)
    assert not ((unmoved[..., 0] > 150) & (unmoved[..., 1] < 90)).any()


def test_two_targets_give_four_panels(data_dir: Path) -> None:
    assert draw(data_dir, "--targets", "ada", "bob") == 0
    with Image.open(data_dir.parent / "docs" / "samples.jpg") as figure:
        assert figure.format == "JPEG"
        assert figure.width > 2 * len(COLUMNS) * CELL
        assert figure.height > 2 * 3 * CELL


def test_one_target_gives_one_panel(data_dir: Path) -> None:
    assert draw(data_dir, "--targets", "ada") == 0
    with Image.open(data_dir.parent / "docs" / "samples.jpg") as figure:
        assert 3 * CELL < figure.height < 4 * CELL
    # nobody else drives, and there is no photo: nothing to compare or to reenact
    assert {path.stem for path in (data_dir.parent / "docs").iterdir()} == {"samples", "edits", "extremes"}


def test_a_missing_bundle_is_named(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw(data_dir, "--targets", "eve") == 2
    assert "eve: no bundle.json" in capsys.readouterr().err


def test_the_file_keeps_to_its_size(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    size = save_figure(Image.fromarray(noise), tmp_path / "new" / "noise.jpg", most_bytes=70_000)
    assert size == (tmp_path / "new" / "noise.jpg").stat().st_size <= 70_000
