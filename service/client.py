"""A target's face for notebooks and scripts: made in this process, or by a service over HTTP.

    from service import load
    face = load("models/franck")
    picture = face.synthesize(landmarks)

Pictures carry the watermark in their pixels. What a file says besides is in ``picture.info["xmp"]``:
``picture.save("face.jpg", xmp=picture.info["xmp"])``.
"""

import io
import json
import urllib.error
import urllib.request
import uuid
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from service.errors import OptionError
from service.inference.bundles import Target, open_target
from service.inference.face_service import CONVERT_OR_NEUTRAL, choose_face
from service.inference.synthesis import Units, place_landmarks, place_neutral
from service.media.images import decode_picture, read_packet
from service.provenance.origin import Origin
from service.provenance.watermark import embed_watermark
from service.provenance.xmp import make_xmp
from shared.animation import DrivingFace, Face
from shared.bundle import load_bundle
from shared.cores import count_cores
from shared.detectors import LandmarkDetector, load_detector
from shared.errors import LandmarkGANError, LandmarksError
from shared.landmarks import Points
from shared.pasting import paste_face
from shared.patch import Patch
from shared.pixels import Image8

PictureLike: TypeAlias = str | Path | bytes | Image.Image | NDArray[np.uint8]
"""A picture's file, its bytes, or the picture itself; an array is RGB ``(H, W, 3)``."""

MAX_PIXELS = 80_000_000
ANSWER_SECONDS = 60.0


class RequestError(LandmarkGANError):
    """A service refused, in the words of its problem, or could not be reached. `status` is its HTTP status, or None."""

    def __init__(self, words: str, status: int | None = None) -> None:
        super().__init__(words)
        self.status = status


class TargetFace(Protocol):
    """One target. Every method raises LandmarkGANError, in words, for what it can't use."""

    def synthesize(
        self, landmarks: ArrayLike, *, convert: bool = True, units: Units = "any", neutral: ArrayLike | None = None
    ) -> Image.Image:
        """The target's face for landmarks ``(N, 2)`` of any scheme, x right and y down, of any scale and place.

        `convert` False takes them for the target's own; `units` "crop" for placed in its crop. `neutral` is the shape
        from which their owner moves: landmarks of one face, or of several ``(B, N, 2)`` from which it is found.
        """

    def reenact(
        self, picture: PictureLike, *, face: int = 0, paste_back: bool = False, neutral: ArrayLike | None = None
    ) -> Image.Image:
        """The target's face with expression and pose of a face of the picture, alone or in that face's place.

        Faces count by size, 0 the largest.
        """

    def find_landmarks(self, picture: PictureLike) -> list[Points]:
        """The landmarks ``(70, 2)``, in pixels, of each face of the picture, the largest first."""


class LocalFace:
    """A bundle, opened in this process."""

    def __init__(self, target: Target, models: Path, threads: int, device: str) -> None:
        """`models` is the folder that has the detector's."""
        self.target = target
        self.models, self.threads, self.device = models, threads, device

    @cached_property
    def detector(self) -> LandmarkDetector:
        """Finds landmarks in pictures; loaded when first asked for."""
        return load_detector("mesh", self.models, self.threads, self.device)

    def synthesize(
        self, landmarks: ArrayLike, *, convert: bool = True, units: Units = "any", neutral: ArrayLike | None = None
    ) -> Image.Image:
        """See `TargetFace`."""
        if neutral is not None and not convert:
            raise OptionError("A neutral shape serves the conversion, which is switched off.", CONVERT_OR_NEUTRAL)
        placed = place_landmarks(read_points(landmarks), None, self.target.manifest, units)
        return self._mark(self._animate(placed.points, convert, neutral).picture)

    def reenact(
        self, picture: PictureLike, *, face: int = 0, paste_back: bool = False, neutral: ArrayLike | None = None
    ) -> Image.Image:
        """See `TargetFace`."""
        image = read_picture(picture)
        chosen = choose_face(self.detector.detect(image), face)
        placed = place_landmarks(chosen.landmarks, self.detector.scheme, self.target.manifest)
        made = self._animate(placed.points, True, neutral)
        if not paste_back:
            return self._mark(made.picture)
        return self._mark(paste_face(image, Patch(made.picture, made.points, placed.points), placed.crop), True)

    def find_landmarks(self, picture: PictureLike) -> list[Points]:
        """See `TargetFace`."""
        return [face.landmarks for face in self.detector.detect(read_picture(picture))]

    def _animate(self, points: Points, convert: bool, neutral: ArrayLike | None) -> Face:
        shape = None if neutral is None else place_neutral(list_faces(neutral), self.target.manifest)
        (face,) = self.target.animator.animate([DrivingFace(points, convert, shape)])
        return face

    def _mark(self, picture: Image8, composite: bool = False) -> Image.Image:
        origin = Origin.of(self.target, composite)
        marked = Image.fromarray(embed_watermark(picture, origin.kind, origin.target))
        marked.info["xmp"] = make_xmp(origin)
        return marked


