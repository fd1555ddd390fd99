"""Loading, ready, draining: the one thing that changes while the application runs."""

import asyncio
import logging

from service.errors import LoadFailedError, NotReadyError
from service.inference.bundles import BundleFolder
from service.inference.engine import Engine
from service.inference.face_service import FaceService
from service.settings import Settings
from shared.detectors import LandmarkDetector, load_detector
from shared.errors import DetectorUnavailableError

logger = logging.getLogger(__name__)

INFERENCE_THREADS = 2  # one finds faces while the other draws
SCAN_SECONDS = 0.4  # a change is served within two seconds, loading included


class Lifecycle:
    """Holds the face_service from the end of loading on, and whether the service is draining."""

    def __init__(self) -> None:
        self.face_service: FaceService | None = None
        self.following: asyncio.Task[None] | None = None
        self.draining = False
        self.failure: str | None = None

    def check_alive(self) -> None:
        """Raises LoadFailedError once loading has failed: only a new start could help."""
        if self.failure is not None:
            raise LoadFailedError(self.failure)

    def need_face_service(self) -> FaceService:
        """A draining service serves on, until it is closed.

        Raises NotReadyError while the targets are loading, and LoadFailedError where that failed.
        """
        self.check_alive()
        if self.face_service is None:
            raise NotReadyError("The targets are still loading; try again in a moment.")
        return self.face_service

    def check_ready(self) -> None:
        """Raises NotReadyError, saying why, where new requests should go elsewhere."""
        if self.draining:
            raise NotReadyError("The service is shutting down.")
        catalogue = self.need_face_service().catalogue
        if not catalogue.targets:
            reasons = "; ".join(catalogue.damaged.values()) or "the models folder holds no bundle"
            raise NotReadyError(f"No target can be served: {reasons}")


def load_service_detector(settings: Settings) -> LandmarkDetector | None:
    """The detector, or None, the reason logged: landmarks can be sent all the same."""
    try:
        return load_detector(settings.detector, settings.models_dir, settings.threads, settings.device)
    except DetectorUnavailableError as error:
        logger.error("no landmark detector: %s", error)
        return None


def open_bundle_folder(settings: Settings) -> BundleFolder:
    """The models folder as the settings have it, not scanned yet."""
    return BundleFolder(
        settings.models_dir, settings.device, settings.threads, settings.require_gpu, settings.require_consent
    )


def load_face_service(
    settings: Settings, detector: LandmarkDetector | None, bundles: BundleFolder | None = None
) -> FaceService:
    """Load every target and the detector; both may be handed over. Blocks. Raises StartError."""
    catalogue = (bundles or open_bundle_folder(settings)).scan()
    engine = Engine(settings.queue_size, min(settings.threads, INFERENCE_THREADS))
    return FaceService(settings, catalogue, detector or load_service_detector(settings), engine)


async def follow_bundles(face_service: FaceService, bundles: BundleFolder) -> None:
    """Serve whatever is in the models folder, until cancelled. What is in work ends on the networks it began with."""
    while True:
        await asyncio.sleep(SCAN_SECONDS)
        try:
            face_service.catalogue = await asyncio.to_thread(bundles.scan)
        except Exception:  # one scan that fails must not be the last one
            logger.exception("the models folder could not be scanned")
