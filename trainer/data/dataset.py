"""A prepared dataset: its layout on disk, its manifest, and the split of its frames.

    data/<target>/crops.npy      (N, S, S, 3) uint8, memory-mapped
                  frames.npz     landmarks (N, K, 2) float32 crop units; points (N, K, 2) float32 pixels of the frame;
                                 crop (N, 3) float64 x, y, side in pixels; source (N,), frame (N,), time (N,) seconds;
                                 split (N,) int8: 0 train, 1 validation, 2 test, -1 gap
                  dataset.json   all that is known of it, written last

A folder under its own name is whole: it is written as ``data/.<target>.part/`` and renamed at the end.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.bundle import Sha256, TargetId
from shared.documents import write_document
from shared.geometry import CropRule
from shared.landmarks import Scheme, get_scheme
from shared.pixels import Image8
from trainer.data.folders import recover_folder
from trainer.errors import DatasetError, TooFewFramesError

LAYOUT_VERSION = 1
MANIFEST_NAME = "dataset.json"
FRAMES_NAME = "frames.npz"
CROPS_NAME = "crops.npy"

Split = Literal["train", "validation", "test"]
SPLITS: Mapping[Split, int] = {"train": 0, "validation": 1, "test": 2}
GAP = -1

TRAIN_SHARE, VALIDATION_SHARE = 0.70, 0.15
GAP_SECONDS = 2.0
LISTED_VALIDATION = 20  # of a training list, one line in so many
OWN_BLOCKS_SECONDS = 30.0  # a video this long has train, validation and test blocks of its own
MIN_TRAIN, MIN_HELD_OUT = 24, 4
FEW_PHOTOS = 100
QUICK_SUFFIX = "-quick"  # of the bundles that quick runs leave beside their target's own


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceRecord(_Frozen):
    """One file (or folder of pictures) that the dataset came from."""

    name: str
    sha256: Sha256
    frames: int = Field(ge=0, description="Pictures that could be read.")
    kept: int = Field(ge=0)
    fps: float | None


class DatasetManifest(_Frozen):
    """``dataset.json``."""

    layout_version: Literal[1] = 1
    target: TargetId
    display_name: str
    scheme: str
    crop: CropRule
    size: int = Field(ge=16, le=2048)
    detector: str = Field(description="Who found the landmarks: a detector's name, or 'given' with the media.")
    licence: str
    consent: str
    sources: tuple[SourceRecord, ...]
    frames: int = Field(ge=1, description="Frames kept, gaps included.")
    left_out: Mapping[str, int] = Field(description="Frames left out, by reason.")
    splits: Mapping[str, int] = Field(description="Frames of train, validation, test and gap.")
    every: int = Field(default=1, ge=1, description="One frame in so many was looked at: more than 1 in quick runs.")
    fingerprint: Sha256 = Field(description="Hash of the sources and options: a run with the same ones does nothing.")
    versions: Mapping[str, str]

    @property
    def preset(self) -> Literal["default", "photos"]:
        """Which recipe suits it: of a few photos too little is seen to learn more than `photos` does."""
        few = self.frames < FEW_PHOTOS and all(source.fps is None for source in self.sources)
        return "photos" if few else "default"

    def describe(self) -> str:
        """The dataset in one line, for people."""
        splits = ", ".join(f"{count} {name}" for name, count in self.splits.items())
        return f"{self.target}: {self.frames} frames ({splits}). {describe_left_out(self.left_out)}"


class FrameDataset:
    """A prepared dataset, read. The crops stay on disk; `crops(split)` copies only that split."""

    def __init__(self, folder: Path) -> None:
        """Open ``data/<target>``. Raises DatasetError where it is missing, damaged or of another layout."""
        self.folder = folder
        self.manifest = read_manifest(folder)
        try:
            with (folder / FRAMES_NAME).open("rb") as file, np.load(file, allow_pickle=False) as archive:
                self.arrays = {name: archive[name] for name in archive.files}
            self.all_crops: Image8 = np.load(folder / CROPS_NAME, mmap_mode="r", allow_pickle=False)
            self._check_shapes()
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DatasetError(
                f"The dataset in {folder} is damaged ({error}). Remove the folder and prepare it again."
            ) from error

    def __len__(self) -> int:
        return self.manifest.frames

    @property
    def scheme(self) -> Scheme:
        """The scheme of the landmarks."""
        return get_scheme(self.manifest.scheme)

    def indices(self, split: Split | None) -> NDArray[np.int64]:
        """Where a split's frames lie in the arrays, ascending, that is in order of time; None: all, gaps too."""
        if split is None:
            return np.arange(len(self))
        return np.flatnonzero(self.arrays["split"] == SPLITS[split])

    def landmarks(self, split: Split | None) -> NDArray[np.float32]:
        """``(n, K, 2)`` in crop units."""
        return np.asarray(self.arrays["landmarks"][self.indices(split)], np.float32)

    def points(self, split: Split | None) -> NDArray[np.float32]:
        """``(n, K, 2)`` in pixels of the frames."""
        return np.asarray(self.arrays["points"][self.indices(split)], np.float32)

    def times(self, split: Split | None) -> NDArray[np.float64]:
        """``(n,)`` seconds from the start of each frame's own file; 0 for photos."""
        return np.asarray(self.arrays["time"][self.indices(split)], np.float64)

    def crops(self, split: Split | None) -> Image8:
        """``(n, S, S, 3)``: a view of the file where the split is one stretch of it, else a copy in memory."""
        chosen = self.indices(split)
        if len(chosen) and chosen[-1] - chosen[0] + 1 == len(chosen):
            return self.all_crops[chosen[0] : chosen[-1] + 1]
        return self.all_crops[chosen]

    def _check_shapes(self) -> None:
        count, size = self.manifest.frames, self.manifest.size
        if self.all_crops.shape != (count, size, size, 3) or self.all_crops.dtype != np.uint8:
            raise ValueError(f"{CROPS_NAME} has the shape {self.all_crops.shape}, not that of {MANIFEST_NAME}")
        for name in ("landmarks", "points", "crop", "source", "frame", "time", "split"):
            if len(self.arrays[name]) != count:
                raise ValueError(f"{FRAMES_NAME}: {name} has {len(self.arrays[name])} rows, not {count}")


