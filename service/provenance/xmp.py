"""XMP metadata with the IPTC DigitalSourceType, which says to machines that a picture or video is synthetic."""

import re
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

from service import __version__
from service.provenance.origin import SOURCE_TYPES, Origin

XMP_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes  # of ISO base media files: XMP part 3, section 1.2.4
MAX_READ = 1_000_000  # bytes of a packet; ours has 700

PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
 rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:landmarkgan="urn:landmarkgan:xmp:"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType="{source_type}"
 xmp:CreatorTool="LandmarkGAN {version}" landmarkgan:Target="{target}" landmarkgan:Bundle="{bundle}"
/></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""

# As an attribute or as an element. A pattern and no XML parser, which a stranger's file could make work without end.
SOURCE_TYPE = re.compile(
    rb"DigitalSourceType(?:=[\"']|>)\s*https?://cv\.iptc\.org/newscodes/digitalsourcetype/(\w{1,64})"
)
TARGET = re.compile(rb"landmarkgan:Target=\"([a-z0-9_-]{1,64})\"")
BUNDLE = re.compile(rb"landmarkgan:Bundle=\"([0-9a-f]{64})\"")
SYNTHETIC = frozenset({"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"})


@dataclass(frozen=True)
class SourceMetadata:
    """What a file's XMP claims: the DigitalSourceType's URI and, where it is ours, the target and its bundle's hash."""

    source_type: str
    target: str | None
    bundle: str | None

    @property
    def synthetic(self) -> bool:
        """Whether the claim is that of a trained algorithm's work."""
        return self.source_type.removeprefix(SOURCE_TYPES) in SYNTHETIC


def make_xmp(origin: Origin) -> bytes:
    """The XMP packet of a picture or video. A target's id and a hash have no sign that XML would mind."""
    return PACKET.format(
        source_type=origin.source_type, version=__version__, target=origin.target, bundle=origin.bundle
    ).encode()


def read_xmp(packet: bytes) -> SourceMetadata | None:
    """What a packet says of its source; None where it says nothing."""
    packet = packet[:MAX_READ]
    source = SOURCE_TYPE.search(packet)
    if source is None:
        return None
    target, bundle = TARGET.search(packet), BUNDLE.search(packet)
    return SourceMetadata(
        SOURCE_TYPES + source[1].decode("ascii", "replace"),
        target[1].decode("ascii") if target else None,
        bundle[1].decode("ascii") if bundle else None,
    )


def append_xmp(path: Path, packet: bytes) -> None:
    """Add XMP to a finished MP4, as its last box. Raises OSError."""
    with path.open("ab") as file:
        file.write(struct.pack(">I4s16s", 24 + len(packet), b"uuid", XMP_BOX) + packet)
