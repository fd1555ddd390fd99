"""Films of keyframes: what POST /animate asks for, and the job that makes it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import av
import numpy as np
from av.container import OutputContainer
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.errors import StorageError
from service.inference.bundles import Target
from service.inference.face_service import FaceService, Stopwatch
from service.inference.synthesis import WHOLE, Units, View, place_landmarks
from service.media.clip_renderer import Progress
from service.media.images import resize_picture
from service.media.keyframes import find_blink, interpolate, shut_eyes
from service.provenance.label import Label
from service.provenance.marker import Marker
from service.provenance.origin import Origin
from service.provenance.xmp import make_xmp
from service.threads import run_in
from shared.animation import DrivingFace
from shared.landmarks import Points, get_scheme
from shared.pixels import Image8

FilmFormat = Literal["mp4", "gif", "webp"]
MEDIA_TYPES = {"mp4": "video/mp4", "gif": "image/gif", "webp": "image/webp"}

LONGEST = 60.0  # seconds
MOST_PIXELS = 64_000_000  # of all frames of a GIF or WebP, which are held in memory
ENCODING = {"preset": "veryfast", "crf": "18", "x264-params": "chroma-qp-offset=-6"}  # as in `service.media.video`
WEBP_QUALITY = 85

Coordinate = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Keyframe(BaseModel):
    """A face at a moment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float = Field(ge=0, le=LONGEST)
    landmarks: tuple[tuple[Coordinate, Coordinate], ...] = Field(max_length=1000)
    scheme: str | None = Field(default=None, max_length=64, description="Default: guessed from the count.")
    convert: bool = Field(default=True, description="False where the landmarks have the target's own shape already.")
    units: Units = Field(default="any", description="As in POST /synthesize.")
    view: View = Field(default=WHOLE, description="As in POST /synthesize.")


class FilmOptions(BaseModel):
    """How a film is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str | None = Field(default=None, max_length=64, description="Target id, as GET /targets lists them.")
    format: FilmFormat = "mp4"
    size: int | None = Field(default=None, ge=16, le=1024, description="Pixels a side; default: the target's own size.")
    rate: int = Field(default=25, ge=1, le=50, description="Frames a second.")
    label: Label = Field(default="none", description="A label that people see, in a corner of every frame.")
    blinks: bool = Field(default=False, description="Shut the eyes for a moment every few seconds.")


class FilmOrder(FilmOptions):
    """The body of POST /animate: faces at moments, each later than the one before."""

    keyframes: tuple[Keyframe, ...] = Field(min_length=2, max_length=100)

    @model_validator(mode="after")
    def _fits_together(self) -> "FilmOrder":
        if any(later.seconds <= earlier.seconds for earlier, later in pairwise(self.keyframes)):
            raise ValueError("each keyframe must be later than the one before")
        pixels = self.count_frames() * (self.size or 256) ** 2
        if self.format != "mp4" and pixels > MOST_PIXELS:
            raise ValueError(
                f"this {self.format} would have {pixels} pixels in all its frames, of which {MOST_PIXELS} are allowed; "
                "take a lower rate or size, or mp4"
            )
        return self

    def count_frames(self) -> int:
        """How many frames the film has."""
        return round((self.keyframes[-1].seconds - self.keyframes[0].seconds) * self.rate) + 1

    def place(self, target: Target) -> list[DrivingFace]:
        """The keyframes for the target's networks. Raises LandmarksError, saying which it is about."""
        return [
            DrivingFace(place_landmarks(each.landmarks, each.scheme, target.manifest, each.units).points, each.convert)
            for each in self.keyframes
        ]


class FilmWriter:
    """Frames into a file, marked as synthetic, one call after the other in one thread. Raises StorageError."""

    def __init__(self, path: Path, options: FilmOptions, marker: Marker, origin: Origin) -> None:
        self.path, self.format, self.rate, self.label = path, options.format, options.rate, options.label
        self.marker, self.origin = marker, origin
        self._frames: list[Image.Image] = []
        self._container: OutputContainer | None = None

    def add(self, picture: Image8) -> None:
        """The next frame ``(S, S, 3)``."""
        picture = self.marker.draw(picture, self.origin, self.label)
        if self.format != "mp4":
            self._frames.append(Image.fromarray(picture))
            return
        odd = picture.shape[0] % 2  # H.264 wants even sides
        picture = np.pad(picture, ((0, odd), (0, odd), (0, 0)), mode="edge")
        try:
            if self._container is None:
                self._container = av.open(self.path, "w", format="mp4", options={"movflags": "+faststart"})
                self._stream = self._container.add_stream("libx264", rate=Fraction(self.rate), options=ENCODING)
                self._stream.width = self._stream.height = picture.shape[0]
                self._stream.pix_fmt = "yuv420p"
            self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        except OSError as error:
            raise StorageError.of(error) from error

    def finish(self) -> None:
        """The file is whole. Raises MarkingError, too."""
        try:
            if self._container is not None:
                self._container.mux(self._stream.encode())
                self._container.close()
                self.marker.seal(self.path, self.origin)
                return
            first, *others = self._frames
            milliseconds = round(1000 / self.rate)
            options = {"save_all": True, "append_images": others, "duration": milliseconds, "loop": 0}
            if self.format == "webp":
                options |= {"quality": WEBP_QUALITY, "method": 2, "xmp": make_xmp(self.origin)}
            else:
                options |= {"comment": f"AI-generated: {self.origin.target}, {self.origin.source_type}"}
            first.save(self.path, self.format.upper(), **options)
            self.marker.sign_animation(self.path, MEDIA_TYPES[self.format], self.origin)
        except OSError as error:
            raise StorageError.of(error) from error

    def close(self) -> None:
        """Let go of the file, finished or not."""
        if self._container is not None:
            self._container.close()


async def render_film(
    face_service: FaceService, target: Target, order: FilmOrder, result: Path, tell: Callable[[Progress], None]
) -> Progress:
    """Make `result`. `tell` is called after each frame.

    Each keyframe is converted first, so that what is in between goes from one of the target's own faces to another.
    Raises LandmarksError, StorageError and MarkingError.
    """
    scheme, watch = get_scheme(target.manifest.scheme), Stopwatch()
    driving = order.place(target)
    keyed = await asyncio.gather(*(face_service.animate(target, each, watch) for each in driving))
    faces = np.stack([each.points for each in keyed])  # (K, N, 2)
    moments = [each.seconds for each in order.keyframes]
    writer = FilmWriter(result, order, face_service.marker, Origin.of(target))
    progress = Progress(total=order.count_frames())

    views = np.array([(each.view.x, each.view.y, each.view.side) for each in order.keyframes])  # (K, 3)

    async def make(seconds: float, points: Points, view: View) -> Image8:
        shut = find_blink(seconds) if order.blinks else 0.0
        face = await face_service.animate(target, DrivingFace(shut_eyes(points, shut, scheme), False), watch)
        return await asyncio.to_thread(resize_picture, view.cut(face.picture), order.size or face.picture.shape[0])

    hand = ThreadPoolExecutor(1, thread_name_prefix="film")
    try:
        shown = interpolate(moments, views, order.rate)
        for (seconds, points), (_, (x, y, side)) in zip(interpolate(moments, faces, order.rate), shown, strict=True):
            view = View(x=x, y=y, side=side)
            await run_in(hand, writer.add, await make(seconds, points.astype(np.float32), view))
            progress.frames += 1
            tell(progress)
        await run_in(hand, writer.finish)
    finally:
        hand.submit(writer.close)  # behind whatever the thread still does
        hand.shutdown(wait=False)
    return progress
