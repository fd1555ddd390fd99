"""What requests and answers look like on the wire."""

import base64
from typing import Annotated, Any, Literal

from fastapi import UploadFile
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from service.inference.face_service import DetectedFaces, Detection, Output, SynthesisResult
from service.inference.synthesis import WHOLE, Units, View
from service.media.images import PictureFormat
from service.provenance.label import Label
from shared.detectors import DetectedFace
from shared.errors import LandmarksError
from shared.geometry import Crop
from shared.landmarks import SCHEMES, Points

MOST_POINTS = 1000
MOST_FACES = 64  # that a neutral shape is found from
MOST_PICTURES = 16  # of one upload

FEWEST_POINTS = min(scheme.count for scheme in SCHEMES.values())
Coordinate = Annotated[float, Field(strict=True)]  # no strings, no booleans
Point = tuple[Coordinate, Coordinate]


def list_faces(given: Any) -> Any:
    """One face -> a list of it; anything else as it is, for the validation to judge."""
    first = given[0] if isinstance(given, list) and given else None
    return [given] if isinstance(first, list) and not (first and isinstance(first[0], list)) else given


# The document names the fewest points; what has fewer is refused by the schemes' own check, which says their counts.
LandmarkList = Annotated[list[Point], Field(max_length=MOST_POINTS, json_schema_extra={"minItems": FEWEST_POINTS})]
Faces = Annotated[
    list[LandmarkList],
    Field(min_length=1, max_length=MOST_FACES),
    BeforeValidator(
        list_faces,
        json_schema_input_type=LandmarkList | Annotated[list[LandmarkList], Field(min_length=1, max_length=MOST_FACES)],
    ),
]
FACES: TypeAdapter[list[list[Point]]] = TypeAdapter(Faces)
NEUTRAL_TEXT = (
    "The source's neutral face, of any scale, place and scheme: one face's landmarks, as POST /landmarks gives "
    "`neutral`, or a list of several faces' landmarks, from which it is found. The conversion then goes by it."
)


class PictureOptions(BaseModel):
    """How the picture is wanted."""

    model_config = ConfigDict(extra="forbid")

    target: str | None = Field(default=None, max_length=64, description="Target id, as GET /targets lists them.")
    format: PictureFormat = "jpeg"
    size: int | None = Field(
        default=None, ge=16, le=1024, description="Pixels a side; default: the target's own size.", examples=[256]
    )
    quality: int | None = Field(default=None, ge=1, le=100, description="Of jpeg and webp; default 90.", examples=[90])
    label: Label = Field(default="none", description="A label that people see, in a corner of the picture.")
    response: Literal["image", "json"] = Field(
        default="image", description="The picture itself, or JSON that carries it."
    )

    def to_output(self) -> Output:
        """The part that the encoder needs."""
        return Output(self.format, self.size, self.quality, self.label)


class SynthesizeRequest(PictureOptions):
    """Landmarks of any scale and place, or in the target's crop units; x right and y down."""

    landmarks: LandmarkList = Field(description="[x, y] for each point of the scheme, in order.")
    scheme: str | None = Field(
        default=None, max_length=64, description="Landmark scheme; default: guessed from the count."
    )
    convert: Annotated[bool, Field(strict=True)] = Field(
        True, description="False where the landmarks have the target's own shape already."
    )
    units: Units = Field(
        default="any",
        description="crop: landmarks in the target's crop units, where scale and place count.",
    )
    source_neutral: Faces | None = Field(default=None, description=NEUTRAL_TEXT)
    view: View = Field(default=WHOLE, description="What of the target's crop the picture shows; default: the whole.")


class PicturesForm(BaseModel):
    """An upload of one picture, or of several of one person."""

    model_config = ConfigDict(extra="forbid")

    image: list[UploadFile] = Field(
        min_length=1,
        max_length=MOST_PICTURES,
        description="A JPEG, PNG or WebP file; EXIF orientation is honoured. Repeat the field for more pictures.",
    )


