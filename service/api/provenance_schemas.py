"""What `/provenance` answers on the wire."""

from collections.abc import Iterable
from dataclasses import asdict

from pydantic import BaseModel, Field

from service.provenance.inspection import Provenance
from service.provenance.watermark import Kind


class WatermarkOut(BaseModel):
    """The mark in the pixels. `corrected`: how many of its 48 bits were read wrong, and made good."""

    kind: Kind = Field(description="composite: a face pasted into a filmed picture.")
    corrected: int


class MetadataOut(BaseModel):
    """What the file's XMP says; anybody can write or remove it."""

    source_type: str = Field(description="IPTC DigitalSourceType.")
    target: str | None
    bundle: str | None


class CredentialsOut(BaseModel):
    """What the file's C2PA credentials say, and whether they are whole."""

    state: str = Field(description="Valid: whole, by a signer whom this service does not know; Trusted; Invalid.")
    signer: str | None
    generator: str | None
    source_type: str | None
    target: str | None
    bundle: str | None


class ProvenanceOut(BaseModel):
    """Which marks a picture carries. Where it carries none, nothing is known of it."""

    synthetic: bool = Field(description="Whether any mark says so.")
    target: str | None = Field(description="Whose face it is: of the watermark, where it is a target served here.")
    watermark: WatermarkOut | None
    metadata: MetadataOut | None
    credentials: CredentialsOut | None = Field(description="Read where the service has c2pa-python.")

    @classmethod
    def of(cls, found: Provenance, known: Iterable[str]) -> "ProvenanceOut":
        """The same marks; `known` are the ids that a watermark can be told by."""
        mark, metadata, signed = found.watermark, found.metadata, found.credentials
        return cls(
            synthetic=found.synthetic,
            target=found.find_target(known),
            watermark=WatermarkOut(kind=mark.kind, corrected=mark.corrected) if mark else None,
            metadata=MetadataOut(**asdict(metadata)) if metadata else None,
            credentials=CredentialsOut(**asdict(signed)) if signed else None,
        )