def read_manifest(folder: Path) -> DatasetManifest:
    """A dataset's manifest alone. Raises DatasetError where it is missing, damaged or of another layout."""
    path = folder / MANIFEST_NAME
    try:
        return DatasetManifest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"There is no prepared dataset in {folder}. `make data` prepares the samples, "
            "`make train TARGET=… VIDEO=…` your own."
        ) from error
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise DatasetError(f"{path} can't be read ({error}). Remove the folder and prepare it again.") from error


def list_datasets(data_dir: Path) -> list[str]:
    """The targets prepared in `data_dir`, sorted."""
    return sorted(path.parent.name for path in data_dir.glob(f"[a-z0-9]*/{MANIFEST_NAME}"))


def write_manifest(manifest: DatasetManifest, folder: Path) -> None:
    """Write ``dataset.json`` whole or not at all."""
    write_document(manifest, folder / MANIFEST_NAME)


def refresh_manifest(folder: Path, fingerprint: str, said: Mapping[str, str]) -> DatasetManifest | None:
    """The manifest of a whole dataset with this fingerprint, what is `said` of it brought up to date; else None."""
    recover_folder(folder)
    try:
        ready = FrameDataset(folder).manifest
    except DatasetError:
        return None
    if ready.fingerprint != fingerprint:
        return None
    current = ready.model_copy(update=said)
    if current != ready:
        write_manifest(current, folder)
    return current


