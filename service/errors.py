"""The service's own exceptions; `service.api.problems` maps each to a status.

LandmarkGANError (shared)
└── ServiceError
    ├── UnsupportedImageError, ImageTooLargeError   (ImageErrors too)
    ├── UnknownTargetError, DamagedTargetError, UnnamedTargetError, UnknownSchemeError
    ├── NoFaceError, FaceIndexError, OptionError, MediaTypeError, InferenceRequestError
    ├── QueueFullError, DeadlineError, NotReadyError, LoadFailedError, ClientGoneError
    ├── HeaderError, ForeignHostError, ForeignPageError, ApiKeyError        of who asks
    ├── IdleError                                   of streams
    ├── UnsupportedVideoError, VideoTooLargeError, VideoDamagedError
    ├── UnknownJobError, JobStateError, StorageError
    ├── MarkingError
    └── StartError                                  ends the start; never an answer
"""

import os

from shared.errors import ImageError, LandmarkGANError


class ServiceError(LandmarkGANError):
    """Says what was wrong, and in `expected` what would have been right."""

    def __init__(self, detail: str, expected: str | None = None) -> None:
        super().__init__(detail)
        self.expected = expected


class UnsupportedImageError(ServiceError, ImageError):
    """Bytes of no picture format that we read."""


class ImageTooLargeError(ServiceError, ImageError):
    """A picture with more bytes or pixels than allowed."""


class UnknownTargetError(ServiceError):
    """A target that there is no bundle of."""


class DamagedTargetError(ServiceError):
    """A target whose bundle was refused."""


class UnnamedTargetError(ServiceError):
    """A request that names no target, where there is no default."""


class UnknownSchemeError(ServiceError):
    """A landmark scheme that this version does not know."""


class NoFaceError(ServiceError):
    """A picture in which the detector sees no face."""


class FaceIndexError(ServiceError):
    """The number of a face that the picture does not have."""


class OptionError(ServiceError):
    """Options that do not go together."""


class MediaTypeError(ServiceError):
    """A body of another content type than the endpoint reads."""


class InferenceRequestError(ServiceError):
    """A request of the Open Inference Protocol whose tensors or parameters can't be used."""


class QueueFullError(ServiceError):
    """As many requests are waiting as may wait."""


class DeadlineError(ServiceError):
    """A request that could not be answered in time."""


class NotReadyError(ServiceError):
    """The service is loading, draining, or has no target."""


class LoadFailedError(ServiceError):
    """The targets could not be loaded, and will not be before a new start."""


class ClientGoneError(ServiceError):
    """The client hung up: nobody reads the answer."""


class IdleError(ServiceError):
    """A stream on which nothing came for too long."""


class HeaderError(ServiceError):
    """A header that must be there once and is not, or a Host that is none."""


class ForeignHostError(ServiceError):
    """A request to a host that this service is not."""


class ForeignPageError(ServiceError):
    """A request sent by a page that this service did not serve."""


class ApiKeyError(ServiceError):
    """A request without a key, where one is wanted."""


class UnsupportedVideoError(ServiceError):
    """A file of no video format that we read."""


class VideoTooLargeError(ServiceError):
    """A video with more bytes, pixels or seconds than allowed."""


class VideoDamagedError(ServiceError):
    """A video of which nothing can be decoded."""


class UnknownJobError(ServiceError):
    """A job that there is not, or no longer."""


class JobStateError(ServiceError):
    """What the job's state does not allow."""


class StorageError(ServiceError):
    """A file that can't be written, mostly for want of room."""

    @classmethod
    def of(cls, error: OSError) -> "StorageError":
        """A failed write, in words that name no path."""
        return cls(f"A file can't be written: {os.strerror(error.errno or 0)}.", "Room on the service's disk.")


class MarkingError(ServiceError):
    """A picture that can't be marked as this service must mark it; it does not leave."""


class StartError(ServiceError):
    """The service must not start like this."""
