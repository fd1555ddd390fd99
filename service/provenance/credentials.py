"""C2PA content credentials, by c2pa-python (extra `c2pa`): a signed statement of how a picture or video was made."""

import io
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from service import __version__
from service.errors import MarkingError, StartError
from service.media.images import encode_picture
from service.provenance.origin import Origin

INSTALL = "install the extra `c2pa` (pip install 'landmarkgan[c2pa]')"
BUNDLE_ASSERTION = "org.landmarkgan.bundle"
# No thumbnails, which would double a picture's bytes, and no host is ever asked for anything.
OPTIONS = {
    "version": 1,
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_after_sign": False, "ocsp_fetch": False, "remote_manifest_fetch": False},
}


@dataclass(frozen=True)
class Credentials:
    """What a file's credentials say. `state`: Valid (whole, by a signer nobody vouched for), Trusted or Invalid."""

    state: str
    signer: str | None
    generator: str | None
    source_type: str | None
    target: str | None
    bundle: str | None


class CredentialSigner:
    """Signs with one certificate and its key. Safe to use from several threads."""

    def __init__(self, certificate: Path, key: Path, algorithm: str) -> None:
        """`certificate`: a PEM chain, the signer's first; `key`: its PEM private key. Raises StartError."""
        try:
            import c2pa
        except ImportError as error:
            raise StartError(f"LANDMARKGAN_C2PA_CERT is set, but c2pa-python is not there; {INSTALL}.") from error
        self._c2pa, self._lock = c2pa, threading.Lock()
        try:
            info = c2pa.C2paSignerInfo(algorithm, certificate.read_bytes(), key.read_bytes(), None)  # no timestamps
            self._signer = c2pa.Signer.from_info(info)
            self._context = c2pa.Context(c2pa.Settings.from_dict(OPTIONS))
            self.sign(encode_picture(np.zeros((1, 1, 3), np.uint8), "png"), "image/png", Origin("trial", "0" * 64))
        except (OSError, MarkingError, c2pa.C2paError) as error:
            raise StartError(f"LANDMARKGAN_C2PA_CERT and LANDMARKGAN_C2PA_KEY can't sign: {error}") from error

    def sign(self, data: bytes, media_type: str, origin: Origin) -> bytes:
        """The same file with credentials. Raises MarkingError."""
        signed = io.BytesIO()
        self._sign(io.BytesIO(data), signed, media_type, origin)
        return signed.getvalue()

    def sign_video(self, source: Path, signed: Path, origin: Origin) -> None:
        """Write `source`, an MP4, with credentials to `signed`. Raises MarkingError and OSError."""
        with source.open("rb") as given, signed.open("w+b") as made:
            self._sign(given, made, "video/mp4", origin)

    def _sign(self, given: BinaryIO, made: BinaryIO, media_type: str, origin: Origin) -> None:
        action = {"action": "c2pa.created", "digitalSourceType": origin.source_type}
        manifest = {
            "claim_generator_info": [{"name": "LandmarkGAN", "version": __version__}],
            "assertions": [
                {"label": "c2pa.actions", "data": {"actions": [action]}},
                {"label": BUNDLE_ASSERTION, "data": {"target": origin.target, "bundle": origin.bundle}},
            ],
        }
        try:
            with self._lock, self._c2pa.Builder(manifest, self._context) as builder:
                builder.sign(self._signer, media_type, given, made)
        except self._c2pa.C2paError as error:
            raise MarkingError(f"The content credentials that this service must add can't be made: {error}") from error


def read_credentials(data: bytes, media_type: str) -> Credentials | None:
    """A file's credentials; None where it has none, or c2pa-python is not installed."""
    try:
        import c2pa
    except ImportError:
        return None
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(OPTIONS))
        with c2pa.Reader(media_type, io.BytesIO(data), context=context) as reader:
            manifest = reader.get_active_manifest() or {}
            state = str(reader.get_validation_state() or "Invalid")
    except c2pa.C2paError:  # none, or none that can be read
        return None
    assertions = {each["label"].partition(".v")[0]: each.get("data", {}) for each in manifest.get("assertions", ())}
    actions = assertions.get("c2pa.actions", {}).get("actions") or [{}]
    made_by = assertions.get(BUNDLE_ASSERTION, {})
    return Credentials(
        state=state,
        signer=manifest.get("signature_info", {}).get("issuer"),
        generator=(manifest.get("claim_generator_info") or [{}])[0].get("name"),
        source_type=actions[0].get("digitalSourceType"),
        target=made_by.get("target"),
        bundle=made_by.get("bundle"),
    )
