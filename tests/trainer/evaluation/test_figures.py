"""The pictures of README and docs: which frames they show, and that bundles and datasets on disk are what they show."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.expression import MEASURES, measure_expression
from shared.landmarks import IBUG68, Points
from tests.fixtures.painted import FACE, PaintedDetector, film, write_video
from tests.service.tiny_service import write_bundle
from trainer.cli import main as cli
from trainer.data.dataset import FrameDataset
from trainer.data.prepare import About, PrepareOptions, prepare_dataset
from trainer.data.sources import VideoSource
from trainer.evaluation.figures import CELL, COLUMNS, choose_frames, draw_landmarks, open_actor, save_figure
from trainer.evaluation.sample_sheets import EXTREMES, EYES, FILM_CELL, choose_stretch, show_edits


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


def test_two_targets_drive_one_another(data_dir: Path) -> None:
    assert draw(data_dir, "--targets", "ada", "bob") == 0
    out = data_dir.parent / "docs"
    names = {"held-out", "sliders", "eyes", "extremes", "reenactment", "converter"}
    assert {path.stem for path in out.glob("*.jpg")} == names
    with Image.open(out / "held-out.jpg") as figure:
        assert figure.format == "JPEG"
        assert figure.width > 2 * len(COLUMNS) * CELL
        assert 3 * CELL < figure.height < 4 * CELL
    with Image.open(out / "driven.webp") as film:
        assert film.size == (4 * FILM_CELL, FILM_CELL)
        assert film.n_frames > 1


def test_one_target_alone_is_driven_by_nobody(data_dir: Path) -> None:
    assert draw(data_dir, "--targets", "ada") == 0
    assert {path.name for path in (data_dir.parent / "docs").iterdir()} == {
        *("held-out.jpg", "sliders.jpg", "eyes.jpg", "extremes.jpg")
    }


def test_a_shut_eye_and_a_turned_head_reach_the_networks(data_dir: Path) -> None:
    actor = open_actor("ada", data_dir, data_dir.parent / "models")
    seen: list[Points] = []

    def generate(points: Points) -> NDArray[np.float32]:
        seen.extend(points)
        return np.zeros((len(points), 3, CELL, CELL), np.float32)

    actor.animator.generator = generate
    panel = show_edits(actor, {"wink": EYES["right eye shut"], "turned": EXTREMES["35° left"]})
    assert panel.columns == ["wink", "turned"]
    wink, turned = (measure_expression(points, IBUG68) for points in seen)
    assert wink["right_eye"] == pytest.approx(0, abs=1e-5)
    assert wink["left_eye"] > 0.05
    assert turned["yaw"] < wink["yaw"] - 0.1


def test_the_film_shows_where_the_face_does_most(data_dir: Path) -> None:
    dataset = FrameDataset(data_dir / "ada")
    test = dataset.indices("test")
    lower = list(IBUG68.openings["mouth"][1])
    dataset.arrays["landmarks"][test] = dataset.arrays["landmarks"][test[0]]
    dataset.arrays["landmarks"][np.ix_(test[-2:], lower, [1])] += 0.1
    first, last = choose_stretch(dataset, 2)
    assert last - first == 2  # 80 ms at 25 frames a second
    assert first < len(test) - 2 <= last


def test_a_missing_bundle_is_named(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw(data_dir, "--targets", "eve") == 2
    assert "eve: no bundle.json" in capsys.readouterr().err


def test_the_file_keeps_to_its_size(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    size = save_figure(Image.fromarray(noise), tmp_path / "new" / "noise.jpg", most_bytes=70_000)
    assert size == (tmp_path / "new" / "noise.jpg").stat().st_size <= 70_000
