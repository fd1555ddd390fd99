"""Clips in, MP4 out: frame counts, times, sound, layouts, and nothing left of what fails."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.container import OutputContainer

from service.errors import NoFaceError, StorageError, UnsupportedVideoError, VideoDamagedError, VideoTooLargeError
from service.inference.bundles import BundleFolder
from service.inference.engine import Engine
from service.inference.face_service import FaceService
from service.media.clip_renderer import Progress, RenderOptions, render_clip
from service.media.video import VideoReader
from service.media.video_process import Shot, VideoLimits
from service.settings import Settings
from shared.detectors import DetectedFace
from tests.fixtures.painted import PaintedDetector, Picture, film, paint_people, write_video

pytestmark = pytest.mark.anyio

LIMITS = VideoLimits(seconds=60, pixels=1_000_000)
MILLISECOND = Fraction(1, 1000)


class GatedDetector(PaintedDetector):
    """Sees one frame, then waits for its gate."""

    def __init__(self) -> None:
        super().__init__()
        self.second = threading.Event()
        self.gate = threading.Event()

    def detect(self, image: Picture) -> list[DetectedFace]:
        if self.calls:
            self.second.set()
            assert self.gate.wait(60)
        return super().detect(image)


def make_studio(settings: Settings, detector: PaintedDetector) -> FaceService:
    return FaceService(settings, BundleFolder(settings.models_dir, "cpu", 1).scan(), detector, Engine(4))


@pytest.fixture
async def face_service(settings: Settings) -> AsyncIterator[FaceService]:
    made = make_studio(settings, PaintedDetector())
    yield made
    made.close()


def write_clip(
    path: Path,
    frames: Sequence[Picture],
    ticks: Sequence[int] | None = None,
    sound: str = "",
    codec: str = "mpeg4",
    rate: int = 48_000,
) -> Path:
    """Frames at these milliseconds (else 25 a second), with a tone of the codec and sample rate named."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt, video.bit_rate = "yuv420p", 4_000_000
        video.codec_context.time_base = MILLISECOND
        audio = container.add_stream(sound, rate=rate) if sound else None
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = ticks[index] if ticks else 40 * index, MILLISECOND
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            write_tone(container, audio, 48_000 * len(frames) // 25)
    return path


def write_tone(container: OutputContainer, stream: AudioStream, samples: int) -> None:
    for start in range(0, samples, 960):
        tone = np.sin(np.arange(start, start + 960) / 17).astype(np.float32)[None]
        heard = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        heard.pts, heard.sample_rate = start, 48_000
        for part in av.AudioResampler(stream.format, stream.layout, stream.rate).resample(heard):
            container.mux(stream.encode(part))
    container.mux(stream.encode(None))


def find_block_times(data: bytearray, track: int) -> Iterator[int]:
    """Where a Matroska file has the times of a track's blocks, two bytes each."""
    for place in range(len(data) - 8):
        width = 9 - data[place + 1].bit_length()  # of the size, which is told by its leading zeros
        body = place + 1 + width
        end = body + (int.from_bytes(data[place + 1 : body]) & ((1 << 7 * width) - 1))
        if data[place] == 0xA3 and data[body] == 0x80 + track and data[end : end + 1] in (b"\xa3", b"\x1f", b"\x1c"):
            yield body + 1


def read_clip(path: Path) -> list[Shot]:
    reader = VideoReader(path, LIMITS)
    try:
        return list(iter(reader.read, None))
    finally:
        reader.close()


async def make(
    face_service: FaceService, source: Path, tell: Callable[[Progress], None] = lambda _: None, **options: Any
) -> Path:
    result = source.with_name("result.mp4")
    limits = options.pop("limits", LIMITS)
    target = face_service.find_target("ada")
    await render_clip(face_service, target, source, result, RenderOptions(**options), limits, tell)
    assert sorted(each.name for each in source.parent.iterdir()) == sorted({source.name, result.name})
    return result


async def test_as_many_frames_as_there_were_at_the_times_they_had(face_service: FaceService, tmp_path: Path) -> None:
    ticks = [0, 40, 60, 160, 480, 500, 540, 541, 900, 1000]  # of a camera that took its time
    source = write_clip(tmp_path / "clip.mkv", list(film(1, len(ticks))), ticks)
    told: list[int] = []
    result = await make(face_service, source, tell=lambda progress: told.append(progress.frames))
    assert told == list(range(1, 11))
    assert [round(shot.seconds, 3) for shot in read_clip(result)] == [tick / 1000 for tick in ticks]
    with av.open(str(result)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height, stream.frames) == ("h264", 32, 32, 10)
        assert not container.streams.audio


async def test_a_steady_rate_stays(face_service: FaceService, tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mp4", film(1, 12), rate=Fraction(30_000, 1001))
    with av.open(str(await make(face_service, source))) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.average_rate) == (12, Fraction(30_000, 1001))


async def test_side_by_side_shows_the_clip_and_the_face(face_service: FaceService, tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mp4", film(1, 3))
    shots, before = read_clip(await make(face_service, source, layout="side-by-side")), read_clip(source)
    for shot, old in zip(shots, before, strict=True):
        assert shot.image.shape == (96, 160 + 96, 3)
        assert np.abs(shot.image[:, :156].astype(int) - old.image[:, :156]).mean() < 6  # colours and place kept
        assert shot.image[..., 2][:, -4:].mean() > shot.image[..., 2][:, 164:168].mean() + 150  # the tiny face's ramp


@pytest.mark.parametrize(
    ("name", "sound", "codec", "rate", "layout", "kept"),
    [
        ("a.mp4", "aac", "mpeg4", 48_000, "paste-back", ("aac", 48_000)),
        ("a.webm", "libopus", "libvpx", 48_000, "face", ("aac", 48_000)),
        ("a.mkv", "libmp3lame", "mpeg4", 44_100, "side-by-side", ("mp3float", 44_100)),
        ("a.mkv", "libmp3lame", "mpeg4", 8_000, "face", ("aac", 8_000)),  # MP4 takes no MP3 as slow as this
        ("a.mkv", "pcm_s16le", "mpeg4", 192_000, "face", ("aac", 96_000)),
        ("a.mkv", "pcm_s16le", "mpeg4", 37_800, "face", ("aac", 32_000)),
        ("a.avi", "pcm_s16le", "mpeg4", 6_000, "paste-back", ("aac", 7_350)),
    ],
)
async def test_the_sound_is_kept(
    face_service: FaceService,
    tmp_path: Path,
    name: str,
    sound: str,
    codec: str,
    rate: int,
    layout: str,
    kept: tuple[str, int],
) -> None:
    source = write_clip(tmp_path / name, list(film(1, 25)), sound=sound, codec=codec, rate=rate)
    result = await make(face_service, source, layout=layout)
    with av.open(str(result)) as container:
        audio = container.streams.audio[0]
        assert (audio.codec_context.name, audio.rate) == kept
        heard = sum(frame.samples for frame in container.decode(audio)) / audio.rate
        assert heard == pytest.approx(1, abs=0.2)
    assert len(read_clip(result)) == 25


@pytest.mark.parametrize("sound", ["aac", "pcm_s16le"])  # taken over as it is, and encoded anew
async def test_a_stretch_of_a_clip_is_made_with_its_sound(
    face_service: FaceService, tmp_path: Path, sound: str
) -> None:
    source = write_clip(tmp_path / "clip.mkv", list(film(1, 50)), sound=sound)
    told: list[int | None] = []
    result = await make(
        face_service,
        source,
        tell=lambda progress: told.append(progress.total),
        layout="side-by-side",
        start=0.5,
        end=1.3,
        limits=VideoLimits(1, 10**6),
    )
    made, before = read_clip(result), read_clip(source)[13:33]
    assert [round(shot.seconds, 2) for shot in made] == [round(0.02 + 0.04 * index, 2) for index in range(20)]
    for shot, old in zip(made, before, strict=True):
        assert np.abs(shot.image[:, :156].astype(int) - old.image[:, :156]).mean() < 6
    assert told[0] == 20
    with av.open(str(result)) as container:
        frames = list(container.decode(audio=0))
    assert sum(frame.samples for frame in frames) / frames[0].rate == pytest.approx(0.8, abs=0.06)
    assert frames[0].time == pytest.approx(0, abs=0.03)


async def test_a_stretch_that_is_not_there_is_told(face_service: FaceService, tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mp4", film(1, 25))
    with pytest.raises(UnsupportedVideoError, match=r"1\.0 seconds long: nothing is left of it from second 2 on"):
        await make(face_service, source, start=2)
    with pytest.raises(ValueError, match="'end' must be later than 'start'"):
        RenderOptions(start=2, end=1)


@pytest.mark.parametrize("track", [1, 2])
async def test_one_damaged_time_fails_no_clip(face_service: FaceService, tmp_path: Path, track: int) -> None:
    """A Matroska block, of the pictures or of the sound, says that it is 32 seconds later than it is."""
    source = write_clip(tmp_path / "clip.mkv", list(film(1, 25)), sound="libmp3lame")
    data = bytearray(source.read_bytes())
    place = list(find_block_times(data, track))[8]
    data[place : place + 2] = b"\x7f\xff"
    source.write_bytes(data)
    result = await make(face_service, source, layout="paste-back", limits=VideoLimits(5, 10**6))
    assert [round(shot.seconds, 2) for shot in read_clip(result)] == [index / 25 for index in range(25)]
    with av.open(str(result)) as container:
        heard = sum(frame.samples for frame in container.decode(audio=0)) / 48_000
    assert heard == pytest.approx(1, abs=0.2)


async def test_a_clip_without_any_face_fails_in_words(face_service: FaceService, tmp_path: Path) -> None:
    empty = write_video(tmp_path / "clip.mp4", [np.full((96, 160, 3), 20, np.uint8)] * 3)
    with pytest.raises(NoFaceError, match="none of the video's 3 frames no face"):
        await make(face_service, empty)
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]
    write_video(empty, film(1, 3))
    with pytest.raises(NoFaceError, match="number 4"):
        await make(face_service, empty, face=4)


async def test_frames_without_a_face(face_service: FaceService, tmp_path: Path) -> None:
    """The face waits as it was; pasted back, the frame is shown as it is. Before the first, the target is at rest."""
    empty = np.full((96, 160, 3), 20, np.uint8)
    person = paint_people((1, 40, 16, 64))
    source = write_clip(tmp_path / "clip.mp4", [empty, person, empty, empty])
    counts: list[tuple[int, int]] = []
    result = await make(face_service, source, tell=lambda each: counts.append((each.frames, each.without_face)))
    assert counts == [(1, 1), (2, 1), (3, 2), (4, 3)]
    first, second, third, fourth = (shot.image.astype(int) for shot in read_clip(result))
    assert np.abs(first - second).mean() > 3
    assert np.abs(second - third).mean() < 1
    assert np.abs(second - fourth).mean() < 1
    pasted = read_clip(await make(face_service, source, layout="paste-back"))
    frames = (empty, person, empty, empty)
    changes = [np.abs(shot.image.astype(int) - old).mean() for shot, old in zip(pasted, frames, strict=True)]
    assert changes[1] > 4
    assert max(changes[0], changes[2], changes[3]) < 3


async def test_turned_and_odd_sized_clips(face_service: FaceService, tmp_path: Path) -> None:
    """A phone's clip comes out upright; H.264 wants even sides, and gets a pixel more."""
    frames = [np.ascontiguousarray(np.rot90(paint_people((1, 40, 16, 64), width=161))) for _ in range(2)]
    source = write_video(tmp_path / "clip.mp4", frames, rotation=-90)
    (shot, _), (before, _) = read_clip(await make(face_service, source, layout="paste-back")), read_clip(source)
    assert before.image.shape[:2] in ((96, 160), (96, 161))
    assert shot.image.shape[:2] == (96, before.image.shape[1] + before.image.shape[1] % 2)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", UnsupportedVideoError),
        (b"just text", UnsupportedVideoError),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n", UnsupportedVideoError),
        (b"ffconcat version 1.0\nfile secret.mp4\n", UnsupportedVideoError),
    ],
)
async def test_files_that_are_no_video(
    face_service: FaceService, tmp_path: Path, content: bytes, error: type[Exception]
) -> None:
    write_video(tmp_path / "secret.mp4", film(1, 2))
    source = tmp_path / "own" / "clip.mp4"
    source.parent.mkdir()
    source.write_bytes(content)
    with pytest.raises(error):
        await make(face_service, source)
    assert [each.name for each in source.parent.iterdir()] == ["clip.mp4"]


