"""The split of frames, and datasets on disk that are whole, missing or damaged."""

from pathlib import Path

import numpy as np
import pytest

from tests.fixtures.painted import PaintedDetector, film, write_video
from trainer.data.dataset import (
    CROPS_NAME,
    FRAMES_NAME,
    GAP,
    MANIFEST_NAME,
    SPLITS,
    FrameDataset,
    assign_splits,
    list_datasets,
    read_manifest,
)
from trainer.data.prepare import About, PrepareOptions, prepare_dataset
from trainer.data.sources import VideoSource
from trainer.errors import DatasetError, TooFewFramesError


def split_video(count: int, rate: float, source: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return np.full(count, source, np.int32), np.arange(count) / rate


def count_splits(split: np.ndarray) -> list[int]:
    return [int((split == code).sum()) for code in (0, 1, 2, GAP)]


def test_blocks_are_contiguous_with_two_seconds_between() -> None:
    source, time = split_video(400, 10.0)  # 40 s: 36 usable, 25.2 / 5.4 / 5.4
    split = assign_splits(source, time, [10.0])
    assert count_splits(split) == [252, 54, 54, 40]
    for before, after in ((0, 1), (1, 2)):
        end, start = np.flatnonzero(split == before)[-1], np.flatnonzero(split == after)[0]
        assert time[start] - time[end] >= 2.0
        assert (split[end + 1 : start] == GAP).all()
    for code in SPLITS.values():
        assert (np.diff(np.flatnonzero(split == code)) == 1).all()


def test_long_files_have_blocks_each_and_short_ones_share() -> None:
    parts = [split_video(400, 10.0, 0), split_video(100, 10.0, 1), split_video(300, 10.0, 2), split_video(100, 10.0, 3)]
    source, time = (np.concatenate([part[row] for part in parts]) for row in (0, 1))
    split = assign_splits(source, time, [10.0] * 4)
    for long in (0, 2):
        assert set(split[source == long].tolist()) == {0, 1, 2, GAP}
    assert set(split[source == 1].tolist()) == {0}  # the first 10 s of the 20 s that files 1 and 3 share
    assert set(split[source == 3].tolist()) == {0, 1, 2, GAP}


def test_frames_left_out_take_no_share_of_the_blocks() -> None:
    source, time = split_video(800, 10.0)
    kept = np.r_[0:300, 700:800]  # a long hole, where another person spoke
    split = assign_splits(source[kept], time[kept], [10.0])
    assert min(count_splits(split)[:3]) > 50
    for before, after in ((0, 1), (1, 2)):
        assert time[kept][split == after].min() - time[kept][split == before].max() >= 2.0


def test_photos_are_split_without_gap() -> None:
    split = assign_splits(np.zeros(100, np.int32), np.zeros(100), [None])
    assert count_splits(split) == [70, 15, 15, 0]


@pytest.mark.parametrize(
    ("count", "rate", "needed"), [(100, 25.0, "frames"), (0, 25.0, "frames"), (0, None, "pictures")]
)
def test_too_few_frames_say_how_many_are_needed(count: int, rate: float | None, needed: str) -> None:
    with pytest.raises(TooFewFramesError, match=rf"Only {count} frames .* At least \d+ {needed}"):
        assign_splits(np.zeros(count, np.int32), np.arange(count) / (rate or 1.0), [rate])


@pytest.mark.parametrize("count", [1, 5, 30])
def test_a_few_photos_are_all_for_training(count: int) -> None:
    split = assign_splits(np.zeros(count, np.int32), np.zeros(count), [None])
    assert count_splits(split) == [count, 0, 0, 0]


def test_the_number_of_frames_asked_for_is_enough() -> None:
    for rate in (10.0, 25.0, 60.0):
        with pytest.raises(TooFewFramesError) as caught:
            assign_splits(*split_video(30, rate), [rate])
        needed = int(str(caught.value).split("At least ")[1].split(" ")[0])
        assign_splits(*split_video(needed, rate), [rate])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    source = VideoSource([write_video(folder / "clip.mp4", film(1, 200))])
    options = PrepareOptions(size=32, detector="painted")
    prepare_dataset(source, About("me", "Me"), options, lambda name: PaintedDetector(), folder)
    return folder


def copy_dataset(prepared: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "me"
    folder.mkdir()
    for path in (prepared / "me").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_dataset_gives_its_splits(prepared: Path) -> None:
    data = FrameDataset(prepared / "me")
    count = len(data.indices("train"))
    assert data.landmarks("train").shape == (count, 70, 2)
    assert data.landmarks("train").dtype == np.float32
    assert data.crops("train").shape == (count, 32, 32, 3)
    assert isinstance(data.crops("train"), np.memmap)  # a stretch of the file, not a copy
    assert len(data.landmarks(None)) == len(data) == data.manifest.frames == 200
    assert data.times("test").min() > data.times("validation").max() > data.times("train").max()
    assert data.manifest.splits["train"] == count
    assert list_datasets(prepared) == ["me"]


def test_missing_dataset_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no prepared dataset in .*make data"):
        FrameDataset(tmp_path / "nobody")


@pytest.mark.parametrize("name", [MANIFEST_NAME, FRAMES_NAME, CROPS_NAME])
def test_damaged_dataset_is_refused(prepared: Path, tmp_path: Path, name: str) -> None:
    folder = copy_dataset(prepared, tmp_path)
    path = folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DatasetError, match="prepare it again"):
        FrameDataset(folder)


def test_dataset_without_its_crops_or_of_another_layout_is_refused(prepared: Path, tmp_path: Path) -> None:
    folder = copy_dataset(prepared, tmp_path)
    manifest = folder / MANIFEST_NAME
    manifest.write_text(manifest.read_text().replace('"layout_version": 1', '"layout_version": 2'))
    with pytest.raises(DatasetError, match="layout_version"):
        read_manifest(folder)
    manifest.write_text(manifest.read_text().replace('"layout_version": 2', '"layout_version": 1'))
    (folder / CROPS_NAME).unlink()
    with pytest.raises(DatasetError, match="damaged"):
        FrameDataset(folder)
