"""A whole clip, played by the target: what a video job and the shell command both do."""

import asyncio
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.errors import NoFaceError, StorageError
from service.inference.bundles import Target
from service.inference.face_player import FacePlayer, FoundFrame, Layout, compose
from service.inference.face_service import FaceService, Stopwatch
from service.inference.synthesis import Placed
from service.media.clip_neutral import find_clip_neutral
from service.media.video_process import Shot, Stretch, VideoFacts, VideoLimits, VideoProcess
from service.provenance.label import Label
from service.provenance.marker import Marker
from service.provenance.origin import Origin
from service.threads import run_in
from shared.animation import Face

Made = TypeVar("Made")

LATEST_START = 3600.0  # seconds: what comes before has to be decoded, too


class RenderOptions(BaseModel):
    """What is made of a clip."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str | None = Field(default=None, max_length=64, description="Target id, as GET /targets lists them.")
    layout: Layout = Field(default="face", description="The face alone, beside the clip, or pasted into it.")
    face: int = Field(default=0, ge=0, le=1000, description="Which face, by size when it is first seen; 0 the largest.")
    label: Label = Field(default="none", description="A label that people see, in a corner of every frame.")
    smoothing: bool = Field(default=True, description="Steady the landmarks over time.")
    start: float = Field(default=0, ge=0, le=LATEST_START, description="Second of the clip at which the video begins.")
    end: float | None = Field(default=None, gt=0, description="Second at which it ends; default: where the clip does.")

    @model_validator(mode="after")
    def _leaves_something(self) -> "RenderOptions":
        if self.end is not None and self.end <= self.start:
            raise ValueError("'end' must be later than 'start'")
        return self

    @property
    def stretch(self) -> Stretch:
        """What of the clip is wanted."""
        return Stretch(self.start, math.inf if self.end is None else self.end)


@dataclass
class Progress:
    """How far a clip is: frames made, of about so many (None: nobody knows), and those that showed no face."""

    frames: int = 0
    total: int | None = None
    without_face: int = 0


class ClipRenderer:
    """A source being read and a result being written. All but `kill` runs in one thread, one call after the other."""

    def __init__(
        self, source: Path, result: Path, options: RenderOptions, limits: VideoLimits, marker: Marker, origin: Origin
    ) -> None:
        self.source, self.result, self.options, self.limits = source, result, options, limits
        self.marker, self.origin = marker, origin
        self._part = result.with_name(f".{result.name}.part")
        self._process: VideoProcess | None = None
        self._begun = self._killed = False

    def open(self) -> VideoFacts:
        """Raises what VideoProcess raises, as all of it does."""
        self._process = VideoProcess(self.source, self.limits, self.options.stretch)
        if self._killed:
            self._process.kill()
        return self._process.open()

    def next(self) -> Shot | None:
        """The next frame, None after the last."""
        assert self._process is not None
        return self._process.read()

    def add(self, shot: Shot, face: Face, driver: Placed | None) -> None:
        """Compose and write a frame."""
        assert self._process is not None
        composed = compose(self.options.layout, shot.image, face, driver)
        picture = self.marker.draw(composed, self.origin, self.options.label)
        if not self._begun:
            self._process.begin(self._part, picture.shape[1], picture.shape[0])
            self._begun = True
        self._process.write(picture, shot.ticks)

    def finish(self) -> None:
        """The result is sealed and in its place. Raises MarkingError."""
        assert self._process is not None
        self._process.finish()
        try:
            self.marker.seal(self._part, self.origin)
            with self._part.open("rb") as file:
                os.fsync(file.fileno())
            self._part.replace(self.result)
        except OSError as error:
            raise StorageError.of(error) from error

    def kill(self) -> None:
        """Whatever goes on ends at once, between two packets too. From any thread."""
        self._killed = True
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Nothing runs any more; an unfinished result is removed."""
        if self._process is not None:
            self._process.close()
        self._part.unlink(missing_ok=True)


async def render_clip(
    face_service: FaceService,
    target: Target,
    source: Path,
    result: Path,
    options: RenderOptions,
    limits: VideoLimits,
    tell: Callable[[Progress], None],
) -> Progress:
    """Make `result`, an MP4 with the source's frames and times. `tell` is called after each frame.

    The clip is watched once before, for the neutral face of who drives. A frame without the face keeps the last one
    made; pasted back, it stays as it is. Raises UnsupportedVideoError, VideoTooLargeError, VideoDamagedError,
    NoFaceError for a clip without any face, StorageError and DetectorUnavailableError. Whatever ends it, a cancellation
    too, no half of a result stays.
    """
    neutral = await find_clip_neutral(FacePlayer(face_service, target, options.face), source, limits, options.stretch)
    player = FacePlayer(face_service, target, options.face, smooth=options.smoothing, neutral=neutral)
    origin = Origin.of(target, composite=options.layout != "face")
    renderer = ClipRenderer(source, result, options, limits, face_service.marker, origin)
    progress, watch = Progress(), Stopwatch()
    hand = ThreadPoolExecutor(1, thread_name_prefix="film")
    begun: list[asyncio.Future[Any]] = []

    def begin(call: Callable[..., Made], *arguments: Any) -> asyncio.Future[Made]:
        future = run_in(hand, call, *arguments)
        begun[:] = [*(each for each in begun if not each.done()), future]
        return future

    async def end() -> None:
        renderer.kill()
        if drawing is not None:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)
        await asyncio.gather(*begun, return_exceptions=True)
        await begin(renderer.close)  # behind whatever the thread still does
        hand.shutdown(wait=False)

    face: Face | None = None
    written: asyncio.Future[None] | None = None
    drawing: asyncio.Task[None] | None = None

    async def draw(shot: Shot, found: FoundFrame | None) -> None:
        nonlocal face, written
        take = None if found is None else await player.draw(found, watch)
        face = take.face if take else face or await player.rest(watch)
        if written is not None:
            await written
        written = begin(renderer.add, shot, face, take.driver if take else None)
        progress.frames += 1
        progress.without_face += take is None
        tell(progress)

    try:
        progress.total = (await begin(renderer.open)).frames
        coming = begin(renderer.next)
        while (shot := await coming) is not None:
            coming = begin(renderer.next)  # while the networks are at work on this one
            found = await player.follow(shot.image, shot.seconds, watch)
            if drawing is not None:
                await drawing
            drawing = asyncio.create_task(draw(shot, found))  # while the next one is followed
        if drawing is not None:
            await drawing
        if written is not None:
            await written
        if progress.without_face == progress.frames:
            which = "no face was found" if options.face == 0 else f"there was no face of the number {options.face}"
            raise NoFaceError(
                f"In none of the video's {progress.frames} frames {which}.",
                "A video of a face that is not too small or turned.",
            )
        await begin(renderer.finish)
    finally:
        await asyncio.shield(end())
    return progress