async def test_limits(face_service: FaceService, tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mp4", film(1, 50))
    for limits, words in ((VideoLimits(1, 10**6), "2 seconds"), (VideoLimits(60, 15_359), "160 x 96")):
        with pytest.raises(VideoTooLargeError, match=words):
            await make(face_service, source, limits=limits)
    sound_alone = tmp_path / "sound.mp4"
    with av.open(str(sound_alone), "w") as container:
        write_tone(container, container.add_stream("aac", rate=48_000), 9600)
    with pytest.raises(UnsupportedVideoError, match="no video"):
        VideoReader(sound_alone, LIMITS)


async def test_damage_is_stepped_over_and_nothing_but_damage_is_refused(tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mkv", film(1, 40))
    data = bytearray(source.read_bytes())
    noise = np.random.default_rng(0).integers(0, 256, len(data) // 8, np.uint8).tobytes()
    data[len(data) // 2 : len(data) // 2 + len(noise)] = noise
    source.write_bytes(data)
    assert 10 < len(read_clip(source)) <= 40
    whole = write_video(tmp_path / "clip.mp4", film(1, 40)).read_bytes()
    start, end = whole.index(b"mdat") + 4, whole.index(b"moov") - 4
    source.write_bytes(whole[:start] + bytes(end - start) + whole[end:])
    with pytest.raises(VideoDamagedError):
        read_clip(source)


async def test_a_cancelled_clip_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    detector = GatedDetector()
    face_service = make_studio(settings, detector)
    source = write_video(tmp_path / "clip.mp4", film(1, 40))
    work = asyncio.ensure_future(make(face_service, source))
    assert await asyncio.to_thread(detector.second.wait, 60)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    detector.gate.set()
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]
    face_service.close()


@pytest.mark.parametrize("layout", ["face", "paste-back"])
async def test_a_full_disk_is_told_and_leaves_nothing(face_service: FaceService, tmp_path: Path, layout: str) -> None:
    """/dev/full fails each write as a full disk does; the unfinished file is made to lie there."""
    source = write_video(tmp_path / "clip.mp4", film(1, 40))
    (tmp_path / ".result.mp4.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left"):
        await make(face_service, source, layout=layout)
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]
