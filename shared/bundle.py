"""The bundle: one folder that says all the service needs to serve a target, and nothing else says it.

``bundle.json`` is written last, by rename, so that a half-written bundle is never seen.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from shared.documents import write_document
from shared.errors import BundleError, LandmarksError
from shared.geometry import CropRule, find_crop
from shared.landmarks import SCHEMES, check_points

SCHEMA_VERSION: Final = 2
MANIFEST_NAME = "bundle.json"

TargetId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
# A plain name: no way out of the folder.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PresetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Shape = tuple[tuple[FiniteFloat, FiniteFloat], ...]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(_Frozen):
    """A tensor at the network's edge. `shape` has None where any batch size goes; `low` and `high` bound its values."""

    name: str
    shape: tuple[int | None, ...]
    low: float
    high: float


class FileRef(_Frozen):
    """A file of the bundle's folder, and the hash of its bytes."""

    file: FileName
    sha256: Sha256


class OnnxFile(FileRef):
    """An ONNX network of one input and one output, both float32."""

    input: TensorSpec
    output: TensorSpec


class TrainingData(_Frozen):
    """What the target was learned from, and who allows it."""

    description: str
    licence: str
    consent: str | None = Field(description="Id of the record in which the person agreed, or None: see the licence.")
    frames: Mapping[str, int] = Field(description="Frames of each split: train, validation, test.")


class Measured(_Frozen):
    """One figure: on which split, of how many frames; `low` and `high` bound its 95 % interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None
    split: Literal["validation", "test"]
    frames: int = Field(ge=1)


class RunRecord(_Frozen):
    """The training run that left the bundle. With fewer steps than `planned` it was still under way."""

    seed: int
    steps: int = Field(ge=0, description="Of the generator.")
    planned: int = Field(ge=0)
    seconds: float = Field(ge=0, description="Of these steps.")


class BundleManifest(_Frozen):
    """``bundle.json``. Landmarks are in crop units, [0, 1], unless said otherwise."""

    schema_version: Literal[2] = SCHEMA_VERSION
    target: TargetId
    display_name: str
    scheme: str
    crop: CropRule
    image_size: int = Field(ge=16, le=2048)
    converter: OnnxFile
    tl2f: OnnxFile
    reference: FileRef
    neutral: Shape = Field(description="The target's landmarks in the reference picture.")
    shape: Shape = Field(description="The target's neutral shape over its training frames, alike left and right.")
    presets: Mapping[PresetName, Shape] = Field(description="What the target was filmed doing: one frame's landmarks.")
    detector: str
    data: TrainingData
    metrics: Mapping[str, Measured]
    versions: Mapping[str, str]
    config: Mapping[str, Any] = Field(description="The training run's whole configuration.")
    run: RunRecord | None = Field(default=None, description="None in bundles from before it was recorded.")

    @model_validator(mode="after")
    def _fits_together(self) -> "BundleManifest":
        if self.scheme not in SCHEMES:
            raise ValueError(f"unknown landmark scheme '{self.scheme}'; this version knows {sorted(SCHEMES)}")
        scheme = SCHEMES[self.scheme]
        count = scheme.count
        if max(self.crop.centre_points + self.crop.scale_points) >= count:
            raise ValueError(f"the crop rule names points that scheme '{self.scheme}' of {count} does not have")
        named = {"neutral": self.neutral, "shape": self.shape}
        for label, face in (named | {f"preset {name}": each for name, each in self.presets.items()}).items():
            try:
                find_crop(check_points(face, scheme), self.crop)
            except LandmarksError as error:
                raise ValueError(f"{label}: {error}") from error
        points, picture = (None, count, 2), (None, 3, self.image_size, self.image_size)
        for label, spec, expected in (
            ("converter input", self.converter.input, points),
            ("converter output", self.converter.output, points),
            ("tl2f input", self.tl2f.input, points),
            ("tl2f output", self.tl2f.output, picture),
        ):
            if spec.shape != expected:
                raise ValueError(f"{label} has the shape {spec.shape}; expected {expected}")
        return self


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Bundle:
    """A whole bundle in memory: what was hashed is what is used. `sha256` is that of ``bundle.json``."""

    manifest: BundleManifest
    files: Mapping[str, bytes]
    sha256: str


def read_bundle(folder: Path) -> BundleManifest:
    """A bundle's manifest, every file it names verified. Raises BundleError, as `load_bundle` does."""
    return load_bundle(folder).manifest


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle's manifest and the files it names, each once, and verify them.

    Raises BundleError, saying what is wrong, for a missing or unreadable manifest, a schema newer or older than ours, a
    folder whose name is not the target's, a missing file, or bytes that do not match their hash.
    """
    path = folder / MANIFEST_NAME
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except FileNotFoundError as error:
        raise BundleError(f"{folder.name}: no {MANIFEST_NAME}; export the target again.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder.name}: {MANIFEST_NAME} can't be read: {error}") from error
    try:
        header = _Header.model_validate_json(text)
        if header.schema_version > SCHEMA_VERSION:
            raise BundleError(
                f"{folder.name}: schema version {header.schema_version} is newer than this service's {SCHEMA_VERSION}; "
                "upgrade the service."
            )
        if header.schema_version < SCHEMA_VERSION:
            raise BundleError(
                f"{folder.name}: schema version {header.schema_version} is older than this service's {SCHEMA_VERSION}; "
                "export the target again: `make train` does, from its last checkpoint."
            )
        manifest = BundleManifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BundleError(f"{folder.name}: {MANIFEST_NAME} is not valid at {where}: {first['msg']}") from error
    if manifest.target != folder.name:
        raise BundleError(f"{folder.name}: the manifest is that of '{manifest.target}'; folder and target must agree.")
    files: dict[str, bytes] = {}
    for ref in (manifest.converter, manifest.tl2f, manifest.reference):
        try:
            files[ref.file] = (folder / ref.file).read_bytes()
        except FileNotFoundError as error:
            raise BundleError(f"{folder.name}: the file {ref.file} is missing; export the target again.") from error
        except OSError as error:
            raise BundleError(f"{folder.name}: {ref.file} can't be read: {error}") from error
        if hashlib.sha256(files[ref.file]).hexdigest() != ref.sha256:
            raise BundleError(f"{folder.name}: {ref.file} is damaged (its SHA-256 is not the manifest's).")
    return Bundle(manifest, files, hashlib.sha256(data).hexdigest())


def write_manifest(manifest: BundleManifest, folder: Path) -> None:
    """Write ``bundle.json`` beside the files it names, whole or not at all. Call it after them."""
    write_document(manifest, folder / MANIFEST_NAME)


class _Header(BaseModel):
    """The one field that every schema version has."""

    model_config = ConfigDict(extra="ignore")
    schema_version: int
