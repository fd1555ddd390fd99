"""The one way out: whatever leaves the service passes here, and says that it is synthetic when it does."""

from pathlib import Path

from service.errors import MarkingError, StartError
from service.media.images import MEDIA_TYPES, PictureFormat, encode_picture
from service.provenance.credentials import CredentialSigner
from service.provenance.label import Label, draw_label
from service.provenance.origin import Origin
from service.provenance.watermark import embed_watermark
from service.provenance.xmp import append_xmp, make_xmp
from service.settings import Settings
from shared.pixels import Image8


class Marker:
    """Marks pictures and videos: label, watermark, metadata and, with a certificate, credentials, signed last."""

    def __init__(self, settings: Settings) -> None:
        """Raises StartError where there is a certificate that can't sign."""
        self._signer: CredentialSigner | None = None
        if (settings.c2pa_cert is None) != (settings.c2pa_key is None):
            raise StartError("LANDMARKGAN_C2PA_CERT and LANDMARKGAN_C2PA_KEY go together; one of them is not set.")
        if settings.c2pa_cert is not None and settings.c2pa_key is not None:
            self._signer = CredentialSigner(settings.c2pa_cert, settings.c2pa_key, settings.c2pa_algorithm)

    def draw(self, picture: Image8, origin: Origin, label: Label, spent: bool = False) -> Image8:
        """The picture or frame ``(H, W, 3)`` with what its pixels say; one that is `spent` may be written over."""
        if label == "visible":
            return embed_watermark(draw_label(picture), origin.kind, origin.target)
        return embed_watermark(picture, origin.kind, origin.target, into=picture if spent else None)

    def mark_pixels(self, picture: Image8, origin: Origin) -> Image8:
        """A picture that leaves as bare pixels ``(H, W, 3)``.

        Raises MarkingError where pictures leave with credentials alone: pixels hold none.
        """
        if self._signer is not None:
            raise MarkingError("Bare pixels carry no C2PA credentials, and this service lets no picture leave without.")
        return self.draw(picture, origin, "none")

    def encode(
        self,
        picture: Image8,
        origin: Origin,
        label: Label,
        wanted: PictureFormat,
        quality: int | None,
        spent: bool = False,
    ) -> bytes:
        """The picture's file with all that it must say. Raises OptionError and MarkingError."""
        data = encode_picture(self.draw(picture, origin, label, spent), wanted, quality, make_xmp(origin))
        return data if self._signer is None else self._signer.sign(data, MEDIA_TYPES[wanted], origin)

    def seal(self, video: Path, origin: Origin) -> None:
        """Add to a finished MP4 what its frames can't say. Raises OSError and MarkingError."""
        append_xmp(video, make_xmp(origin))
        if self._signer is not None:
            signed = video.with_name(f"{video.name}.signed")
            try:
                self._signer.sign_video(video, signed, origin)
                signed.replace(video)
            finally:
                signed.unlink(missing_ok=True)

    def sign_animation(self, film: Path, media_type: str, origin: Origin) -> None:
        """Sign a finished GIF or WebP, which has its metadata already. Raises OSError and MarkingError."""
        if self._signer is not None:
            film.write_bytes(self._signer.sign(film.read_bytes(), media_type, origin))
