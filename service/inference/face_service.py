"""The way from landmarks or a picture to the target's face; it knows nothing of HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.errors import FaceIndexError, NoFaceError, OptionError, UnnamedTargetError
from service.inference.bundles import Catalogue, Target
from service.inference.engine import Engine, Step
from service.inference.synthesis import (
    WHOLE,
    Units,
    View,
    find_source_neutral,
    place_landmarks,
    place_neutral,
)
from service.media.images import PictureFormat, count_pixels, decode_picture, resize_picture
from service.media.pixel_room import PixelRoom
from service.provenance.inspection import Provenance, inspect_picture
from service.provenance.label import Label
from service.provenance.marker import Marker
from service.provenance.origin import Origin
from service.settings import Settings
from service.threads import run_in
from shared.animation import DrivingFace, Face
from shared.detectors import DetectedFace, LandmarkDetector
from shared.detectors.tracker import FaceTracker
from shared.errors import DetectorUnavailableError
from shared.geometry import Crop
from shared.landmarks import Points, get_scheme
from shared.pasting import paste_into
from shared.patch import Patch
from shared.pixels import Image8

Made = TypeVar("Made")

CONVERT_OR_NEUTRAL = "'source_neutral' with 'convert' left true, or 'convert' false without it."


@dataclass(frozen=True)
class Output:
    """How a picture leaves: `size` in pixels a side, None for the network's own; `quality` of jpeg and webp."""

    format: PictureFormat = "jpeg"
    size: int | None = None
    quality: int | None = None
    label: Label = "none"


@dataclass
class Stopwatch:
    """Stage -> seconds, in the order in which they came."""

    stages: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, seconds: float) -> None:
        """Add to a stage."""
        self.stages[stage] = self.stages.get(stage, 0.0) + seconds

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started)


@dataclass(frozen=True)
class SynthesisResult:
    """An answer: the encoded picture and what led to it.

    `landmarks` are the target's, in crop units ``(N, 2)``; `crop` is in the caller's units (pixels of an uploaded
    picture). `faces` counts the uploaded picture's; `face` is the one taken.
    """

    target: Target
    data: bytes
    output: Output
    width: int
    height: int
    landmarks: Points
    crop: Crop
    stages: dict[str, float]
    face: DetectedFace | None = None
    faces: int = 0


@dataclass(frozen=True)
class BatchResult:
    """Bare pictures ``(n, S, S, 3)`` of one target, marked in their pixels."""

    target: Target
    pictures: Image8
    stages: dict[str, float]


@dataclass(frozen=True)
class DetectedFaces:
    """The faces of a picture, the largest first, and the size of the upright picture in pixels."""

    faces: list[DetectedFace]
    width: int
    height: int


@dataclass(frozen=True)
class Detection:
    """What was seen in one or more pictures; `neutral` ``(N, 2)`` is that of their largest faces, in no unit."""

    pictures: list[DetectedFaces]
    neutral: Points | None
    scheme: str
    detector: str
    stages: dict[str, float]


