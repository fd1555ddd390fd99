"""The exceptions of the contract.

LandmarkGANError
├── LandmarksError      points that no face can have: wrong count, not finite, all equal
├── ImageError          bytes that are no picture we read, or a picture too large
├── BundleError         a bundle that is damaged, incomplete or of another schema
├── DetectorUnavailableError  a landmark detector whose package or weights are missing
└── StoreError          a shared folder or object store that can't be reached, read or written
"""


class LandmarkGANError(Exception):
    """Base of every error that is the caller's to mend. Its text says what was wrong and what to do."""


class LandmarksError(LandmarkGANError):
    """Landmarks that do not describe a face."""


class ImageError(LandmarkGANError):
    """A picture that can't be read."""


class BundleError(LandmarkGANError):
    """A bundle that must not be served."""


class DetectorUnavailableError(LandmarkGANError):
    """A landmark detector that can't run here: unknown, or its package or weights are missing."""


class StoreError(LandmarkGANError):
    """A shared folder or object store that can't be reached, read or written."""
