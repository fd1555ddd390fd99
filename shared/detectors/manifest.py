"""``models/hourglass/detector.json``: all that is known of the trained detector beside it, written last.

Serving and training both read the one ONNX file; nothing else says its size, scheme or crop.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.bundle import FileRef, Measured, TensorSpec, TrainingData, hash_file
from shared.documents import write_document
from shared.errors import DetectorUnavailableError
from shared.geometry import CropRule
from shared.landmarks import SCHEMES

SCHEMA_VERSION: Final = 1
MANIFEST_NAME = "detector.json"
HOURGLASS: Final = "hourglass"
REMEDY = "`make train-detector` makes models/hourglass again"


class DetectorManifest(BaseModel):
    """``detector.json``. Landmarks are in crop units; `crop` is how the faces that it learned from were cut."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    name: Literal["hourglass"] = HOURGLASS
    scheme: str
    crop: CropRule
    network: FileRef
    picture: TensorSpec = Field(description="The network's input.")
    landmarks: TensorSpec
    confidence: TensorSpec = Field(description="One number a face: how near its heatmaps are to single, sharp peaks.")
    nme: Mapping[str, Measured] = Field(description="Normalised mean error on each dataset's held-out pictures.")
    data: Mapping[str, TrainingData] = Field(min_length=1, description="By dataset: what it was learned from.")
    versions: Mapping[str, str]
    config: Mapping[str, Any] = Field(description="The training run's whole configuration.")

    @model_validator(mode="after")
    def _fits_together(self) -> "DetectorManifest":
        if self.scheme not in SCHEMES:
            raise ValueError(f"unknown landmark scheme '{self.scheme}'; this version knows {sorted(SCHEMES)}")
        count, size = SCHEMES[self.scheme].count, self.picture.shape[-1]
        for label, spec, expected in (
            ("picture", self.picture, (None, 3, size, size)),
            ("landmarks", self.landmarks, (None, count, 2)),
            ("confidence", self.confidence, (None,)),
        ):
            if size is None or spec.shape != expected:
                raise ValueError(f"{label} has the shape {spec.shape}; expected {expected}, of fixed size")
        if max(*self.crop.centre_points, *self.crop.scale_points) >= count:
            raise ValueError(f"the crop names a point that scheme '{self.scheme}' does not have")
        return self

    @property
    def size(self) -> int:
        """The side of the network's pictures, in pixels."""
        size = self.picture.shape[-1]
        assert size is not None  # as validated
        return size


def read_manifest(folder: Path) -> DetectorManifest:
    """Read a trained detector's manifest, and verify the file that it names.

    Raises DetectorUnavailableError, saying what is wrong and what makes the folder again, for a manifest or network
    that is missing, not valid, of another schema version, or whose bytes do not match their hash.
    """
    path = folder / MANIFEST_NAME
    try:
        manifest = DetectorManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DetectorUnavailableError(f"there is no trained detector in {folder}; {REMEDY}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DetectorUnavailableError(f"{path} can't be read ({error}); {REMEDY}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DetectorUnavailableError(f"{path} is not valid at {where}: {first['msg']}; {REMEDY}") from error
    network = folder / manifest.network.file
    if not network.is_file():
        raise DetectorUnavailableError(f"{network.name} is not in {folder}; {REMEDY}")
    if hash_file(network) != manifest.network.sha256:
        raise DetectorUnavailableError(f"{network} is damaged (its SHA-256 is not the manifest's); {REMEDY}")
    return manifest


def write_manifest(manifest: DetectorManifest, folder: Path) -> None:
    """Write ``detector.json`` beside the network, whole or not at all. Call it after that."""
    write_document(manifest, folder / MANIFEST_NAME)
