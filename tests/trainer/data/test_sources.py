"""Frames from real little videos, photos and CelebV folders, with the traps of each."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from shared.landmarks import WFLW98
from tests.fixtures.painted import PaintedDetector, film, paint_people, write_video
from trainer.data.celebv import CelebVSource
from trainer.data.scan import load_scan, save_scan, scan_source
from trainer.data.sources import Frame, PhotoSource, Skipped, VideoSource
from trainer.errors import SourceError


def read_frames(source: VideoSource | PhotoSource | CelebVSource) -> list[Frame]:
    return [item for item in source.read() if isinstance(item, Frame)]


def test_video_frames_come_in_order_with_their_times(tmp_path: Path) -> None:
    first = write_video(tmp_path / "a.mp4", film(1, 6), rate=Fraction(30000, 1001))
    second = write_video(tmp_path / "b.mp4", film(1, 4), rate=10)
    source = VideoSource([first, second])
    frames = read_frames(source)
    assert [(frame.source, frame.number) for frame in frames] == [(0, n) for n in range(6)] + [(1, n) for n in range(4)]
    assert frames[5].time == pytest.approx(5 * 1001 / 30000, abs=1e-4)
    assert frames[9].time == pytest.approx(0.3)
    assert [file.name for file in source.files] == ["a.mp4", "b.mp4"]
    assert source.files[1].fps == 10
    assert source.expected == 10
    assert [frame.time for frame in read_frames(source)] == [frame.time for frame in frames]


def test_video_colours_are_red_green_blue(tmp_path: Path) -> None:
    red = np.zeros((32, 48, 3), np.uint8)
    red[..., 0] = 255
    frame = read_frames(VideoSource([write_video(tmp_path / "red.mp4", [red] * 3)]))[0]
    assert frame.image.shape == (32, 48, 3)
    assert frame.image[..., 0].min() > 200
    assert frame.image[..., 1:].max() < 50


def test_video_is_turned_as_the_file_asks(tmp_path: Path) -> None:
    lying = np.zeros((32, 64, 3), np.uint8)
    lying[:, :16] = 255  # white at the left: at the bottom once turned against the clock
    image = read_frames(VideoSource([write_video(tmp_path / "phone.mp4", [lying] * 3, rotation=90)]))[0].image
    assert image.shape == (64, 32, 3)
    assert image[-10:].min() > 200
    assert image[:40].max() < 50


def test_damaged_stretch_of_a_video_is_skipped(tmp_path: Path) -> None:
    path = write_video(tmp_path / "live.ts", film(1, 60), codec="mpeg2video")
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    assert 10 < len(read_frames(VideoSource([path]))) < 60


def test_unreadable_videos_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="There is no video"):
        VideoSource([tmp_path / "nowhere.mp4"])
    text = tmp_path / "text.mp4"
    text.write_text("not a video at all")
    with pytest.raises(SourceError, match=r"text\.mp4 can't be read as a video"):
        VideoSource([text])
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        wave = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        wave.sample_rate = 8000
        container.mux(stream.encode(wave))
    with pytest.raises(SourceError, match="holds no video"):
        VideoSource([sound])
    whole = write_video(tmp_path / "whole.mp4", film(1, 20))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(SourceError, match=r"cut\.mp4"):
        VideoSource([cut])


def test_photos_are_upright_and_broken_ones_named(tmp_path: Path) -> None:
    lying = np.zeros((30, 60, 3), np.uint8)
    lying[:, :20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the left becomes the top
    Image.fromarray(lying).save(tmp_path / "b.jpg", exif=exif)
    Image.new("LA", (20, 10), (200, 100)).save(tmp_path / "a.PNG")
    (tmp_path / "c.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:200])
    (tmp_path / "notes.txt").write_text("no picture")
    source = PhotoSource(tmp_path)
    items = list(source.read())
    assert items[2] == Skipped("c.jpg", "broken picture")
    frames = read_frames(source)
    assert [frame.number for frame in frames] == [0, 1]
    assert frames[0].image.shape == (10, 20, 3)
    assert frames[1].image.shape == (60, 30, 3)
    assert frames[1].image[:15].min() > 200
    assert source.files[0].fps is None


def test_photo_folder_must_exist_and_hold_pictures(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no folder"):
        PhotoSource(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="no pictures"):
        PhotoSource(tmp_path)


def write_celebv(folder: Path, lines: list[str], pictures: list[str]) -> None:
    (folder / "Image").mkdir(parents=True)
    (folder / "all_98pt.txt").write_text("\n".join(lines) + "\n")
    for name in pictures:
        Image.fromarray(paint_people((1, 40, 16, 64), width=256, height=256)).save(folder / "Image" / name)


def celebv_line(name: str, shift: float = 0) -> str:
    points = np.stack([np.arange(98) + 60.5 + shift, (np.arange(98) * 7) % 98 + 80.25], axis=1)
    return " ".join(f"{value:.3f}" for value in points.ravel()) + f" {name}"


def test_celebv_with_its_traps(tmp_path: Path) -> None:
    lines = [
        celebv_line("frame one.png"),  # a name with a space
        celebv_line("two.png", shift=3),
        " ".join(celebv_line("short.png").split(" ")[4:]),  # two points are missing
        celebv_line("gone.png"),
        celebv_line("nan.png").replace("60.500", "nan", 1),
        celebv_line("../all_98pt.txt"),
        celebv_line("three.png") + "  ",
        celebv_line("four.png"),
    ]
    write_celebv(tmp_path / "Donald_trump", lines, ["frame one.png", "two.png", "three.png", "four.png"])
    source = CelebVSource(tmp_path, "trump")
    frames = read_frames(source)
    assert [frame.number for frame in frames] == [0, 1, 6, 7]
    assert frames[1].landmarks is not None
    assert frames[1].landmarks.shape == (98, 2)
    assert frames[1].landmarks[0] == pytest.approx([63.5, 80.25])
    assert frames[2].time == pytest.approx(6 / 25)
    skipped = [item for item in source.read() if isinstance(item, Skipped)]
    assert [item.name for item in skipped] == [
        "all_98pt.txt line 3",
        "gone.png",
        "all_98pt.txt line 5",
        "all_98pt.txt line 6",
    ]
    assert skipped[1].reason == "missing picture"
    assert source.scheme == WFLW98.name


def test_celebv_mostly_broken_is_refused_by_line_number(tmp_path: Path) -> None:
    write_celebv(tmp_path / "Jack_Ma", ["1 2 3 a.png", "4 5 b.png", celebv_line("c.png")], ["c.png"])
    with pytest.raises(SourceError, match=r"2 of 3 lines are broken \(all_98pt.txt line 1: .*line 2"):
        CelebVSource(tmp_path, "ma")


def test_celebv_layout_is_explained(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no folder Emmanuel_Macron .*all_98pt\.txt"):
        CelebVSource(tmp_path, "macron")
    (tmp_path / "Emmanuel_Macron").mkdir()
    with pytest.raises(SourceError, match=r"all_98pt\.txt can't be read"):
        CelebVSource(tmp_path, "macron")


def test_scan_is_kept_and_a_damaged_one_is_done_again(tmp_path: Path) -> None:
    source = VideoSource([write_video(tmp_path / "a.mp4", [*film(1, 3), np.zeros((96, 160, 3), np.uint8)])])
    scan = scan_source(source, PaintedDetector(), "test")
    assert scan.number.tolist() == [0, 1, 2, 3]
    assert scan.entry.tolist() == [0, 1, 2]
    assert scan.thumbs.shape == (3, 32, 32, 3)
    path = tmp_path / "kept" / "scan.npz"
    assert load_scan(path) is None
    save_scan(scan, path)
    again = load_scan(path)
    assert again is not None
    assert np.array_equal(again.landmarks, scan.landmarks)
    assert again.reasons == scan.reasons
    path.write_bytes(path.read_bytes()[:100])
    assert load_scan(path) is None