class FaceService:
    """Everything a request needs, handed over once. Its methods run on the event loop and leave it free."""

    def __init__(
        self, settings: Settings, catalogue: Catalogue, detector: LandmarkDetector | None, engine: Engine
    ) -> None:
        """Without a `detector`, targets are served from landmarks all the same, and pictures are refused.

        The `catalogue` may be exchanged at any time: what is in work holds its target. Raises StartError.
        """
        self.settings = settings
        self.catalogue = catalogue
        self.detector = detector
        self.engine = engine
        self.marker = Marker(settings)
        # Two pools: what an uploaded picture costs is its sender's choice, and no face waits behind it.
        self._pool = ThreadPoolExecutor(max(2, settings.threads), thread_name_prefix="faces")
        self._uploads = ThreadPoolExecutor(max(2, settings.threads), thread_name_prefix="uploads")
        self._pictures, self._room = asyncio.Semaphore(settings.pictures_at_once), PixelRoom(settings.max_pixels)
        self._detection: Step[NDArray[np.uint8], list[DetectedFace]] | None = None
        if detector is not None:
            self._detection = Step(lambda images: [detector.detect(image) for image in images], batch=1)
        self._tracking: Step[tuple[FaceTracker, Image8], DetectedFace | None] = Step(
            lambda frames: [tracker.find(image) for tracker, image in frames], batch=1
        )

    def close(self) -> None:
        """Finish what is waiting. Blocks."""
        self.engine.close()
        self._pool.shutdown()
        self._uploads.shutdown()

    def find_target(self, name: str | None) -> Target:
        """The target named, or the default. Raises UnnamedTargetError, UnknownTargetError, DamagedTargetError."""
        wanted = name or self.settings.default_target
        if wanted is None:
            known = ", ".join(self.catalogue.targets) or "none"
            raise UnnamedTargetError("The request names no target.", f"The field 'target', one of: {known}.")
        return self.catalogue.find(wanted)

    async def synthesize(
        self,
        target_id: str | None,
        landmarks: ArrayLike,
        scheme: str | None,
        convert: bool,
        output: Output,
        units: Units = "any",
        source_neutral: Sequence[ArrayLike] | None = None,
        view: View = WHOLE,
    ) -> SynthesisResult:
        """Landmarks -> the target's face.

        `source_neutral` are faces of the same person from which the neutral shape is found: see `place_neutral`. Raises
        LandmarksError, OptionError, the errors of `find_target` and QueueFullError.
        """
        if source_neutral is not None and not convert:
            raise OptionError("A neutral shape serves the conversion, which is switched off.", CONVERT_OR_NEUTRAL)
        target = self.find_target(target_id)
        placed = place_landmarks(landmarks, scheme, target.manifest, units)
        neutral = None if source_neutral is None else place_neutral(source_neutral, target.manifest)
        watch = Stopwatch()
        with self.engine.admit():
            face = await self.animate(target, DrivingFace(placed.points, convert, neutral), watch)
            with watch.measure("encode"):
                data, width, height = await self.in_pool(
                    lambda: self.finish_face(view.cut(face.picture), target, output)
                )
        return SynthesisResult(
            target=target,
            data=data,
            output=output,
            width=width,
            height=height,
            landmarks=face.points,
            crop=placed.crop,
            stages=watch.stages,
        )

    async def synthesize_batch(
        self, target_id: str, faces: Sequence[ArrayLike], convert: bool, units: Units
    ) -> BatchResult:
        """Landmarks of several faces -> their pictures, by the way of `synthesize`.

        Raises what `synthesize` raises, OptionError for more faces than run as one batch, and MarkingError.
        """
        most = min(self.settings.max_batch, self.engine.capacity)
        if not 1 <= len(faces) <= most:
            raise OptionError(f"{len(faces)} faces are no batch.", f"From 1 to {most} faces in a request.")
        target = self.find_target(target_id)
        placed = [place_landmarks(face, None, target.manifest, units) for face in faces]
        watches = [Stopwatch() for _ in faces]
        with self.engine.admit(len(faces)):
            made = await asyncio.gather(
                *(
                    self.animate(target, DrivingFace(each.points, convert), watch)
                    for each, watch in zip(placed, watches, strict=True)
                )
            )
            origin = Origin.of(target)
            pictures = await self.in_pool(
                lambda: np.stack([self.marker.mark_pixels(face.picture, origin) for face in made])
            )
        stages = {stage: max(watch.stages[stage] for watch in watches) for stage in watches[0].stages}
        return BatchResult(target, pictures, stages)

    async def reenact(
        self,
        target_id: str | None,
        read: Callable[[], Awaitable[bytes]],
        index: int,
        paste_back: bool,
        output: Output,
        source_neutral: Sequence[ArrayLike] | None = None,
    ) -> SynthesisResult:
        """A picture of anyone -> the target's face with its expression, alone or pasted back.

        `read` gives the picture's bytes, and is called only when there is room for them. Raises ImageError and its
        kinds, NoFaceError, FaceIndexError, OptionError, and what `synthesize` raises.
        """
        if paste_back and output.size is not None:
            raise OptionError("A pasted-back picture keeps the size of the uploaded one.", "'size' or 'paste_back'.")
        target = self.find_target(target_id)
        neutral = None if source_neutral is None else place_neutral(source_neutral, target.manifest)
        self.need_detector()
        watch = Stopwatch()
        with self.engine.admit():
            async with self._open(read, watch) as image:
                faces, scheme = await self._detect(image, watch)
                chosen = choose_face(faces, index)
                placed = place_landmarks(chosen.landmarks, scheme, target.manifest)
                face = await self.animate(target, DrivingFace(placed.points, True, neutral), watch)

                def finish() -> tuple[bytes, int, int]:
                    if not paste_back:
                        return self.finish_face(face.picture, target, output)
                    pasted = image if image.flags.writeable else image.copy()  # a small one is Pillow's own memory
                    paste_into(pasted, Patch(face.picture, face.points, placed.points), placed.crop)
                    return self.finish_composite(pasted, target, output)

                with watch.measure("encode"):
                    data, width, height = await (self._in_uploads(finish) if paste_back else self.in_pool(finish))
        return SynthesisResult(
            target=target,
            data=data,
            output=output,
            width=width,
            height=height,
            landmarks=face.points,
            crop=placed.crop,
            stages=watch.stages,
            face=chosen,
            faces=len(faces),
        )

    def finish_face(self, picture: Image8, target: Target, output: Output) -> tuple[bytes, int, int]:
        """A square face at the size wanted -> bytes, marked as synthetic, width, height. Blocks."""
        sized = resize_picture(picture, output.size or picture.shape[0])
        return self._encode(sized, Origin.of(target), output)

    def finish_composite(self, picture: Image8, target: Target, output: Output) -> tuple[bytes, int, int]:
        """As `finish_face`, of a picture that a face was pasted into, which is written over: it may be a large one."""
        return self._encode(picture, Origin.of(target, composite=True), output, spent=True)

    def _encode(self, picture: Image8, origin: Origin, output: Output, spent: bool = False) -> tuple[bytes, int, int]:
        data = self.marker.encode(picture, origin, output.label, output.format, output.quality, spent)
        return data, picture.shape[1], picture.shape[0]

    async def inspect(self, read: Callable[[], Awaitable[bytes]]) -> Provenance:
        """The marks that a picture carries. Raises ImageError and its kinds, and QueueFullError."""
        with self.engine.admit():
            async with self._receive(read, Stopwatch()) as data:
                return await self._in_uploads(lambda: inspect_picture(data, self.settings.max_pixels))

    async def find_faces(self, reads: Sequence[Callable[[], Awaitable[bytes]]]) -> Detection:
        """The faces of pictures, and the neutral shape of their largest; no face is an answer too.

        Raises ImageError and its kinds, and QueueFullError.
        """
        detector = self.need_detector()
        watch = Stopwatch()
        pictures = []
        with self.engine.admit():
            for read in reads:
                async with self._open(read, watch) as image:
                    faces, _ = await self._detect(image, watch)
                pictures.append(DetectedFaces(faces, image.shape[1], image.shape[0]))
        largest = [each.faces[0].landmarks for each in pictures if each.faces]
        neutral = find_source_neutral(largest, get_scheme(detector.scheme)) if largest else None
        return Detection(pictures, neutral, detector.scheme, detector.name, watch.stages)

    @asynccontextmanager
    async def _receive(self, read: Callable[[], Awaitable[bytes]], watch: Stopwatch) -> AsyncIterator[bytes]:
        """A picture's bytes, and room for its pixels."""
        async with self._pictures:
            with watch.measure("decode"):
                data = await read()
                pixels = await self._in_uploads(lambda: count_pixels(data, self.settings.max_pixels))
            async with self._room.hold(pixels):
                yield data

    @asynccontextmanager
    async def _open(self, read: Callable[[], Awaitable[bytes]], watch: Stopwatch) -> AsyncIterator[Image8]:
        async with self._receive(read, watch) as data:
            with watch.measure("decode"):
                image = await self._in_uploads(lambda: decode_picture(data, self.settings.max_pixels))
            yield image

    async def _detect(self, image: Image8, watch: Stopwatch) -> tuple[list[DetectedFace], str]:
        detector = self.need_detector()
        assert self._detection is not None
        outcome = await self.engine.submit(self._detection, image)
        watch.add("queue", outcome.waited)
        watch.add("detect", outcome.ran)
        return outcome.result, detector.scheme

    async def track(self, tracker: FaceTracker, image: Image8, watch: Stopwatch) -> DetectedFace | None:
        """The face that the tracker follows, in its video's next frame."""
        outcome = await self.engine.submit(self._tracking, (tracker, image))
        watch.add("queue", outcome.waited)
        watch.add("detect", outcome.ran)
        return outcome.result

    async def animate(self, target: Target, drive: DrivingFace, watch: Stopwatch) -> Face:
        """The target's face for one drive."""
        outcome = await self.engine.submit(Step(target.animator.animate, self.settings.max_batch), drive)
        watch.add("queue", outcome.waited)
        watch.add("convert", outcome.result.convert_seconds)
        watch.add("synthesize", outcome.result.synthesize_seconds)
        return outcome.result

    async def in_pool(self, make: Callable[[], Made]) -> Made:
        """What `make` gives, made beside the event loop: something small, as a face and a stream's frame are."""
        return await run_in(self._pool, make)

    async def _in_uploads(self, make: Callable[[], Made]) -> Made:
        """As `in_pool`, of any size. Cancelled, it waits for what has begun: its memory is in use until then."""
        future = run_in(self._uploads, make)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.cancel()
            await asyncio.wait([future])
            raise

    def need_detector(self) -> LandmarkDetector:
        """The landmark detector. Raises DetectorUnavailableError."""
        if self.detector is None:
            raise DetectorUnavailableError(
                f"The landmark detector '{self.settings.detector}' could not be loaded; the service's log says why. "
                "Landmarks can still be sent to /synthesize."
            )
        return self.detector


def choose_face(faces: list[DetectedFace], index: int) -> DetectedFace:
    """The face of this number, the largest being 0. Raises NoFaceError and FaceIndexError."""
    if not faces:
        raise NoFaceError("No face was found in the picture.", "A picture with a face that is not too small or turned.")
    if index >= len(faces):
        raise FaceIndexError(
            f"The picture has {len(faces)} face{'s' * (len(faces) > 1)}; there is no face {index}.",
            f"A number from 0, the largest face, to {len(faces) - 1}.",
        )
    return faces[index]
