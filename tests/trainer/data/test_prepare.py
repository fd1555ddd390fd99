"""From media to a dataset: who is kept, what is written, and what a second or a killed run does."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.detectors import LandmarkDetector, load_detector
from shared.geometry import Crop
from shared.landmarks import IBUG68, WFLW98, Scheme, convert_scheme
from tests.fixtures.painted import PaintedDetector, Picture, film, paint_people, write_video
from trainer.data.celebv import CelebVSource
from trainer.data.dataset import MANIFEST_NAME, FrameDataset
from trainer.data.prepare import DEFAULT_CROPS, About, PrepareOptions, prepare_dataset
from trainer.data.sources import Frame, PhotoSource, Skipped, Source, VideoSource
from trainer.errors import TooFewFramesError

OPTIONS = PrepareOptions(size=32, detector="painted")
MODELS = Path(__file__).parents[3] / "models"


def prepare(
    source: Source, data_dir: Path, options: PrepareOptions = OPTIONS, detector: LandmarkDetector | None = None
) -> FrameDataset:
    found = detector or PaintedDetector()
    prepare_dataset(source, About("me", "Me"), options, lambda name: found, data_dir)
    return FrameDataset(data_dir / "me")


def test_crops_show_the_face_and_landmarks_fit_it(tmp_path: Path) -> None:
    data = prepare(VideoSource([write_video(tmp_path / "clip.mp4", film(1, 200))]), tmp_path)
    manifest = data.manifest
    assert manifest.frames == 200
    assert manifest.left_out == {}
    assert manifest.detector == "painted"
    assert manifest.crop == DEFAULT_CROPS["ibug68"]
    assert manifest.sources[0].model_dump() | {"sha256": ""} == {
        "name": "clip.mp4",
        "sha256": "",
        "frames": 200,
        "kept": 200,
        "fps": 25.0,
    }
    row = int(data.indices("test")[0])
    crop = Crop(*data.arrays["crop"][row])
    assert crop.from_unit(data.landmarks(None)[row]) == pytest.approx(data.points(None)[row], abs=1e-3)
    centre = data.arrays["points"][row][list(IBUG68.rigid)].mean(axis=0)
    assert crop.x == pytest.approx(centre[0], abs=1e-3)
    x, y = (data.landmarks(None)[row].mean(axis=0) * 32).astype(int)
    assert data.all_crops[row][y, x].max() > 60  # the painted face, not the black around it


def test_frames_without_the_target_are_counted_and_left_out(tmp_path: Path) -> None:
    def play() -> Iterator[Picture]:
        yield from film(1, 120)
        yield from film(2, 40)  # another person in the same place
        yield np.zeros((96, 160, 3), np.uint8)
        yield from film(1, 120, start=120)

    data = prepare(VideoSource([write_video(tmp_path / "clip.mp4", play())]), tmp_path)
    assert data.manifest.left_out == {"another person": 40, "no face": 1}
    assert data.arrays["frame"].tolist() == [*range(120), *range(161, 281)]
    assert data.manifest.sources[0].frames == 281
    assert data.manifest.sources[0].kept == 240


def test_one_of_two_faces_in_the_picture_is_followed(tmp_path: Path) -> None:
    def play() -> Iterator[Picture]:  # the target stays; a larger visitor comes for a while, and they change places
        for number in range(200):
            target = (1, 4, 20, 60) if number < 150 else (1, 96, 20, 60)
            visitor = (2, 86, 12, 70) if number < 150 else (2, 4, 12, 70)
            yield paint_people(target, visitor) if 100 <= number < 180 else paint_people(target)

    data = prepare(VideoSource([write_video(tmp_path / "clip.mp4", play())]), tmp_path)
    assert data.manifest.left_out == {}
    centres = data.points(None).mean(axis=1)[:, 0]
    assert (centres[:150] < 70).all()
    assert (centres[150:] > 90).all()


def test_any_person_keeps_the_largest_face_of_each_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", [*film(1, 120), *film(2, 60)])
    options = OPTIONS.model_copy(update={"person": "any"})
    assert prepare(VideoSource([path]), tmp_path, options).manifest.frames == 180


def test_doubtful_faces_are_left_out(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", film(1, 200))
    with pytest.raises(TooFewFramesError, match=r"Only 0 frames .*Left out: 200 low score"):
        prepare(VideoSource([path]), tmp_path, detector=PaintedDetector(score=0.4))
    assert not (tmp_path / "me").exists()


def test_a_second_run_does_nothing_and_a_new_rule_needs_no_new_search(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", film(1, 200))
    detector = PaintedDetector()
    prepare(VideoSource([path]), tmp_path, detector=detector)
    manifest = tmp_path / "me" / MANIFEST_NAME
    stamp = os.stat(manifest).st_mtime_ns
    prepare(VideoSource([path]), tmp_path, detector=detector)
    assert os.stat(manifest).st_mtime_ns == stamp
    wider = OPTIONS.model_copy(update={"crop": DEFAULT_CROPS["ibug68"].model_copy(update={"factor": 9.0})})
    before = FrameDataset(tmp_path / "me").arrays["crop"][0, 2]
    after = prepare(VideoSource([path]), tmp_path, wider, detector).arrays["crop"][0, 2]
    assert after / before == pytest.approx(9.0 / DEFAULT_CROPS["ibug68"].factor)
    assert detector.calls == 200


def test_what_is_said_of_the_media_changes_without_preparing_again(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", film(1, 200))
    data = prepare(VideoSource([path]), tmp_path)
    stamp = os.stat(tmp_path / "me" / "crops.npy").st_mtime_ns
    about = About("me", "Myself", licence="my own", consent="record 7")
    manifest = prepare_dataset(VideoSource([path]), about, OPTIONS, lambda name: PaintedDetector(), tmp_path)
    assert (manifest.licence, manifest.consent, manifest.display_name) == ("my own", "record 7", "Myself")
    assert FrameDataset(tmp_path / "me").manifest == manifest
    assert manifest.fingerprint == data.manifest.fingerprint
    assert os.stat(tmp_path / "me" / "crops.npy").st_mtime_ns == stamp


class DyingSource:
    """A video whose run is killed in the middle of the second pass."""

    scheme = None
    expected = None

    def __init__(self, source: VideoSource) -> None:
        self.source = source
        self.files = source.files
        self.passes = 0

    def read(self, every: int = 1) -> Iterator[Frame | Skipped]:
        self.passes += 1
        for number, item in enumerate(self.source.read(every)):
            if self.passes == 2 and number == 100:
                raise KeyboardInterrupt
            yield item


def test_a_killed_run_leaves_nothing_half_made(tmp_path: Path) -> None:
    source = VideoSource([write_video(tmp_path / "clip.mp4", film(1, 200))])
    detector = PaintedDetector()
    with pytest.raises(KeyboardInterrupt):
        prepare(DyingSource(source), tmp_path, detector=detector)
    assert not (tmp_path / "me").exists()
    assert (tmp_path / ".me.part").exists()
    assert prepare(source, tmp_path, detector=detector).manifest.frames == 200
    assert not (tmp_path / ".me.part").exists()
    assert detector.calls == 200  # the first pass was kept


def test_a_driver_is_for_testing_alone(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", film(1, 30))
    data = prepare(VideoSource([path]), tmp_path, OPTIONS.model_copy(update={"split": "test"}))
    assert dict(data.manifest.splits) == {"train": 0, "validation": 0, "test": 30, "gap": 0}


def test_one_frame_in_five_is_spread_over_the_whole_video(tmp_path: Path) -> None:
    source = VideoSource([write_video(tmp_path / "clip.mp4", film(1, 1000))])
    detector = PaintedDetector()
    whole = prepare(source, tmp_path).manifest
    data = prepare(source, tmp_path, OPTIONS.model_copy(update={"every": 5}), detector)
    assert detector.calls == 200
    assert data.arrays["frame"].tolist() == list(range(0, 1000, 5))
    assert data.manifest.every == 5
    assert data.manifest.fingerprint != whole.fingerprint
    ends = [data.times(split)[[0, -1]] for split in ("train", "validation", "test")]
    assert ends[1][0] - ends[0][1] >= 2
    assert ends[2][0] - ends[1][1] >= 2
    assert len(data.indices("train")) / 200 == pytest.approx(whole.splits["train"] / 1000, abs=0.01)
    crop = Crop(*data.arrays["crop"][7])
    assert crop.from_unit(data.landmarks(None)[7]) == pytest.approx(data.points(None)[7], abs=1e-3)


def test_photos_need_no_time(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(60):
        Image.fromarray(paint_people((1, 20 + number, 10, 70))).save(folder / f"{number:02}.png")
    (folder / "60.jpg").write_bytes(b"broken")
    data = prepare(PhotoSource(folder), tmp_path)
    assert data.manifest.left_out == {"broken picture": 1}
    assert dict(data.manifest.splits) == {"train": 42, "validation": 9, "test": 9, "gap": 0}
    assert data.manifest.sources[0].name == "photos"


@pytest.mark.parametrize("scheme", [IBUG68, WFLW98])
def test_celebv_points_are_taken_and_reduced(tmp_path: Path, scheme: Scheme) -> None:
    person = tmp_path / "CelebV" / "Kathleen"
    (person / "Image").mkdir(parents=True)
    given = np.random.default_rng(0).uniform(80, 180, (98, 2)).astype(np.float32)
    lines = []
    for number in range(250):
        name = f"{number}.png"
        Image.fromarray(np.full((256, 256, 3), number, np.uint8)).save(person / "Image" / name, compress_level=0)
        lines.append(" ".join(f"{value}" for value in given.ravel()) + f" {name}")
    (person / "all_98pt.txt").write_text("\n".join(lines))

    def refuse(name: str) -> LandmarkDetector:
        raise AssertionError("landmarks that came with the pictures need no detector")

    options = PrepareOptions(size=16, scheme=scheme.name)
    prepare_dataset(CelebVSource(tmp_path / "CelebV", "kathleen"), About("kathleen", "K"), options, refuse, tmp_path)
    data = FrameDataset(tmp_path / "kathleen")
    assert data.points(None)[0] == pytest.approx(convert_scheme(given, WFLW98, scheme), abs=1e-3)
    assert data.manifest.detector == "given"
    assert data.manifest.crop == DEFAULT_CROPS[scheme.name]
    assert [int(crop[8, 8, 0]) for crop in data.all_crops] == list(range(250))


def test_a_strangers_stretch_in_a_real_video_is_left_out(tmp_path: Path) -> None:
    """The reference picture of franck, then that of cap in the same place, then franck's again: the camera shakes."""

    def play() -> Iterator[Picture]:
        for name, count in (("franck", 40), ("cap", 20), ("franck", 40)):
            with Image.open(MODELS / name / "reference.jpg") as picture:
                face = picture.convert("RGB")
            for number in range(count):
                frame = Image.new("RGB", (360, 288), (120, 124, 118))
                frame.paste(face, (50 + number % 5, 16 + number % 3))
                yield np.asarray(frame)

    source = VideoSource([write_video(tmp_path / "mixed.mp4", play(), rate=10)])
    detector = load_detector("mesh", MODELS)
    prepare_dataset(source, About("me", "Me"), PrepareOptions(size=32), lambda name: detector, tmp_path)
    data = FrameDataset(tmp_path / "me")
    assert dict(data.manifest.left_out) == {"another person": 20}
    assert data.arrays["frame"].tolist() == [*range(40), *range(60, 100)]
