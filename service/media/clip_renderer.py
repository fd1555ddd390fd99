"""A whole clip, played by the target: what a video job and the shell command both do."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from service.inference.face_player import FacePlayer, Layout, compose
from service.inference.face_service import FaceService, Stopwatch
from service.media.clip_neutral import find_clip_neutral
from service.media.video import Shot, VideoFacts, VideoLimits, VideoReader, VideoWriter
from service.provenance.label import Label
from service.provenance.marker import Marker
from service.provenance.origin import Origin
from shared.animation import Face
from shared.geometry import Crop

Made = TypeVar("Made")


class RenderOptions(BaseModel):
    """What is made of a clip."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str | None = Field(default=None, max_length=64, description="Target id, as GET /targets lists them.")
    layout: Layout = Field(default="face", description="The face alone, beside the clip, or pasted into it.")
    face: int = Field(default=0, ge=0, le=1000, description="Which face, by size when it is first seen; 0 the largest.")
    label: Label = Field(default="none", description="A label that people see, in a corner of every frame.")
    smoothing: bool = Field(default=True, description="Steady the landmarks over time.")


@dataclass
class Progress:
    """How far a clip is: frames made, of about so many (None: nobody knows), and those that showed no face."""

    frames: int = 0
    total: int | None = None
    without_face: int = 0


class ClipRenderer:
    """A source being read and a result being written. All of it runs in one thread, one call after the other."""

    def __init__(
        self, source: Path, result: Path, options: RenderOptions, limits: VideoLimits, marker: Marker, origin: Origin
    ) -> None:
        self.source, self.result, self.options, self.limits = source, result, options, limits
        self.marker, self.origin = marker, origin
        self._reader: VideoReader | None = None
        self._writer: VideoWriter | None = None

    def open(self) -> VideoFacts:
        """Raises what VideoReader raises."""
        self._reader = VideoReader(self.source, self.limits)
        return self._reader.facts

    def next(self) -> Shot | None:
        """The next frame, None after the last."""
        assert self._reader is not None
        return self._reader.read()

    def add(self, shot: Shot, face: Face, crop: Crop | None) -> None:
        """Compose and write a frame. Raises StorageError."""
        assert self._reader is not None
        composed = compose(self.options.layout, shot.image, face, crop)
        picture = self.marker.draw(composed, self.origin, self.options.label)
        if self._writer is None:
            height, width = picture.shape[:2]
            sound = self.source if self.options.layout == "paste-back" else None
            self._writer = VideoWriter(self.result, width, height, self._reader.facts, sound)
        self._writer.write(picture, shot.ticks)

    def finish(self) -> None:
        """The result is in its place. Raises StorageError and MarkingError."""
        assert self._writer is not None
        self._writer.finish(lambda part: self.marker.seal(part, self.origin))

    def close(self) -> None:
        """Close both files; an unfinished result is removed."""
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            self._writer.discard()


async def render_clip(
    face_service: FaceService,
    source: Path,
    result: Path,
    options: RenderOptions,
    limits: VideoLimits,
    tell: Callable[[Progress], None],
) -> Progress:
    """Make `result`, an MP4 with the source's frames and times. `tell` is called after each frame.

    The clip is watched once before, for the neutral face of who drives. A frame without the face keeps the last one
    made; pasted back, it stays as it is. Raises UnsupportedVideoError, VideoTooLargeError, VideoDamagedError,
    StorageError, DetectorUnavailableError and the errors of `FaceService.find_target`. Whatever ends it, a cancellation
    too, no half of a result stays.
    """
    target = face_service.find_target(options.target)
    neutral = await find_clip_neutral(FacePlayer(face_service, target, options.face), source, limits)
    player = FacePlayer(face_service, target, options.face, smooth=options.smoothing, neutral=neutral)
    origin = Origin.of(target, composite=options.layout != "face")
    renderer = ClipRenderer(source, result, options, limits, face_service.marker, origin)
    progress, watch = Progress(), Stopwatch()
    hand = ThreadPoolExecutor(1, thread_name_prefix="film")
    begun: list[asyncio.Future[Any]] = []

    def begin(call: Callable[..., Made], *arguments: Any) -> asyncio.Future[Made]:
        future = asyncio.get_running_loop().run_in_executor(hand, partial(call, *arguments))
        begun[:] = [*(each for each in begun if not each.done()), future]
        return future

    async def end() -> None:
        await asyncio.gather(*begun, return_exceptions=True)
        await begin(renderer.close)  # behind whatever the thread still does
        hand.shutdown(wait=False)

    try:
        progress.total = (await begin(renderer.open)).frames
        coming = begin(renderer.next)
        written: asyncio.Future[None] | None = None
        face: Face | None = None
        while (shot := await coming) is not None:
            coming = begin(renderer.next)  # while the networks are at work on this one
            take = await player.play(shot.image, shot.seconds, watch)
            face = take.face if take else face or await player.rest(watch)
            if written is not None:
                await written
            written = begin(renderer.add, shot, face, take.crop if take else None)
            progress.frames += 1
            progress.without_face += take is None
            tell(progress)
        if written is not None:
            await written
        await begin(renderer.finish)
    finally:
        await asyncio.shield(end())
    return progress
