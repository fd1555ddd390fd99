"""What can go wrong between somebody's media and a bundle, and is theirs to mend.

LandmarkGANError
└── TrainerError            anything the trainer refuses; its text says what was wrong and what to do
    ├── FetchError          sample media that could not be downloaded, or are not the bytes we know
    ├── SourceError         a video, folder of photos or CelebV folder that can't be read
    ├── DatasetError        a prepared dataset that is missing or damaged
    ├── TooFewFramesError   media with too little of the target's face in it
    ├── TargetError         a target that can't be trained with what is there
    ├── ConfigError         a field of the recipe that is none, or can't have the value given
    ├── DeviceError         a CUDA that was named and is not there
    ├── DistributedError      processes that can't share the training: too many for its batches or for the GPUs
    ├── ManifestError       a list of targets that can't be read, or of which none can be trained
    ├── CheckpointError     a checkpoint that is damaged or of another configuration
    ├── ServiceError        a service that did not start, or did not answer as it should, while it was measured
    ├── ScoredFolderError   another program's pictures that can't be scored
    ├── RecordError         a document that has lost its place for the figures
    ├── RecognitionUnavailableError  the packages that measure identity are not installed
    └── ExportError         a network whose exported file does not give the same answers
"""

from shared.errors import LandmarkGANError


class TrainerError(LandmarkGANError):
    """Base of the trainer's own errors."""


class FetchError(TrainerError):
    """Sample media that could not be downloaded, or whose bytes are not the ones we know."""


class SourceError(TrainerError):
    """A video, a folder of photos or a CelebV folder that can't be read."""


class DatasetError(TrainerError):
    """A prepared dataset that is missing, damaged or of another version."""


class TooFewFramesError(TrainerError):
    """Media that show the target's face too rarely to learn from."""


class TargetError(TrainerError):
    """A target that can't be trained: unknown, or its media are not there."""


class ConfigError(TrainerError):
    """A field of a training's configuration that is none, or can't have the value that it was given."""


class DeviceError(TrainerError):
    """A device that was named and is not there."""


class DistributedError(TrainerError):
    """DistributedContext that can't share a training: too many for its batches, or for the GPUs that are there."""


class ManifestError(TrainerError):
    """A list of targets that can't be read."""


class CheckpointError(TrainerError):
    """A checkpoint that can't be gone on from."""


class ServiceError(TrainerError):
    """A service that did not start, or did not answer as it should, while it was measured."""


class ScoredFolderError(TrainerError):
    """Pictures of another program that are missing, unreadable or of the wrong size."""


class RecordError(TrainerError):
    """A document that has lost its place for the figures."""


class RecognitionUnavailableError(TrainerError):
    """What tells faces apart is not there: the packages that measure identity, or the network learned from."""


class ExportError(TrainerError):
    """An exported network that does not do what the trained one does."""