def assign_splits(
    source: NDArray[np.int32], time: NDArray[np.float64], rates: Sequence[float | None]
) -> NDArray[np.int8]:
    """The split of each kept frame ``(N,)``, from its source's number, its time in it, and the sources' frame rates.

    Contiguous blocks 70/15/15 with at least 2 seconds between them. A video of 30 seconds or more has its own blocks;
    shorter ones follow one another on one timeline. Photos (rate None) have no time and no gap; where they are too few
    for blocks, all are for training. Raises TooFewFramesError where a video's block would be too small to be of use.
    """
    split = np.full(len(source), GAP, np.int8)
    pooled: list[NDArray[np.int64]] = []
    for number, rate in enumerate(rates):
        members = np.flatnonzero(source == number)
        if rate is not None and len(members) / rate >= OWN_BLOCKS_SECONDS:
            split[members] = _cut_blocks(_measure_timeline(time[members], rate), GAP_SECONDS)
        elif len(members):
            pooled.append(members)
    if pooled:
        timed = all(rates[source[members[0]]] is not None for members in pooled)
        steps = [_measure_timeline(time[members], rates[source[members[0]]]) for members in pooled]
        starts = np.cumsum([0.0] + [float(line[-1]) for line in steps[:-1]])
        timeline = np.concatenate([start + line for start, line in zip(starts, steps, strict=True)])
        split[np.concatenate(pooled)] = _cut_blocks(timeline, GAP_SECONDS if timed else 0.0)
    counts = count_splits(split)
    if counts["train"] < MIN_TRAIN or min(counts["validation"], counts["test"]) < MIN_HELD_OUT:
        if len(source) and all(rate is None for rate in rates):
            return np.full(len(source), SPLITS["train"], np.int8)
        timed_rates = [rate for rate in rates if rate is not None]
        needed = f"{round(MIN_TRAIN / TRAIN_SHARE)} pictures"
        if timed_rates:
            seconds = 2 * GAP_SECONDS + max(MIN_TRAIN / TRAIN_SHARE, MIN_HELD_OUT / VALIDATION_SHARE) / min(timed_rates)
            needed = f"{int(np.ceil(seconds * max(timed_rates)))} frames ({seconds:.0f} seconds)"
        raise TooFewFramesError(
            f"Only {len(source)} frames show the target's face. At least {needed} are needed, so that training, "
            f"validation and test each have a stretch; a good target has thousands."
        )
    return split


def is_held_out(line: int) -> bool:
    """Whether this line of a training list, counted from 0, is for validation."""
    return line % LISTED_VALIDATION == LISTED_VALIDATION - 1


def assign_lists(source: NDArray[np.int32], number: NDArray[np.int32]) -> NDArray[np.int8]:
    """The split of each picture ``(N,)`` of data that come with two lists: source 0 to learn from, source 1 to test.

    Some lines of the first are for validation (`is_held_out`). Raises TooFewFramesError where a list gives nothing.
    """
    names: list[Split] = [
        "test" if listed else "validation" if is_held_out(int(line)) else "train"
        for listed, line in zip(source, number, strict=True)
    ]
    split = np.array([SPLITS[name] for name in names], np.int8)
    counts = count_splits(split)
    if not counts["train"] or not counts["test"]:
        raise TooFewFramesError(
            f"Of the training list {counts['train']} faces can be used, of the test list {counts['test']}: are the "
            "pictures there?"
        )
    return split


def count_splits(split: NDArray[np.int8]) -> dict[str, int]:
    """How many frames are in train, validation, test and gap."""
    codes: dict[str, int] = {str(name): code for name, code in SPLITS.items()}
    return {name: int((split == code).sum()) for name, code in (codes | {"gap": GAP}).items()}


def _measure_timeline(time: NDArray[np.float64], rate: float | None) -> NDArray[np.float64]:
    """Kept frames on a line without holes: where frames were left out, a step of at most 1.5 frames remains.

    A gap measured on it is never longer than the real one. The line starts one step after 0.
    """
    if rate is None:
        return np.arange(1, len(time) + 1, dtype=np.float64)
    steps = np.diff(time, prepend=time[0] - 1 / rate)
    return np.cumsum(np.clip(steps, 0, 1.5 / rate))


def _cut_blocks(timeline: NDArray[np.float64], gap: float) -> NDArray[np.int8]:
    """The splits of frames at these ascending places of a timeline; `gap` in its unit."""
    usable = float(timeline[-1]) - 2 * gap
    train_end = TRAIN_SHARE * usable + 1e-6  # a frame that falls on the edge stays this side of it
    validation_end = train_end + gap + VALIDATION_SHARE * usable
    split = np.full(len(timeline), GAP, np.int8)
    split[timeline <= train_end] = SPLITS["train"]
    split[(timeline > train_end + gap) & (timeline <= validation_end)] = SPLITS["validation"]
    split[timeline > validation_end + gap] = SPLITS["test"]
    return split


def describe_left_out(left_out: Mapping[str, int]) -> str:
    """How many frames were left out and why, as a sentence."""
    if not left_out:
        return "None was left out."
    return "Left out: " + ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items())) + "."
