"""Where a synthetic picture comes from: what every kind of mark tells of it."""

from dataclasses import dataclass

from service.inference.bundles import Target
from service.provenance.watermark import Kind

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@dataclass(frozen=True)
class Origin:
    """The target, its bundle's hash, and whether the picture was generated or partly filmed (`composite`)."""

    target: str
    bundle: str
    kind: Kind = "generated"

    @classmethod
    def of(cls, target: Target, composite: bool = False) -> "Origin":
        """That of a picture of this target."""
        return cls(target.manifest.target, target.bundle, "composite" if composite else "generated")

    @property
    def source_type(self) -> str:
        """The IPTC DigitalSourceType, as a URI."""
        name = "compositeWithTrainedAlgorithmicMedia" if self.kind == "composite" else "trainedAlgorithmicMedia"
        return SOURCE_TYPES + name