class RemoteFace:
    """A target that a service has."""

    def __init__(self, address: str, target: str, key: str | None = None) -> None:
        self.address, self.target, self.key = address.rstrip("/"), target, key

    def synthesize(
        self, landmarks: ArrayLike, *, convert: bool = True, units: Units = "any", neutral: ArrayLike | None = None
    ) -> Image.Image:
        """See `TargetFace`."""
        order: dict[str, object] = {"landmarks": read_points(landmarks).tolist(), "convert": convert, "units": units}
        if neutral is not None:
            order["source_neutral"] = [face.tolist() for face in list_faces(neutral)]
        order |= {"target": self.target, "format": "png"}
        return open_answer(self._ask("/synthesize", json.dumps(order).encode(), "application/json"))

    def reenact(
        self, picture: PictureLike, *, face: int = 0, paste_back: bool = False, neutral: ArrayLike | None = None
    ) -> Image.Image:
        """See `TargetFace`."""
        fields = {"target": self.target, "format": "png", "face": str(face), "paste_back": json.dumps(paste_back)}
        if neutral is not None:
            fields["source_neutral"] = json.dumps([each.tolist() for each in list_faces(neutral)])
        return open_answer(self._send_picture("/reenact", picture, fields))

    def find_landmarks(self, picture: PictureLike) -> list[Points]:
        """See `TargetFace`."""
        found = json.loads(self._send_picture("/landmarks", picture, {}))
        return [np.array(face["landmarks"], np.float32) for face in found["faces"]]

    def _send_picture(self, path: str, picture: PictureLike, fields: dict[str, str]) -> bytes:
        body, kind = write_form(fields, encode_upload(picture))
        return self._ask(path, body, kind)

    def _ask(self, path: str, body: bytes, kind: str) -> bytes:
        headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(self.address + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                data: bytes = answer.read()
                return data
        except urllib.error.HTTPError as error:
            with error:
                raise RequestError(read_problem(error.read()), error.code) from error
        except OSError as error:
            raise RequestError(f"No service answers at {self.address}: {error}. `make serve` starts one.") from error


def load(folder: str | Path, *, device: str = "cpu", threads: int | None = None) -> LocalFace:
    """Open a target's bundle in this process; pictures of drivers are read by the detector in the folder beside it.

    `device` is "cpu" or "cuda"; `threads` are CPU threads, by default the cores there are. Raises BundleError.
    """
    path, count = Path(folder), threads or count_cores()
    return LocalFace(open_target(load_bundle(path), device, count), path.parent, count, device)


def connect(target: str, address: str = "http://127.0.0.1:8000", *, key: str | None = None) -> RemoteFace:
    """A target of a service, asked over HTTP; `key` is one of its API keys, where it wants one."""
    return RemoteFace(address, target, key)


def read_picture(picture: PictureLike) -> Image8:
    """The upright picture ``(H, W, 3)``. Raises ImageError and OSError."""
    if isinstance(picture, np.ndarray):
        return picture
    if isinstance(picture, Image.Image):
        return np.asarray(picture.convert("RGB"))
    return decode_picture(picture if isinstance(picture, bytes) else Path(picture).read_bytes(), MAX_PIXELS)


def encode_upload(picture: PictureLike) -> bytes:
    """A picture's file: as it is where there is one, else as PNG. Raises OSError."""
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, str | Path):
        return Path(picture).read_bytes()
    file = io.BytesIO()
    Image.fromarray(read_picture(picture)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def read_points(points: ArrayLike) -> Points:
    """Points as an array, its shape unchecked. Raises LandmarksError for what is none."""
    try:
        return np.asarray(points, np.float32)
    except (TypeError, ValueError) as error:
        raise LandmarksError("Landmarks must be a list of [x, y] pairs of numbers.") from error


def list_faces(neutral: ArrayLike) -> list[Points]:
    """Landmarks of one face (N, 2), or of several (B, N, 2), as a list of (N, 2)."""
    faces = read_points(neutral)
    return [faces] if faces.ndim == 2 else list(faces)


def open_answer(data: bytes) -> Image.Image:
    """The picture of an answer, decoded, its metadata in ``info["xmp"]``."""
    picture = Image.fromarray(decode_picture(data, MAX_PIXELS))
    picture.info["xmp"] = read_packet(data)
    return picture


def write_form(fields: dict[str, str], image: bytes) -> tuple[bytes, str]:
    """A multipart form of fields and a picture, and its content type."""
    boundary = uuid.uuid4().hex
    parts = [(f'name="{name}"', value.encode()) for name, value in fields.items()]
    parts.append(('name="image"; filename="image"', image))
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + value + b"\r\n"
        for head, value in parts
    )
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def read_problem(body: bytes) -> str:
    """The words of a problem, what is expected included."""
    try:
        problem = json.loads(body)
        return " ".join(str(problem[name]) for name in ("detail", "expected") if problem.get(name))
    except (ValueError, KeyError, AttributeError):
        return "The service answered with an error and no words for it."
