"""Loading, ready, draining: the one thing that changes while the application runs."""

import logging

from service.bundles import load_catalogue
from service.engine import Engine
from service.errors import NotReadyError
from service.reenact import Studio
from service.settings import Settings
from shared.detectors import LandmarkDetector, load_detector
from shared.errors import DetectorUnavailableError

logger = logging.getLogger(__name__)


class Lifecycle:
    """Holds the studio from the end of loading on, and whether the service is draining."""

    def __init__(self) -> None:
        self.studio: Studio | None = None
        self.draining = False
        self.failure: str | None = None

    def need_studio(self) -> Studio:
        """Raises NotReadyError while the targets are loading. A draining service serves on, until it is closed."""
        if self.studio is None:
            raise NotReadyError(self.failure or "The targets are still loading; try again in a moment.")
        return self.studio

    def check_ready(self) -> None:
        """Raises NotReadyError, saying why, where new requests should go elsewhere."""
        if self.draining:
            raise NotReadyError("The service is shutting down.")
        catalogue = self.need_studio().catalogue
        if not catalogue.targets:
            reasons = "; ".join(catalogue.damaged.values()) or "the models folder holds no bundle"
            raise NotReadyError(f"No target can be served: {reasons}")


def load_studio_detector(settings: Settings) -> LandmarkDetector | None:
    """The detector, or None, the reason logged: landmarks can be sent all the same."""
    try:
        return load_detector(settings.detector, settings.models_dir, settings.threads)
    except DetectorUnavailableError as error:
        logger.error("no landmark detector: %s", error)
        return None


def load_studio(settings: Settings, detector: LandmarkDetector | None) -> Studio:
    """Load every target and the detector, which may be handed over loaded. Blocks. Raises StartError."""
    catalogue = load_catalogue(settings.models_dir, settings.device, settings.threads, settings.require_gpu)
    return Studio(settings, catalogue, detector or load_studio_detector(settings), Engine(settings.queue_size))
