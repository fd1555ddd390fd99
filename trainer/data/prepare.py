"""From a person's media to a dataset: find the landmarks, keep the target's frames, cut the crops, fix the splits.

Two passes over the media. The first is slow: it looks for faces, and keeps their landmarks and a thumbnail each in
``data/.scan/``, so that another crop rule or size needs no second search. The second cuts the crops of the frames kept.
"""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from tqdm import tqdm

from shared.detectors import LandmarkDetector
from shared.geometry import Crop, CropRule, cut_crop, find_crop
from shared.landmarks import IBUG68, IBUG70, WFLW98, convert_scheme, get_scheme, guess_scheme
from trainer.data.dataset import (
    CROPS_NAME,
    FRAMES_NAME,
    LAYOUT_VERSION,
    SPLITS,
    DatasetManifest,
    SourceRecord,
    assign_lists,
    assign_splits,
    count_splits,
    describe_left_out,
    refresh_manifest,
    write_manifest,
)
from trainer.data.dominant_person import choose_faces
from trainer.data.folders import finish_folder, start_folder
from trainer.data.scan import SCAN_VERSION, Scan, load_scan, save_scan, scan_source
from trainer.data.sources import Frame, Source
from trainer.errors import DatasetError, TooFewFramesError

# Eyes, nose, brows and the jaw's upper ends place the crop and set its side. Chosen among nine sets of points by how
# well a quadratic regression from landmarks predicts held-out crops: 24.2 dB on franck (all points 21.9, eyes and nose
# 22.6, with the whole jaw 21.2). The chin is not among them, so that the head does not breathe when the mouth opens.
CROP_FACTOR, CROP_DROP = 4.1, 0.08
IBUG68_STEADY = (*range(0, 4), *range(13, 17), *range(17, 27), *IBUG68.rigid)
WFLW98_STEADY = (*range(0, 8, 2), *range(26, 33, 2), *range(33, 38), *range(42, 47), *WFLW98.rigid)
DEFAULT_CROPS: Mapping[str, CropRule] = {
    name: CropRule(centre_points=points, scale_points=points, factor=CROP_FACTOR, drop=CROP_DROP)
    for name, points in (
        (IBUG68.name, IBUG68_STEADY),
        (IBUG70.name, IBUG68_STEADY),
        (WFLW98.name, WFLW98_STEADY),
    )
}

OpenDetector = Callable[[str], LandmarkDetector]


class PrepareOptions(BaseModel):
    """How media become a dataset. `crop` None takes the scheme's own rule from `DEFAULT_CROPS`; `detector_version` is a
    hash of the detector's networks, so that other networks look for the faces again.

    `person` says whose face counts: ``dominant``, that of the one seen longest, others being left out; or ``any``, the
    largest of each frame, for media known to show nobody else. `split` ``test`` makes every frame a test frame;
    ``lists`` is for data that come with a list for training and one for testing (`assign_lists`).
    `every` takes one frame in so many, spread over all of the media: for a quick look, not for a good target.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheme: str = IBUG70.name
    crop: CropRule | None = None
    size: int = Field(default=256, ge=16, le=2048)
    detector: str = "mesh"
    detector_version: str = ""
    min_score: float = Field(default=0.6, ge=0, le=1)
    person: Literal["dominant", "any"] = "dominant"
    split: Literal["blocks", "lists", "test"] = "blocks"
    every: int = Field(default=1, ge=1)

    @property
    def rule(self) -> CropRule:
        """The crop rule in force."""
        return self.crop or DEFAULT_CROPS[self.scheme]


@dataclass(frozen=True)
class About:
    """What the media do not say themselves: the target's id and name, under what terms, and with whose consent."""

    target: str
    display_name: str
    licence: str = "not stated"
    consent: str = "not stated"


