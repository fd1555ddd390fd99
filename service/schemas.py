"""What requests and answers look like on the wire."""

import base64
from typing import Annotated, Literal

from fastapi import UploadFile
from pydantic import BaseModel, ConfigDict, Field

from service.drive import Units
from service.images import PictureFormat
from service.reenact import Detection, Output, Portrait
from shared.bundle import BundleManifest, Measured
from shared.detectors import DetectedFace
from shared.geometry import Crop
from shared.landmarks import Points

MOST_POINTS = 1000

Coordinate = Annotated[float, Field(strict=True)]  # no strings, no booleans
Point = tuple[Coordinate, Coordinate]


class PictureOptions(BaseModel):
    """How the picture is wanted."""

    model_config = ConfigDict(extra="forbid")

    target: str | None = Field(default=None, max_length=64, description="Target id, as GET /targets lists them.")
    format: PictureFormat = "jpeg"
    size: int | None = Field(default=None, ge=16, le=1024, description="Pixels a side; default: the target's own size.")
    quality: int | None = Field(default=None, ge=1, le=100, description="Of jpeg and webp; default 90.")
    response: Literal["image", "json"] = Field(
        default="image", description="The picture itself, or JSON that carries it."
    )

    def to_output(self) -> Output:
        """The part that the encoder needs."""
        return Output(self.format, self.size, self.quality)


class SynthesizeRequest(PictureOptions):
    """Landmarks of any scale and place, or in the target's crop units; x right and y down."""

    landmarks: list[Point] = Field(max_length=MOST_POINTS, description="[x, y] for each point of the scheme, in order.")
    scheme: str | None = Field(
        default=None, max_length=64, description="Landmark scheme; default: guessed from the count."
    )
    convert: Annotated[bool, Field(strict=True)] = Field(
        True, description="False where the landmarks have the target's own shape already."
    )
    units: Units = Field(
        default="any",
        description="crop: landmarks in the target's crop units, where scale and place are asked for too.",
    )


class PictureForm(BaseModel):
    """An upload."""

    model_config = ConfigDict(extra="forbid")

    image: UploadFile = Field(description="A JPEG, PNG or WebP file; EXIF orientation is honoured.")


class ReenactForm(PictureOptions):
    """An upload, and what to make of it."""

    image: UploadFile = Field(description="A JPEG, PNG or WebP file; EXIF orientation is honoured.")
    face: int = Field(default=0, ge=0, le=1000, description="Which face; 0 is the largest.")
    paste_back: bool = Field(default=False, description="Answer with the uploaded picture, its face exchanged.")


class CropOut(BaseModel):
    """An upright square: its centre and side, in the caller's coordinates."""

    x: float
    y: float
    side: float

    @classmethod
    def of(cls, crop: Crop) -> "CropOut":
        """The same crop."""
        return cls(x=crop.x, y=crop.y, side=crop.side)


class PictureOut(BaseModel):
    """A picture inside JSON."""

    format: PictureFormat
    width: int
    height: int
    base64: str


class LandmarksOut(BaseModel):
    """The target's landmarks, after conversion."""

    crop_units: list[tuple[float, float]] = Field(description="The crop covers [0, 1] x [0, 1].")
    source: list[tuple[float, float]] = Field(description="The same points in the caller's coordinates.")


class FaceOut(BaseModel):
    """A detected face: `scheme` and `landmarks` go into POST /synthesize as they are."""

    scheme: str
    landmarks: list[tuple[float, float]] = Field(description="In pixels of the upright picture.")
    score: float
    box: tuple[float, float, float, float] = Field(description="Left, top, right, bottom of the landmarks, in pixels.")

    @classmethod
    def of(cls, face: DetectedFace, scheme: str) -> "FaceOut":
        """The same face."""
        left, top = face.landmarks.min(axis=0).tolist()
        right, bottom = face.landmarks.max(axis=0).tolist()
        return cls(
            scheme=scheme, landmarks=list_points(face.landmarks), score=face.score, box=(left, top, right, bottom)
        )


class PortraitOut(BaseModel):
    """The answer of /synthesize and /reenact where JSON is asked for."""

    target: str
    scheme: str
    picture: PictureOut
    landmarks: LandmarksOut
    crop: CropOut
    faces: int | None = Field(default=None, description="How many faces the uploaded picture has.")
    score: float | None = Field(default=None, description="The detector's score of the face taken.")
    timings_ms: dict[str, float]

    @classmethod
    def of(cls, portrait: Portrait) -> "PortraitOut":
        """The same portrait, its picture in base64."""
        return cls(
            target=portrait.target,
            scheme=portrait.scheme,
            picture=PictureOut(
                format=portrait.output.format,
                width=portrait.width,
                height=portrait.height,
                base64=base64.b64encode(portrait.data).decode("ascii"),
            ),
            landmarks=LandmarksOut(
                crop_units=list_points(portrait.landmarks),
                source=list_points(portrait.crop.from_unit(portrait.landmarks)),
            ),
            crop=CropOut.of(portrait.crop),
            faces=portrait.faces if portrait.face else None,
            score=portrait.face.score if portrait.face else None,
            timings_ms=to_milliseconds(portrait.stages),
        )


class FacesOut(BaseModel):
    """The faces of a picture, the largest first; width and height of the upright picture in pixels."""

    width: int
    height: int
    detector: str
    faces: list[FaceOut]
    timings_ms: dict[str, float]

    @classmethod
    def of(cls, detection: Detection) -> "FacesOut":
        """The same faces."""
        return cls(
            width=detection.width,
            height=detection.height,
            detector=detection.detector,
            faces=[FaceOut.of(face, detection.scheme) for face in detection.faces],
            timings_ms=to_milliseconds(detection.stages),
        )


class TargetOut(BaseModel):
    """One target in the list."""

    id: str
    display_name: str
    scheme: str
    points: int
    image_size: int
    licence: str
    metrics: dict[str, Measured]
    manifest: str = Field(description="Path of the whole manifest.")
    reference: str = Field(description="Path of the reference picture.")

    @classmethod
    def of(cls, manifest: BundleManifest) -> "TargetOut":
        """The manifest in short."""
        return cls(
            id=manifest.target,
            display_name=manifest.display_name,
            scheme=manifest.scheme,
            points=len(manifest.neutral),
            image_size=manifest.image_size,
            licence=manifest.data.licence,
            metrics=dict(manifest.metrics),
            manifest=f"/targets/{manifest.target}",
            reference=f"/targets/{manifest.target}/reference",
        )


class DamagedOut(BaseModel):
    """A bundle that is not served, and why."""

    id: str
    reason: str


class TargetsOut(BaseModel):
    """What there is to serve."""

    default: str | None
    targets: list[TargetOut]
    damaged: list[DamagedOut]


class VersionOut(BaseModel):
    """What runs here."""

    version: str
    onnxruntime: str
    device: str
    detector: str | None
    providers: dict[str, list[str]] = Field(description="Target id -> where ONNX Runtime runs its networks.")


class StateOut(BaseModel):
    """Liveness or readiness."""

    status: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    expected: str | None = None
    errors: list[dict[str, str]] | None = None


def list_points(points: Points) -> list[tuple[float, float]]:
    """``(N, 2)`` -> pairs of Python floats, to five digits: under a hundredth of a pixel in crop units."""
    return [(round(float(x), 5), round(float(y), 5)) for x, y in points]


def to_milliseconds(stages: dict[str, float]) -> dict[str, float]:
    """Seconds -> milliseconds, to the microsecond."""
    return {stage: round(seconds * 1000, 3) for stage, seconds in stages.items()}
