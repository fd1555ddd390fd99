"""WFLW as it lies on disk, with the traps of its lists, and the dataset that comes of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.detectors import LandmarkDetector
from shared.landmarks import WFLW98
from tests.fixtures.painted import paint_people
from trainer.data.dataset import FrameDataset
from trainer.data.prepare import DEFAULT_CROPS, PrepareOptions, prepare_dataset
from trainer.data.sources import Frame, Skipped
from trainer.data.wflw import LIST_NAMES, LISTS, WFLW, WFLWSource
from trainer.errors import SourceError, TooFewFramesError
from trainer.loops.detector_run import prepare_wflw

TRAIN, TEST = LIST_NAMES


def line(name: str, shift: float = 0) -> str:
    """207 tokens: 98 points, a box, six flags and the picture's name."""
    points = np.stack([np.arange(98) + 60.5 + shift, (np.arange(98) * 7) % 98 + 80.25], axis=1)
    numbers = [f"{value:.6f}" for value in points.ravel()] + ["60", "80", "160", "180"] + ["0", "1", "0", "0", "1", "0"]
    return " ".join([*numbers, name])


def write_wflw(root: Path, train: list[str], test: list[str], pictures: list[str]) -> Path:
    (root / LISTS).mkdir(parents=True)
    for name, lines in ((TRAIN, train), (TEST, test)):
        (root / LISTS / name).write_text("\n".join(lines) + "\n")
    for name in pictures:
        path = root / "WFLW_images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paint_people((1, 40, 16, 64), width=256, height=256)).save(path)
    return root


def refuse(name: str) -> LandmarkDetector:
    raise AssertionError(f"{name}: the landmarks are given")


def test_lines_with_their_traps(tmp_path: Path) -> None:
    train = [
        line("0--Parade/a face, 1.png"),  # a name with spaces
        line("7--Cheering/two.png", shift=3),
        " ".join(line("7--Cheering/two.png").split(" ")[2:]),  # a point is missing
        line("0--Parade/gone.png"),
        "",
        line("7--Cheering/two.png").replace("60.500000", "nan", 1),
        line("7--Cheering/two.png").replace(" 60 80 160 180 ", " 60 eighty 160 180 ", 1),
        line("../WFLW_annotations/a.png"),
        line("/etc/two.png"),
        line("7--Cheering/broken.png"),
        line("7--Cheering/two.png") + "  ",
        *[line("7--Cheering/two.png", shift=number) for number in range(4)],
    ]
    root = write_wflw(
        tmp_path, train, [line("7--Cheering/two.png", 5)], ["0--Parade/a face, 1.png", "7--Cheering/two.png"]
    )
    (root / "WFLW_images" / "7--Cheering" / "broken.png").write_bytes(b"no picture")
    source = WFLWSource(root)
    items = list(source.read())
    frames = [item for item in items if isinstance(item, Frame)]
    assert [(frame.source, frame.number) for frame in frames] == [(0, n) for n in (0, 1, 10, 11, 12, 13, 14)] + [(1, 0)]
    assert frames[1].landmarks is not None
    assert frames[1].landmarks.shape == (98, 2)
    assert frames[1].landmarks[0] == pytest.approx([63.5, 80.25])
    assert frames[0].image.shape == (256, 256, 3)
    skipped = [(item.name, item.reason.split(":")[0]) for item in items if isinstance(item, Skipped)]
    assert skipped == [
        (f"{TRAIN} line 3", "broken line"),
        (f"{TRAIN} line 4 (0--Parade/gone.png)", "missing picture"),
        (f"{TRAIN} line 6", "broken line"),
        (f"{TRAIN} line 7", "broken line"),
        (f"{TRAIN} line 8", "broken line"),
        (f"{TRAIN} line 9", "broken line"),
        (f"{TRAIN} line 10 (7--Cheering/broken.png)", "broken picture"),
    ]
    assert (source.scheme, source.expected) == (WFLW98.name, 15)
    assert [file.name for file in source.files] == [TRAIN, TEST]


def test_lists_that_are_missing_or_mostly_broken_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"train\.txt can't be read .*WFLW_annotations/.*beside WFLW_images/"):
        WFLWSource(tmp_path / "nowhere")
    root = write_wflw(tmp_path, [line("a.png")], ["1 2 3 a.png", line("a.png"), "4 5"], ["a.png"])
    with pytest.raises(SourceError, match=r"2 of 3 lines are broken \(list_98pt_rect_attr_test\.txt line 1: .*line 3"):
        WFLWSource(root)
    (root / LISTS / TEST).write_text("\n")
    with pytest.raises(SourceError, match=r"0 of 0 lines are broken \(the file is empty"):
        WFLWSource(root)


def test_the_dataset_keeps_the_lists_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = [line("a.png", shift=number) for number in range(41)]
    root = write_wflw(
        tmp_path / "wflw", train, [line("b.png", 50), line("gone.png"), line("b.png", 51)], ["a.png", "b.png"]
    )
    prepare_wflw(root, tmp_path / "data")
    assert (
        "wflw: 43 frames (39 train, 2 validation, 2 test, 0 gap). Left out: 1 missing picture."
        in capsys.readouterr().out
    )
    dataset = FrameDataset(tmp_path / "data" / "wflw")
    manifest = dataset.manifest
    assert (manifest.scheme, manifest.detector, manifest.size) == ("wflw98", "given", 256)
    assert manifest.crop == DEFAULT_CROPS["wflw98"]
    assert "non-commercial" in manifest.licence
    assert dataset.points("validation")[:, 0, 0] == pytest.approx([60.5 + 19, 60.5 + 39])
    assert dataset.points("test")[:, 0, 0] == pytest.approx([110.5, 111.5])
    for split in ("train", "validation", "test"):
        assert isinstance(dataset.crops(split), np.memmap), split  # one stretch: read from disk, not copied


def test_lists_without_pictures_are_no_dataset(tmp_path: Path) -> None:
    root = write_wflw(tmp_path / "wflw", [line("a.png")], [line("gone.png")], ["a.png"])
    options = PrepareOptions(scheme="wflw98", split="lists", size=16)
    with pytest.raises(TooFewFramesError, match="training list 1 faces can be used, of the test list 0"):
        prepare_dataset(WFLWSource(root), WFLW, options, refuse, tmp_path / "data")