def prepare_dataset(
    source: Source, about: About, options: PrepareOptions, open_detector: OpenDetector, data_dir: Path
) -> DatasetManifest:
    """Make ``data/<target>`` from media, and give its manifest; with the same media and options there is nothing to do.

    `open_detector` is called only if landmarks must be found. Raises TooFewFramesError, or the detector's own errors.
    """
    ready = find_prepared(source, about, options, data_dir)
    if ready is not None:
        return ready
    scan = _scan_once(source, options, open_detector, about.target, data_dir)
    strangers = options.person == "dominant" and source.scheme is None and source.files[0].fps is not None
    chosen, left_out = choose_faces(scan, options.min_score, strangers)
    scheme = get_scheme(options.scheme)
    points = convert_scheme(scan.landmarks[chosen], guess_scheme(scan.landmarks.shape[1]), scheme)
    crops = [find_crop(face, options.rule) for face in points]
    entries = scan.entry[chosen]
    rates = [None if file.fps is None else file.fps / options.every for file in source.files]
    if options.split == "test" and len(entries):
        split = np.full(len(entries), SPLITS["test"], np.int8)
    elif options.split == "lists":
        split = assign_lists(scan.source[entries], scan.number[entries])
    else:
        try:
            split = assign_splits(scan.source[entries], scan.time[entries], rates)
        except TooFewFramesError as error:
            raise TooFewFramesError(f"{about.target}: {error} {describe_left_out(left_out)}") from error

    part = start_folder(data_dir, about.target)
    places = {int(entry): crop for entry, crop in zip(entries, crops, strict=True)}
    _cut_crops(source, places, options, part / CROPS_NAME, about.target)
    np.savez(
        part / FRAMES_NAME,
        landmarks=np.stack([crop.to_unit(face) for crop, face in zip(crops, points, strict=True)]),
        points=points,
        crop=np.array([(crop.x, crop.y, crop.side) for crop in crops], np.float64),
        source=scan.source[entries],
        frame=scan.number[entries],
        time=scan.time[entries],
        split=split,
    )
    manifest = DatasetManifest(
        target=about.target,
        display_name=about.display_name,
        scheme=scheme.name,
        crop=options.rule,
        size=options.size,
        detector="given" if source.scheme else options.detector,
        licence=about.licence,
        consent=about.consent,
        sources=_record_sources(source, scan, entries),
        frames=len(chosen),
        left_out=left_out,
        splits=count_splits(split),
        every=options.every,
        fingerprint=_hash_inputs(source, options),
        versions={"python": platform.python_version(), **{name: version(name) for name in ("av", "numpy", "pillow")}},
    )
    write_manifest(manifest, part)
    finish_folder(part, about.target)
    return manifest


def find_prepared(source: Source, about: About, options: PrepareOptions, data_dir: Path) -> DatasetManifest | None:
    """The manifest of ``data/<target>`` where it was prepared from these media by these options; else None."""
    return refresh_manifest(data_dir / about.target, _hash_inputs(source, options), said=vars(about))


def _hash_inputs(source: Source, options: PrepareOptions) -> str:
    """What decides a dataset's contents, in one hash."""
    chosen = options.model_copy(update={"crop": options.rule}).model_dump(mode="json", exclude={"every"})
    inputs = {"layout": LAYOUT_VERSION, "scan": _hash_scan(source, options), "options": chosen}
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _hash_scan(source: Source, options: PrepareOptions) -> str:
    """What decides the first pass, in one hash."""
    detector = None if source.scheme else [options.detector, options.detector_version]
    inputs = [SCAN_VERSION, detector, source.scheme, [(file.name, file.sha256) for file in source.files]]
    if options.every > 1:
        inputs.append(options.every)
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _scan_once(source: Source, options: PrepareOptions, opener: OpenDetector, title: str, data_dir: Path) -> Scan:
    """The first pass over this source, or what it gave in an earlier run."""
    path = data_dir / ".scan" / f"{_hash_scan(source, options)[:32]}.npz"
    scan = load_scan(path)
    if scan is None:
        detector = None if source.scheme else opener(options.detector)
        scan = scan_source(source, detector, title, options.every)
        save_scan(scan, path)
    return scan


def _cut_crops(source: Source, crops: Mapping[int, Crop], options: PrepareOptions, path: Path, target: str) -> None:
    """The second pass: the crop of each chosen entry, straight into ``crops.npy``."""
    size = options.size
    pictures = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(crops), size, size, 3))
    row = 0
    with tqdm(total=len(crops), desc=f"{target}: crops", unit="frame", mininterval=0.5) as progress:
        for entry, item in enumerate(source.read(options.every)):
            if entry in crops and isinstance(item, Frame):
                pictures[row] = cut_crop(item.image, crops[entry], size)
                row += 1
                progress.update()
    pictures.flush()
    if row != len(crops):
        raise DatasetError(f"{target}: the media changed while they were read. Run the command again.")


def _record_sources(source: Source, scan: Scan, entries: NDArray[np.int32]) -> tuple[SourceRecord, ...]:
    read, kept = (
        np.bincount(rows[rows >= 0], minlength=len(source.files)) for rows in (scan.source, scan.source[entries])
    )
    return tuple(
        SourceRecord(name=file.name, sha256=file.sha256, frames=int(read[number]), kept=int(kept[number]), fps=file.fps)
        for number, file in enumerate(source.files)
    )
