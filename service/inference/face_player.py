"""One face of a video, played by the target frame by frame: followed, steadied, converted, drawn, composed.

Streams and video jobs are this with another source and another sink.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.inference.bundles import Target
from service.inference.driver_neutral import NeutralEstimator, NeutralTaker
from service.inference.face_service import FaceService, Stopwatch
from service.inference.smoothing import FaceSmoother
from service.inference.synthesis import Placed, place_landmarks, place_neutral
from service.media.images import resize_picture
from shared.animation import DrivingFace, Face
from shared.detectors.tracker import FaceTracker
from shared.errors import LandmarksError
from shared.landmarks import Points, get_scheme
from shared.pasting import paste_face
from shared.patch import Patch
from shared.pixels import Image8

Layout = Literal["face", "side-by-side", "paste-back"]
NeutralState = Literal["watched", "taking", "given"]

BESIDE_SIDE = 1024  # pixels; a face enlarged further shows nothing more, and a result must not outgrow its source


@dataclass(frozen=True)
class FoundFrame:
    """The face in a frame, steadied, in the target's crop units and its crop in pixels; and how it is to be drawn."""

    driver: Placed
    driving: DrivingFace


@dataclass(frozen=True)
class PlayedFrame:
    """One frame played: the target's face, and the one in the frame that drove it, its crop in pixels."""

    face: Face
    driver: Placed


class FacePlayer:
    """Holds what one frame leaves for the next."""

    def __init__(
        self,
        face_service: FaceService,
        target: Target,
        face: int = 0,
        convert: bool = True,
        smooth: bool = True,
        neutral: Points | None = None,
    ) -> None:
        """`face` is the number, by size, of the face to follow, 0 the largest.

        `neutral` (N, 2) is its neutral shape in the target's crop units; without one it is found on the way. Raises
        DetectorUnavailableError.
        """
        detector = face_service.need_detector()
        self.face_service, self.target, self.convert = face_service, target, convert
        self._scheme = detector.scheme
        self.neutral = neutral
        self._taker: NeutralTaker | None = None
        self._estimator = NeutralEstimator(get_scheme(target.manifest.scheme))
        self._tracker = FaceTracker(detector, face)
        self._smoother = FaceSmoother() if smooth else None

    async def play(self, image: Image8, seconds: float, watch: Stopwatch) -> PlayedFrame | None:
        """The target in the frame of this time; None where the face is not to be seen."""
        found = await self.follow(image, seconds, watch)
        return None if found is None else await self.draw(found, watch)

    async def follow(self, image: Image8, seconds: float, watch: Stopwatch) -> FoundFrame | None:
        """The face in the frame of this time; None where it is not to be seen. Frame by frame, in their order."""
        placed = await self.find(image, watch)
        if placed is None:
            return None
        if self._taker is not None and (taken := self._taker.watch(placed.points, seconds)) is not None:
            self.neutral, self._taker = place_neutral([taken], self.target.manifest), None
        neutral = self.neutral
        if self.convert and neutral is None:
            points = placed.points
            neutral = await self.face_service.in_pool(lambda: self._estimator.watch(points, seconds))
        if self._smoother is not None:
            placed = self._smoother.smooth(placed, seconds)
        return FoundFrame(placed, DrivingFace(placed.points, self.convert, neutral if self.convert else None))

    async def draw(self, found: FoundFrame, watch: Stopwatch) -> PlayedFrame:
        """The target for a frame that was followed; the next one may be followed meanwhile."""
        return PlayedFrame(await self.face_service.animate(self.target, found.driving, watch), found.driver)

    def take_neutral(self) -> None:
        """What is seen from now on, for a moment, is the driver's neutral face; it holds from then on."""
        self._taker = NeutralTaker()

    @property
    def neutral_state(self) -> NeutralState:
        """Whence the neutral face is: `watched` is found on the way."""
        if self._taker is not None:
            return "taking"
        return "watched" if self.neutral is None else "given"

    async def find(self, image: Image8, watch: Stopwatch) -> Placed | None:
        """The face in the video's next frame, in the target's crop units; None where it is not to be seen."""
        found = await self.face_service.track(self._tracker, image, watch)
        try:
            return None if found is None else place_landmarks(found.landmarks, self._scheme, self.target.manifest)
        except LandmarksError:  # a detector's slip, in one frame of many
            return None

    async def rest(self, watch: Stopwatch) -> Face:
        """The target's own neutral face, for frames before there is any other."""
        neutral = np.array(self.target.manifest.neutral, np.float32)
        return await self.face_service.animate(self.target, DrivingFace(neutral, convert=False), watch)


def compose(layout: Layout, image: Image8, face: Face, driver: Placed | None) -> Image8:
    """The frame that is shown.

    `face` as it is; `side-by-side`, the frame and the face at its height, or half way up a very high one; `paste-back`,
    the frame with the face in the driver's place, and as it is where there is no driver.
    """
    if layout == "face":
        return face.picture
    if layout == "side-by-side":
        height, side = image.shape[0], min(image.shape[0], BESIDE_SIDE)
        beside = np.zeros((height, side, 3), np.uint8)
        top = (height - side) // 2
        beside[top : top + side] = resize_picture(face.picture, side)
        return np.concatenate([image, beside], axis=1)
    if driver is None:
        return image
    return paste_face(image, Patch(face.picture, face.points, driver.points), driver.crop)