class PictureForm(BaseModel):
    """An upload of one picture."""

    model_config = ConfigDict(extra="forbid")

    image: UploadFile = Field(description="A JPEG, PNG or WebP file.")


class ReenactForm(PictureOptions):
    """An upload, and what to make of it."""

    image: UploadFile = Field(description="A JPEG, PNG or WebP file; EXIF orientation is honoured.")
    face: int = Field(default=0, ge=0, le=1000, description="Which face; 0 is the largest.")
    paste_back: bool = Field(default=False, description="Answer with the uploaded picture, its face exchanged.")
    source_neutral: str | None = Field(default=None, description=NEUTRAL_TEXT + " JSON.")

    def read_neutral(self) -> list[list[Point]] | None:
        """The faces of `source_neutral`. Raises LandmarksError for text that is no JSON of that kind."""
        if self.source_neutral is None:
            return None
        try:
            return FACES.validate_json(self.source_neutral)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in ("source_neutral", *first["loc"]))
            raise LandmarksError(f"{where}: {first['msg']}.") from error


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


class SynthesisOut(BaseModel):
    """The answer of /synthesize and /reenact as JSON."""

    target: str
    bundle: str = Field(description="SHA-256 of the bundle that made it.")
    scheme: str
    picture: PictureOut
    landmarks: LandmarksOut
    crop: CropOut
    faces: int | None = Field(default=None, description="How many faces the uploaded picture has.")
    score: float | None = Field(default=None, description="The detector's score of the face taken.")
    timings_ms: dict[str, float]

    @classmethod
    def of(cls, portrait: SynthesisResult) -> "SynthesisOut":
        """The same portrait, its picture in base64."""
        return cls(
            target=portrait.target.manifest.target,
            bundle=portrait.target.bundle,
            scheme=portrait.target.manifest.scheme,
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


class DetectedFacesOut(BaseModel):
    """The faces of a picture, the largest first; width and height of the upright picture in pixels."""

    width: int
    height: int
    faces: list[FaceOut]

    @classmethod
    def of(cls, detected: DetectedFaces, scheme: str) -> "DetectedFacesOut":
        """The same faces."""
        faces = [FaceOut.of(face, scheme) for face in detected.faces]
        return cls(width=detected.width, height=detected.height, faces=faces)


class FacesOut(DetectedFacesOut):
    """The faces of the first picture, and what is known from it and the `more` pictures together."""

    detector: str
    more: list[DetectedFacesOut] | None = Field(
        default=None, description="Where several pictures came: the others, in order."
    )
    neutral: list[tuple[float, float]] | None = Field(
        default=None, description="Neutral shape of the pictures' largest faces: goes into `source_neutral` as it is."
    )
    timings_ms: dict[str, float]

    @classmethod
    def of_all(cls, detection: Detection) -> "FacesOut":
        """The same faces."""
        first, *others = (DetectedFacesOut.of(each, detection.scheme) for each in detection.pictures)
        return cls(
            **dict(first),
            detector=detection.detector,
            more=others or None,
            neutral=None if detection.neutral is None else list_points(detection.neutral),
            timings_ms=to_milliseconds(detection.stages),
        )


class VersionOut(BaseModel):
    """What runs here."""

    version: str
    onnxruntime: str
    device: str
    detector: str | None
    providers: dict[str, list[str]] = Field(description="Target id -> where ONNX Runtime runs its networks.")
    threads: dict[str, int] = Field(
        description="Target id -> CPU threads of its generator: one where more gain little."
    )


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
    error: str | None = Field(default=None, description="Under /v2 alone: detail and expected in one.")


def list_points(points: Points) -> list[tuple[float, float]]:
    """``(N, 2)`` -> pairs of Python floats, to five digits: under a hundredth of a pixel in crop units."""
    return [(round(float(x), 5), round(float(y), 5)) for x, y in points]


def to_milliseconds(stages: dict[str, float]) -> dict[str, float]:
    """Seconds -> milliseconds, to the microsecond."""
    return {stage: round(seconds * 1000, 3) for stage, seconds in stages.items()}
