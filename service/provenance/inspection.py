"""Which marks a picture carries, and whose they are."""

from collections.abc import Iterable
from dataclasses import dataclass

from service.media.images import decode_picture, read_packet, sniff_media_type
from service.provenance.credentials import Credentials, read_credentials
from service.provenance.origin import SOURCE_TYPES
from service.provenance.watermark import Watermark, code_target, read_watermark
from service.provenance.xmp import SYNTHETIC, SourceMetadata, read_xmp


@dataclass(frozen=True)
class Provenance:
    """What was found. Metadata and credentials are a file's own words; the watermark is in its pixels."""

    watermark: Watermark | None
    metadata: SourceMetadata | None
    credentials: Credentials | None

    @property
    def synthetic(self) -> bool:
        """Whether any of them says that the picture is synthetic; where none does, nothing is known."""
        signed = self.credentials.source_type if self.credentials else None
        return (
            self.watermark is not None
            or (self.metadata is not None and self.metadata.synthetic)
            or (signed or "").removeprefix(SOURCE_TYPES) in SYNTHETIC
        )

    def find_target(self, known: Iterable[str]) -> str | None:
        """The target of the watermark among the `known` ids; else the one that the file names."""
        if self.watermark is not None:
            return next((name for name in known if code_target(name) == self.watermark.target_code), None)
        named = (each.target for each in (self.credentials, self.metadata) if each is not None)
        return next((name for name in named if name), None)


def inspect_picture(data: bytes, max_pixels: int) -> Provenance:
    """The marks of a JPEG, PNG or WebP. Raises what `decode_picture` raises."""
    picture = decode_picture(data, max_pixels)
    return Provenance(
        watermark=read_watermark(picture),
        metadata=read_xmp(read_packet(data)),
        credentials=read_credentials(data, sniff_media_type(data)),
    )
